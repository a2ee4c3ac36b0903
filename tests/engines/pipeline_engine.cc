// SPDX-License-Identifier: Apache-2.0
#include "engines/pipeline_engine.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>

#include <algorithm>
#include <stdexcept>

#include "engines/ring_ports.h"
#include "flow/snapshot_input.h"
#include "model/config_file.h"
#include "model/preview.h"
#include "teal/affinity.h"

namespace teal::tests {
namespace {

const char* const state_names[] = {
#define X(name) #name,
    TEAL_FLOW_STATES(X)
#undef X
};

std::vector<Output> collect() {
  std::vector<Output> out;
  for (bool kernel : {false, true})
    for (uint16_t i = 0; i < ring_ports; i++)
      for (Bytes& frame : take_all((kernel ? ring_world().taps : ring_world().ports)[i].out))
        out.push_back({kernel, i, std::move(frame)});
  return out;
}

}  // namespace

PipelineEngine::PipelineEngine(std::unique_ptr<flow::Storage> storage, const teal_secret& secret)
    : storage_(std::move(storage)),
      table_(storage_->buckets(), storage_->head().buckets, storage_->locks(), storage_->owner(), storage_->cells()),
      registry_(*storage_),
      sink_(counters_) {
  storage_->head().secret = secret;
  set_clock();
  settler_ = std::make_unique<flow::Settler>(*storage_);
}

void PipelineEngine::publish(const std::string& config, const World& world) {
  auto read = model::parse_config(config, "case");
  if (!read.ok()) throw std::runtime_error(read.errors.front().str());
  config_ = std::move(read.config);
  config_.services = model::with_previews(config_.services);
  world_ = world;
  if (world_.ports.size() > ring_ports)
    throw std::runtime_error("a case has at most " + std::to_string(ring_ports) + " ports");
  registry_.apply(config_.services);
  publish_view();
  if (!pipeline_) make_pipeline();
  for (const uint16_t number : registry_.services()) follow_with_preview(registry_.service(number).group);
}

void PipelineEngine::cutover(const std::string& service, model::Pool to) {
  commit(service, rollout::cutover(split_of(service), to));
}

void PipelineEngine::rollback(const std::string& service, bool reset) {
  commit(service, rollout::rollback(split_of(service)));
  if (!reset) return;
  const uint16_t group = registry_.service(number_of(service)).group;
  const auto left = static_cast<uint8_t>(1 - teal_split_active(registry_.split(group).current));
  flow::Sweeper::visit(table_, [&](uint64_t key, uint64_t val, teal_bucket* b, int slot) {
    const uint8_t state = teal_val_state(val);
    if (registry_.service(teal_key_service(key)).group != group || teal_val_pool(val) != left ||
        state == TEAL_FLOW_affinity || teal_state_is_over(state))
      return true;
    if (state == TEAL_FLOW_udp || state == TEAL_FLOW_udp_new)
      table_.remove(storage_->head().secret, b, slot, key, val);
    else
      table_.set_state(storage_->head().secret, b, slot, key, TEAL_FLOW_reset, ticks());
    return true;
  });
}

void PipelineEngine::set_share(const std::string& service, uint32_t share) {
  set_split(service, {share, static_cast<model::Pool>(teal_split_active(split_of(service).current))});
}

void PipelineEngine::set_split(const std::string& service, const SplitOrder& order) {
  rollout::SplitChange change;
  change.changed = true;
  change.next.previous = split_of(service).current;
  change.next.current = teal_split_make(teal_split_generation(change.next.previous) + 1, order.share, order.draining,
                                        order.active == model::Pool::green) |
                        (order.ignore_affinity ? TEAL_SPLIT_IGNORE_AFFINITY : 0) |
                        (order.rolled_back ? TEAL_SPLIT_ROLLED_BACK : 0);
  commit(service, change);
}

void PipelineEngine::drained(const std::string& service) {
  const uint16_t group = registry_.service(number_of(service)).group;
  teal_split& split = registry_.split(group);
  TEAL_STORE(&split.current, rollout::drained(split.current));
  follow_with_preview_clients(group);
}

void PipelineEngine::set_backend(const std::string& service, const std::string& backend, std::optional<uint32_t> weight,
                                 std::optional<uint8_t> state) {
  const uint16_t number = registry_.backend_number(number_of(service), backend);
  if (number == 0) throw std::runtime_error("no backend '" + backend + "' in service '" + service + "'");
  teal_backend_record& record = registry_.backend(number);
  if (weight) record.weight = *weight;
  if (state) record.state = *state;
  publish_view();
}

std::vector<Output> PipelineEngine::advance(TestTime time) {
  now_ += time;
  set_clock();
  pipeline_->housekeeping(snapshot_->view(), ticks(), tsc());
  sink_.flush();
  return collect();
}

std::vector<Output> PipelineEngine::run(uint16_t port, const std::vector<Bytes>& frames) {
  const RingDevice& device = ring_world().ports.at(port);
  for (const Bytes& frame : frames)
    if (rte_ring_enqueue(device.in, to_mbuf(frame)) != 0) throw std::runtime_error("ring of port full");
  rte_mbuf* packets[dataplane::burst];
  while (const uint16_t n = rte_eth_rx_burst(device.ethdev, 0, packets, dataplane::burst)) {
    counters_.event[TEAL_EV_rx_packets] += n;
    counters_.event[TEAL_EV_rx_bytes] += pipeline_->process(snapshot_->view(), packets, n, port, ticks(), tsc());
    sink_.flush();
  }
  return collect();
}

void PipelineEngine::take_locks(bool taken) {
  std::fill_n(storage_->locks(), TEAL_LOCKS, taken ? storage_->owner() + 1 : 0);
}

void PipelineEngine::sweep() {
  const model::View& view = snapshot_->view();
  std::vector<flow::Ageing> ageing(view.service_count);
  for (uint32_t i = 0; i < view.service_count; i++)
    std::copy(std::begin(view.services[i].timeout), std::end(view.services[i].timeout), ageing[i].timeout.begin());
  walk(std::move(ageing));
}

void PipelineEngine::settle(bool data) {
  if (data)
    flow::Sweeper::visit(table_, [](uint64_t, uint64_t val, teal_bucket* b, int slot) {
      if (teal_val_state(val) == TEAL_FLOW_established) TEAL_OR(&b->val[slot], TEAL_VAL_DATA);
      return true;
    });
  flow::Ageing never;
  never.timeout.fill(TEAL_STAMP_MASK);  // no entry is ever as old
  // What was entered a moment ago is known to be plain after two.
  for (int i = 0; i < 2; i++) walk(std::vector(snapshot_->view().service_count, never));
}

void PipelineEngine::walk(std::vector<flow::Ageing> ageing) {
  if (!sweeper_) sweeper_ = std::make_unique<flow::Sweeper>(table_, storage_->head().secret);
  settler_->begin_walk(snapshot_->view(), {});
  settler_->tell(snapshot_->view(), ageing);
  while (!sweeper_->step(table_.bucket_count(), ticks(), ageing)) {
  }
  settler_->end_walk();
}

std::optional<FlowEntry> PipelineEngine::flow(const std::string& service, const model::Endpoint& client) const {
  const uint16_t number = number_of(service);
  const teal_addr raw = client.address.raw();
  const teal_secret* secret = &storage_->head().secret;
  const teal_flow_key key = client.address.family == 4
                                ? teal_flow_key4(secret, raw.v4, teal_swap16(client.port), number)
                                : teal_flow_key6(secret, &raw, teal_swap16(client.port), number);
  return entry(key);
}

std::optional<FlowEntry> PipelineEngine::affinity(const std::string& service, const model::Address& client) const {
  const uint16_t number = number_of(service);
  const teal_addr raw = client.raw();
  return entry(teal_affinity_key(&storage_->head().secret, &snapshot_->view().services[number], &raw, number));
}

uint64_t PipelineEngine::affinity_entries() const {
  uint64_t n = 0;
  flow::Sweeper::visit(table_, [&](uint64_t, uint64_t val, teal_bucket*, int) {
    n += teal_val_state(val) == TEAL_FLOW_affinity;
    return true;
  });
  return n;
}

std::optional<FlowEntry> PipelineEngine::entry(const teal_flow_key& key) const {
  uint64_t val = 0;
  if (table_.find(key, &val) == nullptr) return std::nullopt;
  return FlowEntry{storage_->backends()[teal_val_backend(val)].name,
                   model::to_string(static_cast<model::Pool>(teal_val_pool(val))), state_names[teal_val_state(val)],
                   teal_val_generation(val), teal_val_backend(val)};
}

Counts PipelineEngine::counts() const {
  Counts out{counters_.drop, counters_.event, {}, {}, {}, {}};
  if (!snapshot_) return out;
  for (uint32_t i = 0; i < snapshot_->view().service_count; i++) {
    const dataplane::ServiceCounters& s = counters_.service[i];
    out.service.push_back({{s.new_flows[0], s.new_flows[1]}, s.untracked, s.recovered, s.moved, {}});
    std::copy_n(&counters_.signals[i * signals_per_service], signals_per_service, out.signals.emplace_back().begin());
    auto& timed_out = out.timed_out.emplace_back();
    for (unsigned g = 0; sweeper_ && g < TEAL_SIGNAL_GENERATIONS; g++)
      for (const uint8_t pool : {TEAL_BLUE, TEAL_GREEN}) {
        const uint64_t val = teal_val(0, pool, g, TEAL_FLOW_syn, 0, 0);
        timed_out[teal_signal_index(val)] = sweeper_->timed_out(static_cast<uint16_t>(i), val);
      }
  }
  for (uint32_t i = 0; i < snapshot_->view().backend_count; i++)
    out.backend.push_back({counters_.backend[i].packets, counters_.backend[i].bytes});
  return out;
}

uint64_t PipelineEngine::close_and_count_leaks() {
  pipeline_.reset();
  const RingWorld& w = ring_world();
  return rte_mempool_in_use_count(w.packets) + rte_mempool_in_use_count(w.direct) +
         rte_mempool_in_use_count(w.indirect);
}

// 32 bits of fine ticks: they wrap after 12 days, as the table's clock does.
uint32_t PipelineEngine::ticks() const {
  return static_cast<uint32_t>(std::chrono::duration_cast<FineTicks>(now_).count());
}
uint64_t PipelineEngine::tsc() const {
  const uint64_t a_ms = rte_get_tsc_hz() / 1000, part = TestTime(std::chrono::milliseconds(1)).count();
  return now_.count() / part * a_ms + now_.count() % part * a_ms / part;
}
void PipelineEngine::set_clock() {
  TEAL_STORE(&storage_->head().tick, ticks());
}

uint16_t PipelineEngine::number_of(const std::string& service) const {
  const uint16_t number = registry_.service_number(service);
  if (number == 0) throw std::runtime_error("no service '" + service + "'");
  return number;
}
const teal_split& PipelineEngine::split_of(const std::string& service) const {
  return registry_.split(registry_.service(number_of(service)).group);
}

void PipelineEngine::commit(const std::string& service, const rollout::SplitChange& change) {
  if (!change.changed) throw std::runtime_error("the split of '" + service + "' stands so already");
  store_split(registry_.service(number_of(service)).group, change.next);
}

// As the balancer of src/control does it: previews follow what is stored.
void PipelineEngine::store_split(uint16_t group, const teal_split& next) {
  (void)settler_->unsettle(group);  // packets run one burst at a time: there is nobody to wait for
  teal_split& split = registry_.split(group);
  TEAL_STORE(&split.previous, next.previous);
  TEAL_STORE(&split.current, next.current);
  follow_with_preview(group);
  follow_with_preview_clients(group);
}

// The preview VIP goes to the pool that is not active.
void PipelineEngine::follow_with_preview(uint16_t group) {
  const std::string wanted = model::preview_name(registry_.group_name(group));
  for (const uint16_t number : registry_.services()) {
    const uint16_t preview = registry_.service(number).group;
    if (registry_.service(number).retired || registry_.group_name(preview) != wanted) continue;
    const bool green = teal_split_active(registry_.split(group).current) == TEAL_GREEN;
    const auto change = rollout::cutover(registry_.split(preview), green ? model::Pool::blue : model::Pool::green);
    if (change.changed) store_split(preview, change.next);
  }
}

// Which pool preview clients see stands in the published view.
void PipelineEngine::follow_with_preview_clients(uint16_t group) {
  for (const model::ServiceConfig& s : config_.services)
    if (!s.preview.clients.empty() && registry_.service(number_of(s.name)).group == group) return publish_view();
}

void PipelineEngine::publish_view() {
  model::SnapshotInput in = flow::snapshot_input(registry_, storage_->head().secret, config_);
  in.topology = world_.topology;
  for (uint16_t i = 0; i < world_.ports.size(); i++)
    in.ports.push_back({i, world_.ports[i].ifindex, world_.ports[i].mac, world_.ports[i].mtu, world_.ports[i].vlan});
  auto next = std::make_unique<const model::Snapshot>(in, maglev_);
  if (snapshot_) (void)settler_->unsettle(snapshot_->view(), next->view());
  published(*next);
  snapshot_ = std::move(next);
}

void PipelineEngine::make_pipeline() {
  dataplane::Pipeline::Shared shared;
  shared.table = &table_;
  shared.head = &storage_->head();
  shared.splits = storage_->splits();
  shared.settled = storage_->settled();
  RingWorld& w = ring_world();
  shared.pools = {w.direct, w.indirect};
  shared.wanted = w.wanted;
  for (uint16_t i = 0; i < world_.ports.size(); i++) {
    shared.ports[i] = {world_.ports[i].mac, static_cast<uint8_t>(world_.ports[i].vlan.size()), true};
    sink_.set_port(i, {w.ports[i].ethdev, 0, nullptr});
    sink_.set_tap(i, {w.taps[i].ethdev, 0, nullptr});
  }
  pipeline_ = std::make_unique<dataplane::Pipeline>(shared, counters_, sink_);
}

}  // namespace teal::tests
