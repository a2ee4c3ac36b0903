// SPDX-License-Identifier: Apache-2.0
// Cutover, rollback, and what an operator changes of a backend.
#include <fmt/chrono.h>
#include <spdlog/spdlog.h>

#include "control/balancer.h"
#include "control/problem_codes.h"

namespace teal::control {
namespace {

constexpr std::chrono::seconds untracked_memory{60};  // for how long an untracked flow may still be alive and unseen

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:09}Z", fmt::gmtime(static_cast<time_t>(ns / 1000000000)), ns % 1000000000);
}

const char* state_name(uint8_t state) {
  return state == 0 ? "ready" : state == 1 ? "drain" : "down";
}

}  // namespace

Result<uint16_t> Balancer::find(const std::string& name) const {
  if (const uint16_t number = registry_.service_number(name); number != 0) return number;
  for (uint16_t number : registry_.services())
    if (registry_.service(number).name == name)
      return make_problem(ProblemCode::service_retired,
                          "service '" + name + "' is no longer configured and only keeps its flows");
  std::string known;
  for (const auto& s : config_.services) known += (known.empty() ? "" : ", ") + s.name;
  return make_problem(ProblemCode::unknown_service, "no service '" + name + "', expected one of: " + known);
}

std::optional<Problem> Balancer::check_generation(uint16_t group, const std::optional<uint64_t>& expected) const {
  const uint64_t is = teal_split_generation(registry_.split(group).current);
  if (!expected || *expected == is) return std::nullopt;
  return make_problem(ProblemCode::generation_moved, fmt::format("generation of group '{}' is {}, expected {}",
                                                                 registry_.group_name(group), is, *expected));
}

// What would put a promise at risk: a pool that takes no flow, or flows that only the split keeps where they are.
std::optional<Problem> Balancer::refuse(uint16_t group, model::Pool to, bool force) const {
  if (!started_) return make_problem(ProblemCode::not_ready, "the packet path has not started yet");
  if (force) return std::nullopt;
  if (guard_)
    if (auto problem = guard_(registry_.group_name(group))) return problem;
  for (uint16_t number : group_members(group)) {
    const auto& record = registry_.service(number);
    if (record.retired) continue;
    if (engine_.snapshot()->maglev(number, static_cast<uint8_t>(to))->empty())
      return make_problem(
          ProblemCode::no_ready_backend,
          fmt::format("service '{}': no backend of {} takes new flows, expected at least one (or force)", record.name,
                      model::to_string(to)));
    if (const std::string text = untracked_of(number); !text.empty())
      return make_problem(ProblemCode::untracked_flows, text);
  }
  return std::nullopt;
}

bool Balancer::lately_untracked(uint16_t number) const {
  const auto seen = untracked_.find(number);
  return seen != untracked_.end() && seen->second.first != 0 && Clock::now() - seen->second.second < untracked_memory;
}

std::string Balancer::untracked_of(uint16_t number) const {
  if (!lately_untracked(number)) return {};
  const auto seen = untracked_.find(number);
  return fmt::format(
      "service '{}': {} packets were forwarded without a table entry, the last {} s ago; their flows could move, "
      "expected none for {} s (or force, or a larger engine.flows)",
      registry_.service(number).name, seen->second.first,
      std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - seen->second.second).count(),
      untracked_memory.count());
}

SwitchReply Balancer::commit(uint16_t service, const rollout::SplitChange& change) {
  const uint16_t group = registry_.service(service).group;
  const teal_split& split = registry_.split(group);
  SwitchReply reply;
  reply.service = registry_.service(service).name;
  reply.group = registry_.group_name(group);
  for (uint16_t s : group_members(group))
    if (!registry_.service(s).retired) reply.services.emplace_back(registry_.service(s).name);
  const int left = teal_split_active(split.current);
  if (change.changed) reply.adoption_ns = store_split(group, change.next);
  reply.adopted_at = timestamp();
  reply.changed = change.changed;
  reply.generation = teal_split_generation(split.current);
  reply.active = model::pool_name(teal_split_active(split.current));
  const int old_pool = change.changed ? left : 1 - left;
  for (uint16_t s : group_members(group)) reply.flows_staying += sweeper_.census().by_service[s][old_pool];
  return reply;
}

Result<SwitchReply> Balancer::cutover(const SwitchRequest& request) {
  const Result<uint16_t> found = find(request.service);
  if (const auto* problem = std::get_if<Problem>(&found)) return *problem;
  const uint16_t service = std::get<uint16_t>(found);
  const uint16_t group = registry_.service(service).group;
  if (auto problem = check_generation(group, request.expect_generation)) return *problem;
  const rollout::SplitChange change = rollout::cutover(registry_.split(group), request.to);
  if (change.changed)
    if (auto problem = refuse(group, request.to, request.force)) return *problem;
  SwitchReply reply = commit(service, change);
  spdlog::info("cutover of {} to {}: generation {}, adopted in {} us{}", reply.group, reply.active, reply.generation,
               reply.adoption_ns / 1000, reply.changed ? "" : " (it stood so already)");
  return reply;
}

