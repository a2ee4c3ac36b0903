// SPDX-License-Identifier: Apache-2.0
// What the balancer tells: status, services, flows, which.
#include <fmt/format.h>
#include <unistd.h>

#include "control/balancer.h"
#include "control/problem_codes.h"
#include "model/config_file.h"
#include "teal/affinity.h"

namespace teal::control {
namespace {

const char* flow_state_name(uint8_t state) {
  static const char* const names[] = {
#define X(name) #name,
      TEAL_FLOW_STATES(X)
#undef X
  };
  return state < TEAL_FLOW_STATE_COUNT ? names[state] : "?";
}

// Flows that are still alive: neither closed nor waiting for the end of a handshake that ended.
bool half_open(int state) {
  return state == TEAL_FLOW_syn || state == TEAL_FLOW_syn_ack || state == TEAL_FLOW_udp_new;
}

}  // namespace

Status Balancer::status() {
  Status s;
  s.version = TEAL_VERSION;
  s.config_file = file_;
  s.pid = static_cast<uint32_t>(getpid());
  s.uptime_s = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - begin_).count());
  s.instance = storage_.head().instance;
  const dataplane::Counters totals = engine_.totals();
  s.flows_moved = totals.event[TEAL_EV_flows_moved];
  s.table.capacity = storage_.head().capacity;
  s.table.slots = static_cast<uint64_t>(table_.bucket_count()) * TEAL_BUCKET_SLOTS;
  s.table.entries = sweeper_.census().entries;
  s.table.bytes = storage_.bytes();
  s.table.bytes_per_flow = static_cast<double>(sizeof(teal_bucket)) / TEAL_BUCKET_SLOTS;
  s.table.memory = config_.has_xdp_ports() ? "bpf" : model::to_string(config_.engine.memory);
  s.table.file = model::table_file_of(config_);
  s.table.census_age_ms =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - census_at_).count());
  s.table.sweep_us = sweeper_.census().duration_us;
  for (const auto& p : engine_.ports())
    s.ports.push_back({p.name, p.device, model::mac_str(p.mac), p.driver, p.link_up, p.rx_queues, p.tx_queues,
                       p.rx_packets, p.rx_bytes, p.tx_packets, p.tx_bytes, p.rx_missed});
  for (const auto& w : engine_.workers())
    s.workers.push_back({w.id, w.cpu, w.rx_packets, w.id < busy_.size() ? busy_[w.id].second : 0});
  return s;
}

BackendStatus Balancer::describe_backend(uint16_t number, const dataplane::Counters& totals) const {
  const teal_backend_record& record = registry_.backend(number);
  BackendStatus b;
  b.id = record.name;
  b.address = model::Endpoint{model::Address::from_raw(record.family, record.addr), teal_swap16(record.port)}.str();
  b.number = number;
  b.weight = record.weight;
  b.state = record.removed      ? "removed"
            : record.state == 1 ? "drain"
            : record.state != 0 ? "down"
            : !healthy(number)  ? "unhealthy"
                                : "ready";
  b.next_hop = "no_route";
  if (const auto* snapshot = engine_.snapshot(); snapshot != nullptr && number < snapshot->view().backend_count) {
    const uint8_t state = snapshot->view().backends[number].hop.state;
    b.next_hop = state == TEAL_HOP_READY ? "ready" : state == TEAL_HOP_UNRESOLVED ? "unresolved" : "no_route";
  }
  for (uint32_t n : sweeper_.census().by_backend[number]) b.flows += n;
  b.packets = totals.backend[number].packets;
  b.bytes = totals.backend[number].bytes;
  return b;
}

