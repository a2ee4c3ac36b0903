// SPDX-License-Identifier: Apache-2.0
// Life of the balancer: start, topology, publication, the clockwork, reload. Switching: balancer_switch.cc; answers:
// balancer_query.cc.
#include "control/balancer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

#include "control/problem_codes.h"
#include "flow/snapshot_input.h"
#include "model/config_file.h"
#include "model/preview.h"

namespace teal::control {

Balancer::Balancer(const model::Config& config, std::string file, flow::Storage& storage, flow::Table& table,
                   Engines& engine)
    : config_(config),
      file_(std::move(file)),
      storage_(storage),
      table_(table),
      engine_(engine),
      registry_(storage),
      sweeper_(table, storage.head().secret),
      settler_(storage),
      busy_(config.engine.workers) {
  changed_at_.fill(begin_);  // what an earlier teald changed may have been a moment ago
  config_.services = model::with_previews(config_.services);
  for (const std::string& change : registry_.apply(config_.services)) spdlog::info("{}", change);
}

void Balancer::follow_with_previews() {
  for (const std::string& name : group_names()) follow_with_preview(group_number(name));
}

void Balancer::publish() {
  model::SnapshotInput in = flow::snapshot_input(registry_, storage_.head().secret, config_);
  in.ports = engine_.bindings();
  in.topology = topology_;
  leave_out_the_unhealthy(in);
  auto next = std::make_unique<const model::Snapshot>(in, maglev_);
  if (const model::Snapshot* now = engine_.snapshot(); now != nullptr && settler_.unsettle(now->view(), next->view()))
    engine_.synchronize();
  engine_.publish(std::move(next));
  set_ageing();
  const bool first = !std::exchange(started_, true);
  if (first) follow_with_previews();
}

void Balancer::set_ageing() {
  const model::View& view = engine_.snapshot()->view();
  ageing_.assign(view.service_count, {});
  for (uint32_t i = 1; i < view.service_count; i++) {
    const teal_service& service = view.services[i];
    std::copy(std::begin(service.timeout), std::end(service.timeout), ageing_[i].timeout.begin());
    for (uint8_t pool = 0; pool < 2; pool++) ageing_[i].keep_idle[pool] = idle_kept_.contains({service.group, pool});
  }
  settler_.tell(view, ageing_);
}

// Flows that the table had no room for are looked up again and again until it has: they must not settle.
void Balancer::begin_walk() {
  if (engine_.snapshot() == nullptr) return;
  std::set<uint16_t> hindered;
  for (uint16_t number : registry_.services())
    if (lately_untracked(number)) hindered.insert(registry_.service(number).group);
  settler_.begin_walk(engine_.snapshot()->view(), hindered);
  engine_.synchronize();
  settler_.tell(engine_.snapshot()->view(), ageing_);
}

void Balancer::set_topology(const model::Topology& topology) {
  if (started_ && topology == topology_) return;
  topology_ = topology;
  publish();
}

void Balancer::resolve(const model::Address& to) {
  const model::NextHop next = model::resolve_next_hop(topology_, engine_.bindings(), to);
  if (next.ifindex != 0 && next.hop.state != TEAL_HOP_NO_ROUTE && ask_) ask_(next.ifindex, next.gateway);
}

void Balancer::tick() {
  while (const auto wanted = engine_.wanted_neighbour()) resolve(*wanted);
  // A whole walk takes a second: fine for timeouts, and a slice stays well under a millisecond.
  const uint32_t slice = std::max<uint32_t>(256, table_.bucket_count() / 100 + 1);
  if (sweeper_.at_begin()) begin_walk();
  if (sweeper_.step(slice, engine_.now(), ageing_)) {
    settler_.end_walk();
    census_at_ = Clock::now();
    if (registry_.collect(sweeper_.census(), sweeper_.walks())) {
      directory_.reset();
      publish();
    }
  }
  if (Clock::now() >= next_second_) {
    next_second_ = Clock::now() + std::chrono::seconds(1);
    each_second();
  }
}

void Balancer::each_second() {
  const dataplane::Counters totals = engine_.totals();
  const auto now = Clock::now();
  std::set<uint16_t> groups;
  for (uint16_t number : registry_.services()) {
    groups.insert(registry_.service(number).group);
    auto& [count, rose] = untracked_[number];
    if (totals.service[number].untracked > count) {
      count = totals.service[number].untracked;
      rose = now;
    }
  }
  // A drain is over when a walk that began after the change found no flow on the pool that was left.
  for (uint16_t group : groups) {
    teal_split& split = registry_.split(group);
    if (!teal_split_draining(split.current) || sweeper_.walks() < changed_walk_[group] + 2) continue;
    if (now - changed_at_[group] < std::chrono::seconds(config_.engine.timeouts.half_open_s)) continue;
    const int left = teal_split_active(split.current) ? TEAL_BLUE : TEAL_GREEN;
    uint64_t flows = 0;
    for (uint16_t s : group_members(group)) flows += sweeper_.census().by_service[s][left];
    if (flows != 0) continue;
    TEAL_STORE(&split.current, rollout::drained(split.current));
    follow_with_preview_clients(group);
    spdlog::info("group {}: drained, {} holds no flow any more", registry_.group_name(group), left ? "green" : "blue");
  }
  const auto workers = engine_.workers();
  const double seconds = std::chrono::duration<double>(now - busy_at_).count();
  busy_at_ = now;
  static const double tsc_per_s = [] {
    // busy_cycles are TSC; measured against the steady clock once.
    const auto t0 = Clock::now();
    const uint64_t c0 = __builtin_ia32_rdtsc();
    while (Clock::now() - t0 < std::chrono::milliseconds(2)) {
    }
    return static_cast<double>(__builtin_ia32_rdtsc() - c0) / std::chrono::duration<double>(Clock::now() - t0).count();
  }();
  for (size_t w = 0; w < workers.size() && w < busy_.size(); w++) {
    auto& [cycles, ppm] = busy_[w];
    if (seconds > 0)
      ppm = static_cast<uint64_t>(static_cast<double>(workers[w].busy_cycles - cycles) / (tsc_per_s * seconds) * 1e6);
    cycles = workers[w].busy_cycles;
  }
  // Next hops of backends are kept fresh: nothing that the kernel itself sends would do it.
  const bool all = seconds_++ % 10 == 0;
  std::set<model::Address> asked;
  const model::View* view = engine_.snapshot() != nullptr ? &engine_.snapshot()->view() : nullptr;
  for (uint16_t number : registry_.backends()) {
    const auto& record = registry_.backend(number);
    const bool missing = view == nullptr || view->backends[number].hop.state == TEAL_HOP_UNRESOLVED;
    const auto address = model::Address::from_raw(record.family, record.addr);
    if ((all || missing) && asked.insert(address).second) resolve(address);
  }
}

Result<ReloadReply> Balancer::reload() {
  const model::ConfigResult read = model::read_config(file_);
  if (!read.ok()) {
    std::vector<std::string> errors;
    for (const auto& e : read.errors) errors.push_back(e.str());
    return make_problem(ProblemCode::bad_configuration, errors.front(), errors);
  }
  model::Config next = read.config;
  next.services = model::with_previews(next.services);
  if (const auto obstacles = model::reload_obstacles(config_, next); !obstacles.empty())
    return make_problem(ProblemCode::needs_restart, obstacles.front(), obstacles);
  ReloadReply reply;
  try {
    const model::Config before = config_;
    config_ = std::move(next);
    directory_.reset();
    preview_changed_.clear();
    reply.changes = registry_.apply(config_.services);
    directory_.reset();
    reply.changed = !(before == config_);
    publish();
    follow_with_previews();
  } catch (const std::exception& e) {
    return make_problem(ProblemCode::no_room, e.what());
  }
  for (const std::string& change : reply.changes) spdlog::info("reload: {}", change);
  if (follow_) follow_(config_);
  return reply;
}

}  // namespace teal::control
