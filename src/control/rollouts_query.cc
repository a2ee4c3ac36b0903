// SPDX-License-Identifier: Apache-2.0
// What rollouts tell.
#include <fmt/chrono.h>

#include <algorithm>

#include "control/problem_codes.h"
#include "json.h"
#include "rollout_record.h"
#include "rollout_start.h"

namespace teal::control {
namespace {

std::string time_text(int64_t unix_ms) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<time_t>(unix_ms / 1000)), unix_ms % 1000);
}

}  // namespace

rollout::PoolSignals Rollouts::sum(const std::vector<uint16_t>& services, model::Pool pool, unsigned generation) const {
  rollout::PoolSignals sum;
  for (const uint16_t service : services) sum += world_.signals(service, pool, generation);
  return sum;
}

double Rollouts::rate_of(const std::string& group) const {
  const auto found = rates_.find(group);
  return found == rates_.end() ? 0 : found->second.per_s;
}

RolloutStatus Rollouts::describe(Record& r) {
  const rollout::State& state = r.state;
  const GroupSight sight = world_.groups.see(r.group);
  RolloutStatus s;
  s.id = state.id;
  s.group = r.group;
  s.services = state.id != 0 ? state.services : r.names;
  s.phase = rollout::to_string(state.phase);
  s.paused = state.paused();
  s.reason = state.paused() ? state.pause_reason : state.reason;
  if (state.outcome != rollout::Outcome::none) s.outcome = rollout::to_string(state.outcome);
  s.automatic = state.automatic;
  s.from = model::to_string(state.other());
  s.to = model::to_string(state.target());
  s.started_by = state.plan.started_by;
  for (const uint32_t step : state.plan.steps) s.steps.push_back(share_of(step));
  s.step = static_cast<uint32_t>(state.step + 1);
  s.share = share_of(rollout::target_share(sight.split.current, state.target()));
  s.generation = teal_split_generation(sight.split.current);
  s.elapsed_s = static_cast<uint64_t>(state.elapsed_ms / 1000);
  const rollout::Progress progress = rollout::progress(state);
  s.progress = progress.done;
  if (state.running() && progress.remaining_ms) s.eta_s = static_cast<uint64_t>(*progress.remaining_ms + 999) / 1000;
  s.waiting_for = r.hook_name;
  s.verdict = state.signals_verdict;
  if (!state.prometheus_verdict.empty()) s.verdict += (s.verdict.empty() ? "" : "; ") + state.prometheus_verdict;
  s.ignore_affinity = state.plan.ignore_affinity;
  const model::Pool pools[] = {state.target(), state.other()};
  const BothPools counts = state.running() ? r.window.of(r.services, world_.now_ms()) : BothPools{};
  for (size_t i = 0; i < 2; i++) {
    s.signals[i].pool = model::to_string(pools[i]);
    s.signals[i].share = share_of(rollout::target_share(sight.split.current, pools[i]));
    s.signals[i].flows = sight.flows[static_cast<size_t>(pools[i])];
    if (state.running()) s.signals[i].counts = counts[static_cast<size_t>(pools[i])];
  }
  if (state.phase == rollout::Phase::draining) {
    const uint64_t left = state.flows_left.value_or(sight.flows[static_cast<size_t>(state.other())]);
    s.drain = DrainStatus{s.from, left, std::max(r.drain_begun_with, left),
                          sight.pinned[static_cast<size_t>(state.other())], r.drain.eta_s()};
    // At the deadline it is over in any case.
    std::optional<uint64_t> eta = s.drain->eta_s;
    if (state.plan.drain_deadline_s > 0) {
      const auto all = static_cast<uint64_t>(state.plan.drain_deadline_s);
      const uint64_t rest = all - std::min(all, s.elapsed_s);
      eta = std::min(eta.value_or(rest), rest);
    }
    s.eta_s = eta;
  }
  for (const auto& event : state.history) s.history.push_back({time_text(event.at_ms), event.text});
  return s;
}

std::vector<RolloutStatus> Rollouts::rollouts() {
  std::vector<RolloutStatus> out;
  for (auto& [group, r] : records_)
    if (r->state.id != 0) out.push_back(describe(*r));
  return out;
}

Result<RolloutStatus> Rollouts::rollout(const std::string& name) {
  const auto group = world_.groups.group_of(name);
  // A group that is no longer configured may still have a rollout to look at.
  const auto found = records_.find(group.value_or(name));
  if (found == records_.end() && !group) return unknown(name);
  Record& r = found != records_.end() ? *found->second : record(*group);
  if (r.state.id == 0)
    return make_problem(ProblemCode::no_rollout, "group '" + r.group + "' has had no rollout, expected one");
  return describe(r);
}

Result<DrainReport> Rollouts::drain(const std::string& service) {
  auto report = world_.groups.drain_report(service);
  auto* told = std::get_if<DrainReport>(&report);
  const auto group = world_.groups.group_of(service);
  if (told == nullptr || !group) return report;
  // The decay is the whole group's; a service has none of its own.
  const Record& r = record(*group);
  if (r.state.phase == rollout::Phase::draining && told->flows > 0) told->eta_s = r.drain.eta_s();
  return report;
}

std::vector<ServiceSignals> Rollouts::signals() {
  std::vector<ServiceSignals> out;
  for (const std::string& group : world_.groups.group_names())
    for (const auto& [number, name] : world_.groups.numbers(group))
      for (const model::Pool pool : {model::Pool::blue, model::Pool::green}) {
        ServiceSignals s{name, model::to_string(pool), {}};
        for (unsigned g = 0; g < TEAL_SIGNAL_GENERATIONS; g++) s.counts += world_.signals(number, pool, g);
        out.push_back(std::move(s));
      }
  return out;
}

void Rollouts::publish(Record& r, const std::string& text) {
  Json rollout = to_json(describe(r));
  rollout.erase("history");  // which events are of
  Json data = {{"text", text}, {"rollout", std::move(rollout)}};
  world_.events.publish("rollout", data.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Rollouts::publish_signals() {
  Json groups = Json::array();
  for (const auto& [group, r] : records_) {
    const GroupSight sight = world_.groups.see(group);
    if (!sight.configured) continue;
    Json pools = Json::object();
    for (const model::Pool pool : {model::Pool::blue, model::Pool::green}) {
      PoolSignalsStatus s;
      s.pool = model::to_string(pool);
      s.share = share_of(rollout::target_share(sight.split.current, pool));
      s.flows = sight.flows[static_cast<size_t>(pool)];
      for (unsigned g = 0; g < TEAL_SIGNAL_GENERATIONS; g++) s.counts += sum(r->services, pool, g);
      pools[s.pool] = to_json(s);
    }
    groups.push_back({{"group", group},
                      {"generation", teal_split_generation(sight.split.current)},
                      {"new_flows_per_s", rate_of(group)},
                      {"phase", rollout::to_string(r->state.phase)},
                      {"pools", std::move(pools)}});
  }
  world_.events.publish("signals",
                        Json({{"groups", std::move(groups)}}).dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace teal::control