ServiceStatus Balancer::describe(uint16_t number, const dataplane::Counters& totals) const {
  const teal_service_record& record = registry_.service(number);
  const teal_split& split = registry_.split(record.group);
  ServiceStatus s;
  s.name = record.name;
  s.vip = model::Address::from_raw(record.family, record.vip).str();
  s.port = teal_swap16(record.port);
  s.protocol = model::to_string(static_cast<model::Protocol>(record.proto));
  s.forward = model::to_string(static_cast<model::Forward>(record.forward));
  s.group = registry_.group_name(record.group);
  const auto* config = config_of(number);
  s.split_by = model::to_string(config != nullptr ? config->split_by : model::SplitBy::client);
  s.active = model::pool_name(teal_split_active(split.current));
  s.green_share = teal_split_share(split.current) / 65536.0;
  s.generation = teal_split_generation(split.current);
  s.draining = teal_split_draining(split.current) != 0;
  s.retired = record.retired != 0;
  const model::Snapshot* snapshot = engine_.snapshot();
  s.settled = snapshot != nullptr && number < snapshot->view().service_count &&
              (snapshot->view().services[number].flags & TEAL_SERVICE_SETTLES) && settler_.settled(record.group);
  s.untracked = totals.service[number].untracked;
  s.recovered = totals.service[number].recovered;
  s.flows_moved = totals.service[number].moved;
  for (int pool = 0; pool < 2; pool++) {
    PoolStatus& p = s.pools[model::pool_name(pool)];
    p.flows = sweeper_.census().by_service[number][pool];
    p.new_flows = totals.service[number].new_flows[pool];
    p.pinned = pinned(number, static_cast<uint8_t>(pool));
  }
  for (uint16_t b : registry_.backends()) {
    const auto& backend = registry_.backend(b);
    if (backend.service != number) continue;
    PoolStatus& p = s.pools[model::pool_name(backend.pool)];
    p.backends.push_back(describe_backend(b, totals));
    for (int state = 0; state < TEAL_FLOW_STATE_COUNT; state++)
      if (half_open(state)) p.half_open += sweeper_.census().by_backend[b][state];
  }
  return s;
}

std::vector<ServiceStatus> Balancer::services() {
  const dataplane::Counters totals = engine_.totals();
  std::vector<ServiceStatus> out;
  for (uint16_t number : registry_.services()) out.push_back(describe(number, totals));
  return out;
}

Result<ServiceStatus> Balancer::service(const std::string& name) {
  const Result<uint16_t> found = find(name);
  if (const auto* problem = std::get_if<Problem>(&found); problem != nullptr && problem->code != "service_retired")
    return *problem;
  for (uint16_t number : registry_.services())
    if (registry_.service(number).name == name) return describe(number, engine_.totals());
  return std::get<Problem>(found);
}

CounterStatus Balancer::counters() {
  const dataplane::Counters totals = engine_.totals();
  CounterStatus out;
#define X(name, text) out.drops[#name] = totals.drop[TEAL_DROP_##name];
  TEAL_DROP_REASONS(X)
#undef X
#define X(name, text) out.events[#name] = totals.event[TEAL_EV_##name];
  TEAL_EVENTS(X)
#undef X
  out.events["flows_expired"] += sweeper_.expired();
  return out;
}

Result<std::vector<FlowStatus>> Balancer::flows(const FlowQuery& query) {
  uint16_t service = 0;
  if (!query.service.empty()) {
    for (uint16_t number : registry_.services())
      if (registry_.service(number).name == query.service) service = number;
    if (service == 0) return std::get<Problem>(find(query.service));
  }
  if (!query.state.empty()) {
    std::string known;
    bool found = false;
    for (uint8_t state = 1; state < TEAL_FLOW_STATE_COUNT; state++) {
      found = found || query.state == flow_state_name(state);
      known += (known.empty() ? "" : ", ") + std::string(flow_state_name(state));
    }
    if (!found)
      return make_problem(ProblemCode::wrong_parameter,
                          "state '" + query.state + "' is unknown, expected one of: " + known);
  }
  std::vector<FlowStatus> out;
  const uint32_t now = engine_.now();
  flow::Sweeper::visit(table_, [&](uint64_t key, uint64_t val, teal_bucket*, int) {
    if (teal_val_state(val) == TEAL_FLOW_affinity) return true;
    const uint16_t number = teal_key_service(key);
    if (service != 0 && number != service) return true;
    const teal_service_record& record = registry_.service(number % TEAL_SERVICES);
    FlowStatus f;
    f.pool = model::pool_name(teal_val_pool(val));
    if (!query.pool.empty() && f.pool != query.pool) return true;
    f.state = flow_state_name(teal_val_state(val));
    if (!query.state.empty() && f.state != query.state) return true;
    f.backend = registry_.backend(teal_val_backend(val)).name;
    if (!query.backend.empty() && f.backend != query.backend) return true;
    f.service = record.name;
    if (record.family == 4) {
      teal_addr client{};
      client.v4 = static_cast<uint32_t>(key >> 32);
      f.client =
          model::Endpoint{model::Address::from_raw(4, client), teal_swap16(static_cast<uint16_t>(key >> 16))}.str();
    } else {
      f.client = fmt::format("#{:012x}", key >> 16);
    }
    f.idle_s = teal_val_age(val, now) / TEAL_TICKS_PER_S;
    f.generation = teal_val_generation(val);
    out.push_back(std::move(f));
    return out.size() < query.limit;
  });
  return out;
}

