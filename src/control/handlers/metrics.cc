// SPDX-License-Identifier: Apache-2.0
// The Prometheus view of status, services and counters.
#include "telemetry/metrics.h"

#include <algorithm>

#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {
namespace {

using telemetry::Labels;
using telemetry::MetricFamily;
using Families = std::vector<MetricFamily>;

constexpr auto counter = telemetry::MetricType::counter;
constexpr auto gauge = telemetry::MetricType::gauge;

MetricFamily& family(Families& out, const char* name, telemetry::MetricType type, const char* help) {
  return out.emplace_back(name, type, help);
}

uint64_t flag(bool set) {
  return set ? 1 : 0;
}

void add_process(Families& out, const Status& status) {
  family(out, "teal_build_info", gauge, "Always 1; the version is a label.")
      .add({{"version", status.version}}, uint64_t{1});
  family(out, "teal_uptime_seconds", gauge, "Time since teald started.").add({}, status.uptime_s);
  family(out, "teal_instance", gauge, "Counted up at each start of teald over the same flow table.")
      .add({}, status.instance);
  family(out, "teal_flows_moved_total", counter, "Live flows whose backend changed; must stay 0.")
      .add({}, status.flows_moved);
}

void add_table(Families& out, const TableStatus& table) {
  family(out, "teal_table_capacity_flows", gauge, "Flows that the table is sized for.").add({}, table.capacity);
  family(out, "teal_table_slots", gauge, "Slots of the table.").add({}, table.slots);
  family(out, "teal_table_entries", gauge, "Entries of the table, by the last census.").add({}, table.entries);
  family(out, "teal_table_bytes", gauge, "Memory of the table.").add({}, table.bytes);
  family(out, "teal_table_census_age_seconds", gauge, "Age of the last census.")
      .add({}, static_cast<double>(table.census_age_ms) / 1e3);
  family(out, "teal_table_sweep_seconds", gauge, "Duration of the last sweep.")
      .add({}, static_cast<double>(table.sweep_us) / 1e6);
}

void add_ports(Families& out, const std::vector<PortStatus>& ports) {
  MetricFamily info("teal_port_info", gauge, "Always 1; what the port is, as labels.");
  MetricFamily up("teal_port_up", gauge, "1 while the port's link is up.");
  MetricFamily rx("teal_port_receive_packets_total", counter, "Packets received by the port.");
  MetricFamily rx_bytes("teal_port_receive_bytes_total", counter, "Bytes received by the port.");
  MetricFamily tx("teal_port_transmit_packets_total", counter, "Packets sent by the port.");
  MetricFamily tx_bytes("teal_port_transmit_bytes_total", counter, "Bytes sent by the port.");
  MetricFamily missed("teal_port_receive_missed_total", counter, "Packets the device dropped as no queue had room.");
  for (const auto& port : ports) {
    const Labels labels = {{"port", port.name}};
    info.add({{"port", port.name}, {"device", port.device}, {"mac", port.mac}, {"driver", port.driver}}, uint64_t{1});
    up.add(labels, flag(port.link_up));
    rx.add(labels, port.rx_packets);
    rx_bytes.add(labels, port.rx_bytes);
    tx.add(labels, port.tx_packets);
    tx_bytes.add(labels, port.tx_bytes);
    missed.add(labels, port.rx_missed);
  }
  out.insert(out.end(), {info, up, rx, rx_bytes, tx, tx_bytes, missed});
}

void add_workers(Families& out, const std::vector<WorkerStatus>& workers) {
  MetricFamily rx("teal_worker_receive_packets_total", counter, "Packets that the worker received.");
  MetricFamily busy("teal_worker_busy_ratio", gauge, "Share of the last second that the worker spent on packets.");
  for (const auto& worker : workers) {
    const Labels labels = {{"worker", std::to_string(worker.id)}, {"cpu", std::to_string(worker.cpu)}};
    rx.add(labels, worker.rx_packets);
    busy.add(labels, static_cast<double>(worker.busy_ppm) / 1e6);
  }
  out.insert(out.end(), {rx, busy});
}

void add_services(Families& out, const std::vector<ServiceStatus>& services) {
  MetricFamily info("teal_service_info", gauge, "Always 1; what the service is, as labels.");
  MetricFamily active("teal_pool_active", gauge, "1 for the pool that new flows go to.");
  MetricFamily share("teal_green_share_ratio", gauge, "Share of new flows that go to green.");
  MetricFamily generation("teal_generation", gauge, "Number of the split now in force.");
  MetricFamily draining("teal_draining", gauge,
                        "1 while the other pool holds flows of the time before the last change.");
  MetricFamily retired("teal_service_retired", gauge, "1 when no longer configured and kept for its flows.");
  MetricFamily untracked("teal_service_untracked_total", counter,
                         "Packets forwarded without an entry for lack of room.");
  MetricFamily recovered("teal_service_recovered_total", counter, "Flows entered from a packet that begins none.");
  MetricFamily moved("teal_service_flows_moved_total", counter, "Live flows whose backend changed; must stay 0.");
  MetricFamily flows("teal_flows", gauge, "Live flows by the last census; half_open: handshake not complete.");
  MetricFamily new_flows("teal_new_flows_total", counter, "Flows entered since teald started.");
  MetricFamily pinned("teal_pinned_clients", gauge, "Clients that affinity keeps on the pool, by the last census.");
  for (const auto& service : services) {
    const Labels labels = {{"service", service.name}};
    info.add({{"service", service.name},
              {"vip", service.vip},
              {"port", std::to_string(service.port)},
              {"protocol", service.protocol},
              {"forward", service.forward},
              {"group", service.group}},
             uint64_t{1});
    share.add(labels, service.green_share);
    generation.add(labels, service.generation);
    draining.add(labels, flag(service.draining));
    retired.add(labels, flag(service.retired));
    untracked.add(labels, service.untracked);
    recovered.add(labels, service.recovered);
    moved.add(labels, service.flows_moved);
    for (const auto& [name, pool] : service.pools) {
      const Labels of_pool = {{"service", service.name}, {"pool", name}};
      active.add(of_pool, flag(service.active == name));
      new_flows.add(of_pool, pool.new_flows);
      pinned.add(of_pool, pool.pinned);
      const uint64_t half_open = std::min(pool.half_open, pool.flows);
      flows.add({{"service", service.name}, {"pool", name}, {"state", "half_open"}}, half_open);
      flows.add({{"service", service.name}, {"pool", name}, {"state", "complete"}}, pool.flows - half_open);
    }
  }
  out.insert(out.end(), {info, active, share, generation, draining, retired, untracked, recovered, moved, flows,
                         new_flows, pinned});
}

void add_backends(Families& out, const std::vector<ServiceStatus>& services) {
  MetricFamily flows("teal_backend_flows", gauge, "Live flows by the last census.");
  MetricFamily packets("teal_backend_packets_total", counter, "Packets sent to the backend.");
  MetricFamily bytes("teal_backend_bytes_total", counter, "Bytes sent to the backend.");
  MetricFamily weight("teal_backend_weight", gauge, "Weight of the backend in its pool.");
  MetricFamily state("teal_backend_state", gauge, "1 for the state that the backend is in.");
  MetricFamily reachable("teal_backend_reachable", gauge, "1 while the kernel knows a next hop to the backend.");
  for (const auto& service : services) {
    for (const auto& [pool, of_pool] : service.pools) {
      for (const auto& backend : of_pool.backends) {
        const Labels labels = {{"service", service.name}, {"pool", pool}, {"backend", backend.id}};
        Labels with_state = labels;
        with_state.emplace_back("state", backend.state);
        flows.add(labels, backend.flows);
        packets.add(labels, backend.packets);
        bytes.add(labels, backend.bytes);
        weight.add(labels, uint64_t{backend.weight});
        state.add(with_state, uint64_t{1});
        reachable.add(labels, flag(backend.next_hop == "ready"));
      }
    }
  }
  out.insert(out.end(), {flows, packets, bytes, weight, state, reachable});
}

void add_counters(Families& out, const CounterStatus& counters) {
  auto& drops = family(out, "teal_drops_total", counter, "Packets dropped, by reason.");
  for (const auto& [name, count] : counters.drops) drops.add({{"reason", name}}, count);
  auto& events = family(out, "teal_events_total", counter, "What else happened, by name (packets, bytes or flows).");
  for (const auto& [name, count] : counters.events) events.add({{"event", name}}, count);
}

void add_rollouts(Families& out, const std::vector<RolloutStatus>& rollouts) {
  static const char* const phases[] = {"idle", "preview", "shifting", "baking", "draining", "rolling_back", "done"};
  MetricFamily phase("teal_rollout_phase", gauge, "1 for the phase that the group's last rollout is in.");
  MetricFamily paused("teal_rollout_paused", gauge, "1 while the rollout is paused.");
  MetricFamily step("teal_rollout_step", gauge, "Step in force, counted from 1; 0 before the first.");
  MetricFamily steps("teal_rollout_steps", gauge, "Steps of the rollout.");
  MetricFamily share("teal_rollout_target_share_ratio", gauge, "Share of new flows that go to the rollout's target.");
  MetricFamily left("teal_rollout_drain_flows", gauge, "Flows left on the pool that drains.");
  for (const auto& r : rollouts) {
    const Labels labels = {{"group", r.group}};
    for (const char* name : phases) phase.add({{"group", r.group}, {"phase", name}}, flag(r.phase == name));
    paused.add(labels, flag(r.paused));
    step.add(labels, uint64_t{r.step});
    steps.add(labels, uint64_t{r.steps.size()});
    share.add({{"group", r.group}, {"pool", r.to}}, r.share);
    if (r.drain) left.add({{"group", r.group}, {"pool", r.drain->pool}}, r.drain->flows);
  }
  out.insert(out.end(), {phase, paused, step, steps, share, left});
}

// Upper edges in seconds. The time itself is not summed up: the middle of its bucket stands for each handshake.
telemetry::Histogram handshake_histogram(const rollout::PoolSignals& counts) {
  telemetry::Histogram h;
  double below = 0;
  for (uint32_t i = 0; i < TEAL_HANDSHAKE_BUCKETS; i++) {
    const double edge = static_cast<double>(teal_handshake_edge(i)) / TEAL_FINE_TICKS_PER_S;
    if (i + 1 < TEAL_HANDSHAKE_BUCKETS) h.edges.push_back(edge);
    h.counts.push_back(counts.handshake[i]);
    h.sum += static_cast<double>(counts.handshake[i]) * (below + edge) / 2;
    below = edge;
  }
  return h;
}

void add_signals(Families& out, const std::vector<ServiceSignals>& signals) {
  MetricFamily begun("teal_pool_flows_begun_total", counter, "Flows that began with a SYN or a first datagram.");
  MetricFamily handshakes("teal_pool_handshakes_total", counter, "Handshakes completed.");
  MetricFamily retransmits("teal_pool_syn_retransmits_total", counter, "SYNs sent again by clients.");
  MetricFamily failed("teal_pool_handshake_failures_total", counter, "Handshakes that did not complete, by reason.");
  MetricFamily resets("teal_pool_resets_total", counter,
                      "Flows reset after the handshake; early: before the backend sent data.");
  MetricFamily time("teal_pool_handshake_seconds", telemetry::MetricType::histogram,
                    "Time of handshakes; the sum is made of the buckets' middles.");
  for (const auto& s : signals) {
    const Labels labels = {{"service", s.service}, {"pool", s.pool}};
    const auto with = [&](const char* name, const char* value) {
      Labels more = labels;
      more.emplace_back(name, value);
      return more;
    };
    begun.add(labels, s.counts.begun);
    handshakes.add(labels, s.counts.handshakes);
    retransmits.add(labels, s.counts.syn_retransmits);
    failed.add(with("reason", "refused"), s.counts.refused);
    failed.add(with("reason", "timed_out"), s.counts.timed_out);
    resets.add(with("when", "early"), s.counts.early_resets);
    resets.add(with("when", "later"), s.counts.resets);
    time.add(labels, handshake_histogram(s.counts));
  }
  out.insert(out.end(), {begun, handshakes, retransmits, failed, resets, time});
}

void add_control(Families& out, const Context& context) {
  auto& replies = family(out, "teal_control_replies_total", counter, "Replies of the control socket, by HTTP status.");
  for (const auto& [status, count] : context.stats.replies) replies.add({{"status", std::to_string(status)}}, count);
  family(out, "teal_control_connections", gauge, "Open connections of the control socket.")
      .add({}, context.stats.connections);
  family(out, "teal_control_accepted_total", counter, "Connections accepted by the control socket.")
      .add({}, context.stats.accepted);
  family(out, "teal_control_timeouts_total", counter, "Connections closed because the client was slow or idle.")
      .add({}, context.stats.timeouts);
  family(out, "teal_control_event_listeners", gauge, "Clients that listen to events.").add({}, context.stats.listeners);
  family(out, "teal_audit_lines_total", counter, "Audit lines written.").add({}, context.audit.lines());
  family(out, "teal_audit_errors_total", counter, "Audit lines that could not be written.")
      .add({}, context.audit.errors());
}

}  // namespace

Reply get_metrics(Context& context, Call& call) {
  const Query query(call.query, {});
  Families out;
  const Status status = context.operations.status();
  add_process(out, status);
  add_table(out, status.table);
  add_ports(out, status.ports);
  add_workers(out, status.workers);
  const auto services = context.operations.services();
  add_services(out, services);
  add_backends(out, services);
  add_counters(out, context.operations.counters());
  add_rollouts(out, context.releases.rollouts());
  add_signals(out, context.releases.signals());
  add_control(out, context);
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
          .body = telemetry::format_metrics(out),
          .headers = {}};
}

}  // namespace teal::control
