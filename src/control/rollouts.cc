// SPDX-License-Identifier: Apache-2.0
// The driver's life: load, look, step, keep, act. Calls: rollouts_calls.cc; what it tells: rollouts_query.cc; hooks and
// queries: rollouts_outside.cc.
#include "control/rollouts.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "control/problem_codes.h"
#include "json.h"
#include "rollout_record.h"

namespace teal::control {

Rollouts::Rollouts(RolloutWorld world) : world_(std::move(world)) {}
Rollouts::~Rollouts() = default;

std::string Rollouts::path_of(const std::string& group) const {
  return world_.directory + "/" + group + ".json";
}

Rollouts::Record& Rollouts::record(const std::string& group) {
  if (const auto found = records_.find(group); found != records_.end()) return *found->second;
  auto fresh = std::make_unique<Record>(group, world_.files, path_of(group), world_.signals);
  Record& r = *records_.emplace(group, std::move(fresh)).first->second;
  const rollout::Loaded loaded = r.store.load();
  if (!loaded.error.empty()) {
    const std::string aside = path_of(group) + ".damaged";
    const std::string kept = world_.files.rename(path_of(group), aside);
    spdlog::error("rollout of group {}: {}; the split stays as it stands and no rollout is resumed ({})", group,
                  loaded.error, kept.empty() ? "kept as " + aside : kept);
  } else if (loaded.state) {
    r.state = *loaded.state;
    r.loaded = r.state.running();
    if (r.loaded)
      spdlog::info("rollout {} of group {}: found {}", r.state.id, group, rollout::to_string(r.state.phase));
  }
  refresh(r);
  follow_drain(r);
  return r;
}

void Rollouts::refresh(Record& r) {
  if (const auto config = world_.groups.rollout_config(r.group)) r.config = *config;
  r.services.clear();
  r.names.clear();
  r.telling = world_.groups.judged(r.group);
  for (const auto& [number, name] : world_.groups.numbers(r.group)) {
    r.services.push_back(number);
    r.names.push_back(name);
  }
}

void Rollouts::load() {
  for (const std::string& group : world_.groups.group_names()) record(group);
}

void Rollouts::tick() {
  const int64_t now = world_.now_ms();
  if (now >= next_second_ms_) {
    next_second_ms_ = now + 1000;
    each_second();
  }
  for (auto& [group, r] : records_)
    if (r->state.running()) run(*r);
}

void Rollouts::run(Record& r) {
  if (r.loaded && !world_.settled()) return;
  const rollout::Inputs in = look(r);
  const rollout::Turn turn = r.loaded ? rollout::resume_after_restart(r.state, in) : rollout::step(r.state, in);
  if (apply(r, turn, false)) r.loaded = false;
}

// A flow that is idle while its pool drains is not taken for one that has ended: the deadline is there for those.
// Without a deadline the time-out has to be.
void Rollouts::follow_drain(Record& r) {
  const bool drains = r.state.phase == rollout::Phase::draining && r.state.plan.drain_deadline_s > 0;
  if (drains || r.keeps_idle) world_.groups.keep_idle(r.group, r.state.other(), drains);
  r.keeps_idle = drains;
}

rollout::Inputs Rollouts::look(Record& r) {
  const GroupSight sight = world_.groups.see(r.group);
  const auto target = static_cast<size_t>(r.state.target()), other = static_cast<size_t>(r.state.other());
  rollout::Inputs in;
  in.now_ms = world_.now_ms();
  in.wall_ms = world_.wall_ms();
  in.split = sight.split;
  in.target_ready = sight.ready[target];
  in.other_ready = sight.ready[other];
  in.flows_left = sight.flows_left[other];
  in.pinned_left = sight.pinned[other];
  in.hook = r.hook;
  if (!sight.configured) in.obstacle = "no service of group '" + r.group + "' is configured any more";
  if (r.state.phase != rollout::Phase::shifting && r.state.phase != rollout::Phase::baking) return in;
  // After a restart, and after a change by hand was taken over, the window begins late, but it begins.
  if (r.window.generation() == 0) {
    r.window.begin_after_restart(r.state.generation, r.services, in.now_ms + sight.half_open_ms);
  } else if (r.window.generation() != r.state.generation) {
    r.window.begin(r.state.generation, r.services);
    r.judged.reset();
  }
  const BothPools counts = r.window.of(r.telling, in.now_ms);
  const auto latest = r.window.latest(counts, in.now_ms);
  if (r.telling.empty()) {
    r.verdict = {rollout::Verdict::pass, "no TCP service: packets do not tell", r.state.generation};
  } else if (!r.judged || *r.judged != counts) {
    r.verdict = judge_window(r.config, {counts, latest, r.window.normal(r.state.other())}, r.state.target(),
                             r.state.generation);
    r.judged = counts;
  }
  in.signals = r.verdict;
  in.prometheus = ask_prometheus(r);
  return in;
}

// A rollback goes ahead without a disk; everything else waits until it is written down.
bool Rollouts::apply(Record& r, const rollout::Turn& turn, bool asked_for) {
  if (turn.persist != rollout::Persist::no) {
    const std::string error = r.store.save(turn.state);
    if (!error.empty() && error != r.complaint) spdlog::error("rollout of group {}: {}", r.group, error);
    r.complaint = error;
    if (!error.empty() && turn.persist == rollout::Persist::required) return false;
    r.unsaved = !error.empty();
  }
  const rollout::State before = std::exchange(r.state, turn.state);
  std::optional<GroupView> found;
  std::string done;
  for (const rollout::Act& what : turn.acts) {
    const bool changes =
        std::holds_alternative<rollout::SetSplit>(what) || std::holds_alternative<rollout::ResetFlows>(what);
    if (changes && !asked_for && !found) found = world_.groups.view(r.group);
    if (const auto* said = std::get_if<rollout::Announce>(&what)) done += (done.empty() ? "" : "; ") + said->event.text;
    std::visit([&](const auto& a) { act(r, a); }, what);
  }
  if (r.state.phase == rollout::Phase::draining && before.phase != rollout::Phase::draining) {
    r.drain.begin();
    r.drain_begun_with = world_.groups.see(r.group).flows[static_cast<size_t>(r.state.other())];
  }
  if (before.phase != r.state.phase) follow_drain(r);
  if (found) audit(r, done, *found);
  return true;
}

void Rollouts::act(Record& r, const rollout::SetSplit& act) {
  r.window.begin(teal_split_generation(act.split.current), r.services);
  r.judged.reset();
  const uint64_t waited = world_.groups.store(r.group, act.split);
  spdlog::info("rollout {} of group {}: {:.3f} % of new flows go to green, generation {}, adopted in {} us", r.state.id,
               r.group, 100.0 * teal_split_share(act.split.current) / TEAL_SPLIT_ALL,
               teal_split_generation(act.split.current), waited / 1000);
}

void Rollouts::act(Record& r, const rollout::ResetFlows& act) {
  const uint64_t marked = world_.groups.reset(r.group, act.pool);
  spdlog::info("rollout {} of group {}: {} flows of {} are being reset", r.state.id, r.group, marked,
               model::to_string(act.pool));
}

void Rollouts::act(Record& r, const rollout::Unpin& act) {
  world_.groups.unpin(r.group, act.pool);
}

void Rollouts::act(Record& r, const rollout::Drained&) {
  world_.groups.clear_draining(r.group);
}

void Rollouts::act(Record& r, const rollout::Announce& act) {
  if (act.loud) {
    spdlog::warn("rollout {} of group {}: {}", r.state.id, r.group, act.event.text);
  } else {
    spdlog::info("rollout {} of group {}: {}", r.state.id, r.group, act.event.text);
  }
  publish(r, act.event.text);
}

// Nobody asked at this moment: the line names teald itself, and who started the rollout in its body.
void Rollouts::audit(const Record& r, const std::string& what, const GroupView& before) {
  const auto counters = [](const GroupView& v) {
    return telemetry::AuditCounters{{"flows_blue", v.pools[0].flows},
                                    {"flows_green", v.pools[1].flows},
                                    {"new_flows_blue", v.pools[0].new_flows},
                                    {"new_flows_green", v.pools[1].new_flows}};
  };
  telemetry::AuditEntry entry;
  entry.caller = {static_cast<uint32_t>(getpid()), getuid(), getgid(), "teald"};
  entry.method = "ROLLOUT";
  entry.path = "/v1/rollouts/" + r.group;
  entry.body = Json({{"rollout", r.state.id}, {"started_by", r.state.plan.started_by}, {"what", what}})
                   .dump(-1, ' ', false, Json::error_handler_t::replace);
  entry.status = 200;
  entry.code = "ok";
  entry.generation_before = teal_split_generation(before.split.current);
  entry.counters_before = counters(before);
  if (const auto after = world_.groups.view(r.group)) {
    entry.generation_after = teal_split_generation(after->split.current);
    entry.counters_after = counters(*after);
  }
  world_.audit(entry);
}

std::optional<Problem> Rollouts::guard(const std::string& group) const {
  const auto found = records_.find(group);
  if (found == records_.end() || !found->second->state.running()) return std::nullopt;
  const rollout::State& state = found->second->state;
  return make_problem(
      ProblemCode::rollout_under_way,
      fmt::format("rollout {} of group '{}' is {}{}, expected none under way (abort it, or force: then it "
                  "pauses itself)",
                  state.id, group, rollout::to_string(state.phase), state.paused() ? " (paused)" : ""));
}

void Rollouts::each_second() {
  const int64_t now = world_.now_ms();
  for (const std::string& group : world_.groups.group_names()) {
    Record& r = record(group);
    refresh(r);
    uint64_t begun = 0;
    BothPools all;
    for (const model::Pool pool : {model::Pool::blue, model::Pool::green})
      for (unsigned g = 0; g < TEAL_SIGNAL_GENERATIONS; g++) {
        begun += sum(r.services, pool, g).begun;
        all[static_cast<size_t>(pool)] += sum(r.telling, pool, g);
      }
    r.window.remember(now, all);
    Rate& rate = rates_[group];
    if (rate.at_ms != 0 && now > rate.at_ms && begun >= rate.begun)
      rate.per_s = 1000.0 * static_cast<double>(begun - rate.begun) / static_cast<double>(now - rate.at_ms);
    rate.begun = begun;
    rate.at_ms = now;
    if (r.unsaved) r.unsaved = !r.store.save(r.state).empty();
    if (r.state.phase == rollout::Phase::draining)
      r.drain.count(now, world_.groups.see(group).flows[static_cast<size_t>(r.state.other())]);
  }
  publish_signals();
}

}  // namespace teal::control