// The same stages that a worker runs, on a packet that is not there.
Result<WhichReply> Balancer::which(const std::string& name, const model::Endpoint& client) {
  const Result<uint16_t> found = find(name);
  if (const auto* problem = std::get_if<Problem>(&found)) return *problem;
  const uint16_t number = std::get<uint16_t>(found);
  if (engine_.snapshot() == nullptr) return make_problem(ProblemCode::not_ready, "the packet path has not started yet");
  const model::View& view = engine_.snapshot()->view();
  const teal_service& service = view.services[number];
  if (client.address.family != service.family)
    return make_problem(ProblemCode::wrong_parameter,
                        fmt::format("client {} is IPv{}, expected an IPv{} address like the service's VIP",
                                    client.str(), client.address.family, service.family));
  const teal_secret& secret = storage_.head().secret;
  const teal_addr raw = client.address.raw();
  const teal_be16 port = teal_swap16(client.port);
  const teal_flow_key key =
      service.family == 4 ? teal_flow_key4(&secret, raw.v4, port, number) : teal_flow_key6(&secret, &raw, port, number);
  WhichReply reply;
  reply.service = name;
  reply.client = client.str();
  uint64_t val = 0;
  if (table_.find(key, &val) != nullptr && !teal_flow_expired(&service, val, engine_.now())) {
    reply.why = "entry";
    reply.pool = model::pool_name(teal_val_pool(val));
    reply.backend = registry_.backend(teal_val_backend(val)).name;
    reply.state = flow_state_name(teal_val_state(val));
    reply.detail = fmt::format("the flow has an entry in state {}, seen {} s ago: it stays on {}", reply.state,
                               teal_val_age(val, engine_.now()) / TEAL_TICKS_PER_S, reply.backend);
    return reply;
  }
  const teal_split& split = registry_.split(registry_.service(number).group);
  const uint32_t point = teal_point(&secret, teal_point_basis(&secret, &service, &raw, key.key));
  const auto backend_in = [&](int pool) -> std::string {
    if (service.maglev[pool] == 0) return "";
    return registry_
        .backend(view.maglev[service.maglev[pool]][teal_maglev_slot(&secret, key.hash, 0, model::maglev_slots)])
        .name;
  };
  int pool = teal_pool_of(split.current, point);
  const char* why = "split";
  uint64_t pinned = 0;
  if ((service.flags & TEAL_SERVICE_PREVIEW) &&
      teal_route_find(view.routes, view.route_mask, &view.previews, &secret, service.family, &raw, number, 0)) {
    pool = static_cast<int>(teal_preview_pool(&service));
    why = "preview";
  } else if ((service.flags & TEAL_SERVICE_AFFINITY) &&
             table_.find(teal_affinity_key(&secret, &service, &raw, number), &pinned) != nullptr &&
             teal_affinity_binds(&service, pinned, split.current, engine_.now()) &&
             service.maglev[teal_val_pool(pinned)] != 0) {
    pool = teal_val_pool(pinned);
    why = "affinity";
  }
  reply.pool = model::pool_name(pool);
  reply.backend = backend_in(pool);
  reply.why = reply.backend.empty() ? "none" : why;
  reply.detail =
      reply.backend.empty()
          ? fmt::format("no entry; a new flow would go to {}, which has no backend that takes new flows", reply.pool)
          : fmt::format("no entry; a new flow goes to {} by {}", reply.backend, reply.why);
  if (teal_split_draining(split.current)) {
    const int before = teal_pool_of(split.previous, point);
    if (before != pool)
      reply.detail += fmt::format("; a flow from before the last change would be recovered on {} by the previous split",
                                  backend_in(before));
  }
  return reply;
}

}  // namespace teal::control