Result<SwitchReply> Balancer::rollback(const RollbackRequest& request) {
  const Result<uint16_t> found = find(request.service);
  if (const auto* problem = std::get_if<Problem>(&found)) return *problem;
  const uint16_t service = std::get<uint16_t>(found);
  const uint16_t group = registry_.service(service).group;
  if (auto problem = check_generation(group, request.expect_generation)) return *problem;
  const rollout::SplitChange change = rollout::rollback(registry_.split(group));
  if (!change.possible)
    return make_problem(
        ProblemCode::nothing_to_roll_back,
        "group '" + registry_.group_name(group) + "' is in its first generation, expected a cutover before");
  if (change.changed) {
    const auto to = static_cast<model::Pool>(teal_split_active(change.next.current));
    if (auto problem = refuse(group, to, request.force)) return *problem;
  }
  SwitchReply reply = commit(service, change);
  if (change.changed)
    unpin(reply.group, model::other(static_cast<model::Pool>(teal_split_active(change.next.current))));
  if (request.reset_flows)
    reply.flows_reset =
        reset_flows(group, model::other(static_cast<model::Pool>(teal_split_active(registry_.split(group).current))));
  spdlog::info("rollback of {} to {}: generation {}, adopted in {} us, {} flows to be reset{}", reply.group,
               reply.active, reply.generation, reply.adoption_ns / 1000, reply.flows_reset,
               reply.changed ? "" : " (it stood so already)");
  return reply;
}

// Marks the pool's flows; their next packet is answered with RSTs. UDP has none: its entries go, so that the next
// datagram is a new flow's.
uint64_t Balancer::reset_flows(uint16_t group, model::Pool pool, uint16_t backend) {
  std::vector<bool> member(TEAL_SERVICES);
  for (uint16_t s : group_members(group)) member[s] = true;
  uint64_t marked = 0;
  flow::Sweeper::visit(table_, [&](uint64_t key, uint64_t val, teal_bucket* b, int slot) {
    if (!member[teal_key_service(key) % TEAL_SERVICES] || teal_val_pool(val) != static_cast<uint8_t>(pool)) return true;
    if (backend != 0 && teal_val_backend(val) != backend) return true;
    const uint8_t state = teal_val_state(val);
    if (state == TEAL_FLOW_reset || state == TEAL_FLOW_affinity || teal_state_is_over(state)) return true;
    if (state == TEAL_FLOW_udp || state == TEAL_FLOW_udp_new)
      marked += table_.remove(storage_.head().secret, b, slot, key, val);
    else
      marked += table_.set_state(storage_.head().secret, b, slot, key, TEAL_FLOW_reset, engine_.now());
    return true;
  });
  return marked;
}

void Balancer::drop_pins(uint16_t group, model::Pool pool) {
  std::vector<bool> member(TEAL_SERVICES);
  for (uint16_t s : group_members(group)) member[s] = true;
  flow::Sweeper::visit(table_, [&](uint64_t key, uint64_t val, teal_bucket* b, int slot) {
    if (teal_val_state(val) == TEAL_FLOW_affinity && member[teal_key_service(key) % TEAL_SERVICES] &&
        teal_val_pool(val) == static_cast<uint8_t>(pool))
      table_.remove(storage_.head().secret, b, slot, key, val);
    return true;
  });
}

Result<BackendReply> Balancer::patch_backend(const BackendPatch& patch) {
  const Result<uint16_t> found = find(patch.service);
  if (const auto* problem = std::get_if<Problem>(&found)) return *problem;
  const uint16_t service = std::get<uint16_t>(found);
  const uint16_t number = registry_.backend_number(service, patch.backend);
  if (number == 0) {
    std::string known;
    for (uint16_t b : registry_.backends())
      if (registry_.backend(b).service == service) {
        if (registry_.backend(b).name == patch.backend)
          return make_problem(ProblemCode::backend_removed, "backend '" + patch.backend + "' of service '" +
                                                                patch.service +
                                                                "' is no longer configured and only keeps its flows");
        known += (known.empty() ? "" : ", ") + std::string(registry_.backend(b).name);
      }
    return make_problem(ProblemCode::unknown_backend, "service '" + patch.service + "' has no backend '" +
                                                          patch.backend + "', expected one of: " + known);
  }
  teal_backend_record& record = registry_.backend(number);
  const auto before = engine_.snapshot()->maglev(service, record.pool);
  if (patch.weight) record.weight = *patch.weight;
  if (patch.state) record.state = *patch.state == "ready" ? 0 : *patch.state == "drain" ? 1 : 2;
  publish();
  BackendReply reply;
  reply.backend = describe_backend(number, engine_.totals());
  reply.slots_changed = model::maglev_difference(*before, *engine_.snapshot()->maglev(service, record.pool));
  spdlog::info("service {}: backend {} is {} with weight {}; {:.2f} % of the pool's new flows go elsewhere",
               patch.service, patch.backend, state_name(record.state), record.weight, reply.slots_changed * 100);
  return reply;
}

}  // namespace teal::control
