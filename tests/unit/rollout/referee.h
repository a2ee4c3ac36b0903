// SPDX-License-Identifier: Apache-2.0
// Watches a rollout from outside: what was ordered, what was judged, how long it held; and tells what the machine may
// not do. It keeps its own books and takes nothing from the machine's but the plan and the phase.
#pragma once

#include <algorithm>
#include <string>

#include "driver.h"

namespace teal::test {

enum class Origin { step, start, pause, resume, promote, promote_all, back, restart };

class Referee {
 public:
  explicit Referee(Driver& d) : d_(d) {
    d.on_turn = [this](const rollout::Turn& turn) { turn_comes(turn); };
    d.on_set = [this](const teal_split& next) { split_is_set(next); };
  }
  Referee(const Referee&) = delete;
  Referee& operator=(const Referee&) = delete;

  Origin origin = Origin::step;
  bool foreign = false;  // somebody else changed the split, and nobody has told the rollout what to do about it
  std::string violation;

  void time_passes(int64_t ms) {
    see_phase();
    if (d_.state.running() && !d_.state.paused()) held_ms_ += ms;
  }
  void hook_succeeds(model::HookPoint point) {
    if (point == model::HookPoint::pre_step) pre_step_ok_ = true;
  }

 private:
  using Phase = rollout::Phase;

  // The drain's time begins when the drain has been stored, not with a turn that a power cut lost.
  void see_phase() {
    if (d_.state.phase == Phase::draining && phase_ != Phase::draining) held_ms_ = 0;
    phase_ = d_.state.phase;
  }
  void expect(bool holds, const std::string& what) {
    if (!holds && violation.empty())
      violation =
          what + " (" + rollout::to_string(d_.state.phase) + ", pause " + rollout::to_string(d_.state.pause) + ")";
  }
  [[nodiscard]] const rollout::Plan& plan() const { return plan_; }
  [[nodiscard]] int64_t hold_ms() const {
    const bool whole = rollout::target_share(d_.split.current, plan().to) == TEAL_SPLIT_ALL;
    return int64_t{1000} * (whole ? plan().bake_s : plan().hold_s);
  }
  [[nodiscard]] bool long_enough() const {
    return promoted_ || (held_ms_ >= hold_ms() &&
                         (judged_ || (plan().judge_nothing && held_ms_ >= hold_ms() + int64_t{1000} * plan().hold_s)));
  }
  [[nodiscard]] bool bad() const {
    return (d_.state.phase == Phase::shifting || d_.state.phase == Phase::baking) &&
           (d_.signals == rollout::Verdict::fail || d_.prometheus == rollout::Verdict::fail ||
            (!d_.target_ready && !plan().force_unready));
  }
  void forget_step() {
    held_ms_ = 0;
    judged_ = promoted_ = promoted_all_ = pre_step_ok_ = false;
  }

  void turn_comes(const rollout::Turn& turn) {
    const rollout::State& was = d_.state;
    const rollout::State& next = turn.state;
    see_phase();
    plan_ = origin == Origin::start ? next.plan : was.plan;
    was_paused_ = was.paused();
    const bool pass = d_.signals == rollout::Verdict::pass && d_.prometheus == rollout::Verdict::pass;
    if (pass && held_ms_ >= hold_ms()) judged_ = true;
    orders(was, next);
    int sets = 0;
    for (const rollout::Act& act : turn.acts) {
      if (std::get_if<rollout::SetSplit>(&act)) {
        sets++;
        expect(turn.persist != rollout::Persist::no || next.word == was.word, "a store that was not announced");
      }
      if (std::get_if<rollout::RunHook>(&act))
        expect(turn.persist == rollout::Persist::required, "a hook that was not announced");
      if (const auto* reset = std::get_if<rollout::ResetFlows>(&act)) resets(*reset, next);
    }
    expect(sets <= 1, "two stores in one turn");
    if (next.phase != was.phase) phase_changes(was, next);
  }

  void orders(const rollout::State& was, const rollout::State& next) {
    if (origin == Origin::start) {
      forget_step();
      foreign = rollback_ordered_ = adopted_ = false;
    }
    if (origin == Origin::resume && was.pause == rollout::Pause::foreign) {
      foreign = false;
      adopted_ = true;
      if (was.phase != Phase::preview) forget_step();
    }
    if (origin == Origin::back) {
      foreign = false;
      rollback_ordered_ = true;
    }
    if (origin == Origin::promote || origin == Origin::promote_all) {
      promoted_ = true;
      promoted_all_ |= origin == Origin::promote_all;
      if (was.pause == rollout::Pause::hook) pre_step_ok_ = true;
    }
    if (origin == Origin::step && bad() && d_.other_ready && !foreign) rollback_ordered_ = true;
    if (origin == Origin::restart && next.pause == rollout::Pause::foreign) foreign = true;
  }

