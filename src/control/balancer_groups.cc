// SPDX-License-Identifier: Apache-2.0
// The balancer as rollouts see it (control/groups.h).
#include <algorithm>

#include "control/balancer.h"
#include "control/problem_codes.h"
#include "model/preview.h"

namespace teal::control {
namespace {

constexpr size_t ages_told = 8;  // changes of the split that a flow can be told to have outlived

}  // namespace

std::optional<GroupView> Balancer::view(const std::string& name) {
  const uint16_t group = group_number(name);
  if (group == 0) return std::nullopt;
  GroupView view;
  view.name = name;
  view.split = registry_.split(group);
  const dataplane::Counters totals = engine_.totals();
  for (uint16_t number : group_members(group)) {
    const auto& record = registry_.service(number);
    for (int pool = 0; pool < 2; pool++) {
      view.pools[pool].flows += sweeper_.census().by_service[number][pool];
      view.pools[pool].new_flows += totals.service[number].new_flows[pool];
    }
    if (record.retired) continue;
    if (const auto* config = config_of(number); view.services.empty() && config != nullptr)
      view.config = config->rollout;
    view.services.emplace_back(record.name);
    if (view.untracked.empty()) view.untracked = untracked_of(number);
  }
  for (uint16_t b : registry_.backends()) {
    const auto& backend = registry_.backend(b);
    const auto& service = registry_.service(backend.service);
    if (service.group != group || service.retired || backend.removed) continue;
    const BackendStatus status = describe_backend(b, totals);
    view.pools[backend.pool].backends.push_back(
        {service.name, status.id, status.address, status.state, status.weight, takes_new_flows(b)});
  }
  return view;
}

bool Balancer::takes_new_flows(uint16_t backend) const {
  const auto& record = registry_.backend(backend);
  return record.state == 0 && !record.removed && record.weight > 0 && (healthy(backend) || spared_.contains(backend));
}

// Under the ignore-affinity bit entries of earlier generations hold nobody. Those of this one are on the active pool,
// once all new flows go there: on the other, what the census has counted is what will age out.
uint64_t Balancer::pinned(uint16_t service, uint8_t pool) const {
  const uint64_t word = registry_.split(registry_.service(service).group).current;
  const uint32_t share = teal_split_share(word);
  if ((word & TEAL_SPLIT_IGNORE_AFFINITY) && (share == 0 || share == TEAL_SPLIT_ALL) && pool != teal_split_active(word))
    return 0;
  return sweeper_.census().pinned[service][pool];
}

GroupSight Balancer::see(const std::string& name) {
  GroupSight sight;
  const uint16_t group = group_number(name);
  if (group == 0) return sight;
  sight.split = registry_.split(group);
  sight.half_open_ms = int64_t{1000} * config_.engine.timeouts.half_open_s;
  const bool counted = sweeper_.walks() >= changed_walk_[group] + 2 &&
                       Clock::now() - changed_at_[group] >= std::chrono::seconds(config_.engine.timeouts.half_open_s);
  sight.ready[0] = sight.ready[1] = started_;
  for (int pool = 0; pool < 2 && counted; pool++) sight.flows_left[pool] = 0;
  for (uint16_t number : group_members(group)) {
    const bool retired = registry_.service(number).retired != 0;
    sight.configured = sight.configured || !retired;
    for (uint8_t pool = 0; pool < 2; pool++) {
      if (started_ && !retired && engine_.snapshot()->maglev(number, pool)->empty()) sight.ready[pool] = false;
      sight.flows[pool] += sweeper_.census().by_service[number][pool];
      sight.pinned[pool] += pinned(number, pool);
      if (counted) *sight.flows_left[pool] += sweeper_.census().by_service[number][pool];
    }
  }
  if (counted) {
    for (uint16_t b : registry_.backends()) {
      const auto& backend = registry_.backend(b);
      if (registry_.service(backend.service).group != group) continue;
      uint64_t& left = *sight.flows_left[backend.pool];
      left -= std::min<uint64_t>(left, sweeper_.census().by_backend[b][TEAL_FLOW_reset]);
    }
  }
  if (!sight.configured) sight.ready[0] = sight.ready[1] = false;
  return sight;
}

std::vector<uint16_t> Balancer::judged(const std::string& name) {
  std::vector<uint16_t> out;
  for (uint16_t number : group_members(group_number(name)))
    if (!registry_.service(number).retired && registry_.service(number).proto == TEAL_PROTO_TCP) out.push_back(number);
  return out;
}

std::vector<std::pair<uint16_t, std::string>> Balancer::numbers(const std::string& name) {
  std::vector<std::pair<uint16_t, std::string>> out;
  for (uint16_t number : group_members(group_number(name)))
    if (!registry_.service(number).retired) out.emplace_back(number, registry_.service(number).name);
  return out;
}

// The instant: previous first, then current; then wait until nobody can decide by the old word any more. Before it
// every packet of the group looks for its entry again.
uint64_t Balancer::store_split(uint16_t group, const teal_split& next) {
  if (settler_.unsettle(group)) engine_.synchronize();
  teal_split& split = registry_.split(group);
  TEAL_STORE(&split.previous, next.previous);
  TEAL_STORE(&split.current, next.current);
  const uint64_t waited = engine_.synchronize();
  changed_at_[group] = Clock::now();
  changed_walk_[group] = sweeper_.walks();
  follow_with_preview(group);
  follow_with_preview_clients(group);
  return waited;
}

// Which pool preview clients see stands in the published view.
void Balancer::follow_with_preview_clients(uint16_t group) {
  for (uint16_t number : group_members(group))
    if (const auto* config = config_of(number); config != nullptr && !config->preview.clients.empty()) return publish();
}

rollout::PoolSignals Balancer::signals(uint16_t service, model::Pool pool, unsigned generation) const {
  rollout::PoolSignals sum = engine_.signals(service, pool, generation);
  sum.timed_out +=
      sweeper_.timed_out(service, teal_val(0, static_cast<uint8_t>(pool), generation, TEAL_FLOW_syn, 0, 0));
  return sum;
}

// The preview VIP of a group goes to the pool that is not active.
void Balancer::follow_with_preview(uint16_t group) {
  const uint16_t preview = group_number(model::preview_name(registry_.group_name(group)));
  if (preview == 0) return;
  const auto standby =
      static_cast<model::Pool>(teal_split_active(registry_.split(group).current) ? TEAL_BLUE : TEAL_GREEN);
  const rollout::SplitChange change = rollout::cutover(registry_.split(preview), standby);
  if (change.changed) store_split(preview, change.next);
}

uint64_t Balancer::store(const std::string& name, const teal_split& next) {
  const uint16_t group = group_number(name);
  return group == 0 ? 0 : store_split(group, next);
}

void Balancer::clear_draining(const std::string& name) {
  const uint16_t group = group_number(name);
  if (group == 0) return;
  teal_split& split = registry_.split(group);
  TEAL_STORE(&split.current, rollout::drained(split.current));
  follow_with_preview_clients(group);
}

// First by the word, at once, then entry by entry, so that the next change of the split finds none of them.
void Balancer::unpin(const std::string& name, model::Pool pool) {
  const uint16_t group = group_number(name);
  bool any = false;
  for (uint16_t number : group_members(group))
    if (const auto* config = config_of(number)) any = any || config->affinity.by_client;
  if (!any) return;
  teal_split& split = registry_.split(group);
  TEAL_STORE(&split.current, rollout::unpinned(split.current));
  engine_.synchronize();
  drop_pins(group, pool);
  changed_walk_[group] = sweeper_.walks();
}

void Balancer::keep_idle(const std::string& name, model::Pool pool, bool keep) {
  const std::pair<uint16_t, uint8_t> which{group_number(name), static_cast<uint8_t>(pool)};
  const bool changed = keep ? idle_kept_.insert(which).second : idle_kept_.erase(which) > 0;
  if (changed && started_) set_ageing();
}

uint64_t Balancer::reset(const std::string& name, model::Pool pool) {
  const uint16_t group = group_number(name);
  if (group == 0) return 0;
  const uint64_t marked = reset_flows(group, pool);
  changed_walk_[group] = sweeper_.walks();
  return marked;
}

Rehearsal::Room Balancer::table_room() {
  const uint64_t capacity = storage_.head().capacity, entries = sweeper_.census().entries;
  return {capacity, entries, capacity - std::min(capacity, entries)};
}

Result<DrainReport> Balancer::drain_report(const std::string& service) {
  const Result<ServiceStatus> found = this->service(service);
  if (const auto* problem = std::get_if<Problem>(&found)) return *problem;
  uint16_t number = 0;
  for (uint16_t n : registry_.services())
    if (registry_.service(n).name == service) number = n;
  const teal_split& split = registry_.split(registry_.service(number).group);
  DrainReport report;
  report.service = service;
  const uint8_t left = teal_split_active(split.current) ? TEAL_BLUE : TEAL_GREEN;
  report.pool = model::to_string(static_cast<model::Pool>(left));
  report.draining = teal_split_draining(split.current) != 0;
  report.idle_edges_s = {1, 10, 60, 300, 900, 3600};
  report.idle_flows.assign(report.idle_edges_s.size() + 1, 0);
  report.by_age.assign(ages_told, 0);
  report.pinned = pinned(number, left);
  const uint32_t now = engine_.now();
  const uint32_t generation_mask = teal_val_generation(~0ull);
  const auto generation = static_cast<uint32_t>(teal_split_generation(split.current));
  flow::Sweeper::visit(table_, [&](uint64_t key, uint64_t val, teal_bucket*, int) {
    if (teal_key_service(key) != number || teal_val_pool(val) != left) return true;
    const uint8_t state = teal_val_state(val);
    if (state == TEAL_FLOW_affinity || state == TEAL_FLOW_reset || teal_state_is_over(state)) return true;
    report.flows++;
    const uint32_t idle_s = teal_val_age(val, now) / TEAL_TICKS_PER_S;
    report.longest_idle_s = std::max(report.longest_idle_s, idle_s);
    size_t bucket = 0;
    while (bucket < report.idle_edges_s.size() && idle_s > report.idle_edges_s[bucket]) bucket++;
    report.idle_flows[bucket]++;
    const uint32_t outlived = (generation - teal_val_generation(val)) & generation_mask;
    report.by_age[std::min<size_t>(outlived, ages_told - 1)]++;
    return true;
  });
  return report;
}

Result<PreviewStatus> Balancer::preview_of(const std::string& service) {
  const Result<uint16_t> found = find(service);
  if (const auto* problem = std::get_if<Problem>(&found)) return *problem;
  const uint16_t number = std::get<uint16_t>(found);
  PreviewStatus status;
  status.service = service;
  const teal_split& split = registry_.split(registry_.service(number).group);
  status.pool = model::to_string(teal_split_active(split.current) ? model::Pool::blue : model::Pool::green);
  if (const auto* config = config_of(number))
    for (const model::Prefix& p : config->preview.clients) status.clients.push_back(p.str());
  status.changed_live = preview_changed_.contains(service);
  return status;
}

// Lasts until the next reload, which takes the file's word, or until teald is started anew.
Result<PreviewStatus> Balancer::change_preview(const std::string& service, const std::vector<model::Prefix>& clients) {
  const Result<uint16_t> found = find(service);
  if (const auto* problem = std::get_if<Problem>(&found)) return *problem;
  for (auto& s : config_.services) {
    if (s.name != service) continue;
    const auto before = s.preview.clients;
    s.preview.clients = clients;
    try {
      if (started_) publish();
    } catch (const std::exception& e) {
      s.preview.clients = before;
      return make_problem(ProblemCode::no_room, e.what());
    }
    preview_changed_.insert(service);
  }
  return preview_of(service);
}

}  // namespace teal::control
