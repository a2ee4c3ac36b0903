// SPDX-License-Identifier: Apache-2.0
// What control does for a rollout, over a simulated clock, split and disk.
#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "cut_files.h"
#include "rollout/machine.h"
#include "rollout/split_words.h"
#include "rollout/state_json.h"

namespace teal::test {

struct Driver {
  rollout::State state;
  teal_split split{teal_split_make(1, 0, 0, 0), teal_split_make(1, 0, 0, 0)};
  CutFiles files;
  rollout::Store store{files, "/rollouts/web.json"};
  int64_t now_ms = 1000;

  // What is seen from now on.
  rollout::Verdict signals = rollout::Verdict::pass, prometheus = rollout::Verdict::pass;
  std::string signals_text = "ok";
  bool target_ready = true, other_ready = true;
  std::string obstacle;
  std::optional<uint64_t> flows_left;
  uint64_t pinned_left = 0;
  std::optional<rollout::HookResult> hook;

  // What was done.
  std::vector<teal_split> sets;
  std::vector<rollout::RunHook> hooks;
  std::vector<model::Pool> resets;
  std::vector<std::string> notes;
  std::vector<model::Pool> unpins;
  int drained = 0;
  std::string safe;  // text of the state that was stored last

  [[nodiscard]] rollout::Inputs inputs() const {
    rollout::Inputs in;
    in.now_ms = now_ms;
    in.wall_ms = 1'700'000'000'000 + now_ms;
    in.split = split;
    in.signals = {signals, signals_text, state.generation};
    in.prometheus = {prometheus, "query", state.generation};
    in.hook = hook;
    in.flows_left = flows_left;
    in.pinned_left = pinned_left;
    in.target_ready = target_ready;
    in.other_ready = other_ready;
    in.obstacle = obstacle;
    return in;
  }

  // A referee: called with each turn before anything of it is done, and before each store of the split.
  std::function<void(const rollout::Turn&)> on_turn;
  std::function<void(const teal_split&)> on_set;

  // False: the state could not be stored and nothing was done.
  bool carry_out(const rollout::Turn& turn) {
    if (on_turn) on_turn(turn);
    if (turn.persist != rollout::Persist::no) {
      const bool saved = store.save(turn.state).empty();
      if (saved) safe = files.written;
      if (!saved && turn.persist == rollout::Persist::required) return false;
    }
    state = turn.state;
    for (const auto& act : turn.acts) {
      files.count();
      if (const auto* set = std::get_if<rollout::SetSplit>(&act)) {
        if (on_set) on_set(set->split);
        sets.push_back(set->split);
        split = set->split;
      } else if (const auto* run = std::get_if<rollout::RunHook>(&act)) {
        hooks.push_back(*run);
      } else if (const auto* reset = std::get_if<rollout::ResetFlows>(&act)) {
        resets.push_back(reset->pool);
        flows_left.reset();
      } else if (const auto* event = std::get_if<rollout::Announce>(&act)) {
        notes.push_back(event->event.text);
      } else if (const auto* unpin = std::get_if<rollout::Unpin>(&act)) {
        unpins.push_back(unpin->pool);
        split.current = rollout::unpinned(split.current);
      } else {
        drained++;
        split.current = rollout::drained(split.current);
      }
    }
    return true;
  }
  void step(int64_t ms = 0) {
    now_ms += ms;
    carry_out(rollout::step(state, inputs()));
  }
  // In turns of 100 ms.
  void run(int64_t ms) {
    for (int64_t t = 0; t < ms; t += 100) step(100);
  }
  rollout::Reply take(rollout::Reply reply) {
    if (reply.accepted) carry_out(reply.turn);
    return reply;
  }
  rollout::Reply start(const rollout::Plan& plan) {
    return take(rollout::start(state, inputs(), {"web", {"web", "api"}, plan}));
  }
  rollout::Reply pause() { return take(rollout::pause(state, inputs(), "ann")); }
  rollout::Reply resume() { return take(rollout::resume(state, inputs(), "ann")); }
  rollout::Reply promote(bool all = false) { return take(rollout::promote(state, inputs(), all, "ann")); }
  rollout::Reply abort(bool force = false) { return take(rollout::abort(state, inputs(), {{}, force, "ann"})); }
  rollout::Reply rollback(bool force = false, std::optional<model::FlowsAction> flows = {}) {
    return take(rollout::rollback(state, inputs(), {flows, force, "ann"}));
  }
  void hook_returns(bool ok, const std::string& text = "exit code 1") {
    hook = rollout::HookResult{state.hook_call, ok, text};
    step();
    hook.reset();
  }
  // kill -9 and a start: the disk is left as `remains` says. A failure: what was loaded is neither the state that was
  // stored last nor the one that was being stored.
  testing::AssertionResult restart(const Remains& remains = {true, Remains::Bytes::all}, int64_t away_ms = 3'600'000) {
    files.crash(remains);
    const rollout::Loaded loaded = store.load();
    if (!loaded.error.empty()) return testing::AssertionFailure() << loaded.error;
    const std::string found = loaded.state ? rollout::to_text(*loaded.state) : "";
    if (found != safe && found != files.written) return testing::AssertionFailure() << "loaded " << found;
    safe = files.written = found;
    state = loaded.state.value_or(rollout::State{});
    now_ms += away_ms;
    hook.reset();
    flows_left.reset();
    carry_out(rollout::resume_after_restart(state, inputs()));
    return testing::AssertionSuccess();
  }

  [[nodiscard]] uint32_t share() const { return rollout::target_share(split.current, state.target()); }
  [[nodiscard]] uint64_t generation() const { return teal_split_generation(split.current); }
  [[nodiscard]] bool noted(const std::string& part) const {
    for (const std::string& n : notes)
      if (n.find(part) != std::string::npos) return true;
    return false;
  }
};

inline constexpr uint32_t all = TEAL_SPLIT_ALL;

// 1 %, 10 %, 100 %; holds of 10 s, a bake of 30 s.
inline rollout::Plan three_steps() {
  rollout::Plan plan;
  plan.steps = {655, 6554, all};
  plan.hold_s = 10;
  plan.bake_s = 30;
  plan.drain_deadline_s = 60;
  plan.target_signature = "a";
  plan.started_by = "ann";
  return plan;
}

inline const std::vector<model::HookPoint> every_hook = {model::HookPoint::pre_start,    model::HookPoint::pre_step,
                                                         model::HookPoint::post_step,    model::HookPoint::pre_promote,
                                                         model::HookPoint::post_promote, model::HookPoint::on_rollback,
                                                         model::HookPoint::on_done};

// Runs a started rollout (without hooks) until it is in this phase; shifting: at its first step.
inline void bring_to(Driver& d, rollout::Phase phase) {
  for (int i = 0; i < 2000 && d.state.phase != phase; i++) {
    if (phase == rollout::Phase::done) d.flows_left = 0;
    d.step(100);
  }
  ASSERT_EQ(d.state.phase, phase) << d.state.pause_reason;
}

}  // namespace teal::test