  void resets(const rollout::ResetFlows& reset, const rollout::State& next) {
    if (reset.pool == plan().to)
      expect(next.phase == Phase::rolling_back, "flows of the target are reset");
    else
      expect(d_.state.phase == Phase::draining && plan().at_deadline == model::FlowsAction::reset &&
                 plan().drain_deadline_s != 0 && held_ms_ >= int64_t{1000} * plan().drain_deadline_s,
             "flows of the other pool are reset before the deadline");
  }

  void phase_changes(const rollout::State& was, const rollout::State& next) {
    const bool by_hand = origin != Origin::step;
    expect(by_hand || !was.paused() || next.phase == Phase::rolling_back, "goes on while it is paused");
    expect(origin != Origin::restart, "a restart changes the phase");
    expect(by_hand || !foreign, "goes on although somebody else changed the split");
    const uint32_t share = rollout::target_share(d_.split.current, plan().to);
    switch (next.phase) {
      case Phase::preview:
        expect(origin == Origin::start, "preview without a start");
        break;
      case Phase::shifting:
      case Phase::baking:
        expect(was.running(), "begins by itself");
        break;
      case Phase::draining:
        expect(was.phase == Phase::baking && share == TEAL_SPLIT_ALL, "drains without a bake");
        expect(long_enough(), "drains before the bake was over and judged");
        break;
      case Phase::rolling_back:
        expect(rollback_ordered_, "rolls back without an order or a bad verdict");
        break;
      case Phase::done:
        expect(was.phase == Phase::draining && share == TEAL_SPLIT_ALL, "done without having drained");
        expect(d_.flows_left == 0u || (plan().at_deadline == model::FlowsAction::keep && plan().drain_deadline_s != 0 &&
                                       held_ms_ >= int64_t{1000} * plan().drain_deadline_s),
               "done with flows left before the deadline");
        break;
      case Phase::idle:
        expect(was.phase == Phase::rolling_back || (was.phase == Phase::preview && origin == Origin::back),
               "ends by itself");
        if (was.phase == Phase::rolling_back)
          expect(share == 0 && rollout::standby(d_.split) == plan().to, "a rollback that left flows on the target");
        break;
    }
  }

  void split_is_set(const teal_split& next) {
    const uint64_t now = d_.split.current;
    const model::Pool target = plan().to;
    expect(teal_split_generation(next.current) == teal_split_generation(now) + 1,
           "the generation does not rise by one");
    expect(next.previous == now, "previous is not what stood");
    expect(teal_split_draining(next.current), "mid-flow packets are not decided by the split before");
    expect(!foreign, "fights somebody else's change");
    const uint32_t to = rollout::target_share(next.current, target), from = rollout::target_share(now, target);
    const bool active = rollout::standby(next) != target;
    if (to == 0) {
      expect(rollback_ordered_, "goes back without an order or a bad verdict");
      expect(!active && (next.current & TEAL_SPLIT_ROLLED_BACK), "a way back that is not marked as one");
      return;
    }
    expect(to > from, "the share shrinks");
    expect(active == (to == TEAL_SPLIT_ALL), "the active pool is not that of the whole share");
    const auto next_step =
        std::find_if(plan().steps.begin(), plan().steps.end(), [from](uint32_t share) { return share > from; });
    // An order that was cut off may be forgotten, so it need not be followed.
    expect(to == *next_step || (promoted_all_ && to == TEAL_SPLIT_ALL), "a share that is not the next step");
    expect(long_enough() || (from == 0 && (!plan().stay_in_preview || adopted_)),
           "a step before the hold was over and judged");
    expect(origin != Origin::step || !was_paused_, "a step while it is paused");
    expect(d_.target_ready || plan().force_unready, "a step onto a dead pool");
    expect(d_.obstacle.empty(), "a step in spite of an obstacle");
    const auto& hooks = plan().hooks;
    if (std::find(hooks.begin(), hooks.end(), model::HookPoint::pre_step) != hooks.end())
      expect(pre_step_ok_, "a step without its hook");
    forget_step();
  }

  Driver& d_;
  rollout::Plan plan_;
  Phase phase_ = Phase::idle;
  int64_t held_ms_ = 0;  // since the last change of the share, paused time not counted
  bool judged_ = false;  // good, at the end of the hold
  bool promoted_ = false, promoted_all_ = false;
  bool rollback_ordered_ = false;
  bool pre_step_ok_ = false;
  bool adopted_ = false;
  bool was_paused_ = false;  // before this turn
};

}  // namespace teal::test
