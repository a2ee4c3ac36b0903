// SPDX-License-Identifier: Apache-2.0
#include "turn.h"

#include <algorithm>
#include <cstdio>

namespace teal::rollout {
namespace {

// Progress is stored this often, so that a restart repeats no more of a hold.
constexpr int64_t store_every_ms = 5000;

std::string split_text(uint64_t word, model::Pool target) {
  return "generation " + std::to_string(teal_split_generation(word)) + " with " + percent(target_share(word, target)) +
         " of new flows to " + model::to_string(target);
}

}  // namespace

std::string percent(uint32_t share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g %%", share * 100.0 / TEAL_SPLIT_ALL);
  return text;
}

std::string shortened(const std::string& text) {
  return text.size() <= State::max_text ? text : text.substr(0, State::max_text) + "...";
}

int64_t hold_ms(const State& state) {
  return int64_t{1000} * (state.phase == Phase::baking ? state.plan.bake_s : state.plan.hold_s);
}

Work::Found Work::settle() {
  // The time of an announced change begins when it is made.
  const bool as_expected = same_word(in.split.current, s.word);
  const bool pending = !as_expected && same_word(in.split.current, s.word_before);
  if (s.seen_ms && !s.paused() && !pending) s.elapsed_ms += std::max<int64_t>(0, in.now_ms - *s.seen_ms);
  s.seen_ms = in.now_ms;
  // Once done, the split is no longer this rollout's.
  if (s.phase == Phase::done) return Found::as_expected;
  if (s.pause == Pause::foreign) return Found::foreign;
  if (as_expected) {
    if (s.reset_due && s.resumed) {
      acts.emplace_back(ResetFlows{*s.reset_due});
    } else if (s.reset_due) {
      s.reset_due.reset();
      persist(Persist::wanted);
    }
    s.resumed = false;
    return Found::as_expected;
  }
  if (pending) return Found::pending;
  pause(Pause::foreign, "the split is at " + split_text(in.split.current, s.target()) + ", expected " +
                            split_text(s.word, s.target()) + ": somebody else changed it");
  return Found::foreign;
}

void Work::note(const std::string& text, bool loud) {
  const Event event{in.wall_ms, shortened(text)};
  s.history.push_back(event);
  if (s.history.size() > State::max_history) s.history.erase(s.history.begin());
  acts.emplace_back(Announce{event, loud});
}

void Work::persist(Persist wish) {
  how = std::max(how, wish);
}

void Work::pause(Pause why, const std::string& reason) {
  s.pause = why;
  s.pause_reason = shortened(reason);
  note("paused: " + reason, why != Pause::by_hand);
  persist(Persist::wanted);
}

void Work::announce(const SplitChange& change) {
  s.word_before = in.split.current;
  s.word = change.changed ? change.next.current : in.split.current;
  s.generation = teal_split_generation(s.word);
  if (change.changed) acts.emplace_back(SetSplit{change.next});
}

void Work::due(std::initializer_list<model::HookPoint> points) {
  for (model::HookPoint p : points)
    if (std::find(s.plan.hooks.begin(), s.plan.hooks.end(), p) != s.plan.hooks.end()) s.hooks_due.push_back(p);
}

void Work::forget_hooks() {
  s.hooks_due.clear();
  s.hook_running = false;
}

void Work::run_hook() {
  s.hook_running = true;
  s.hook_call++;
  acts.emplace_back(RunHook{s.hooks_due.front(), s.hook_call});
  note(std::string("hook ") + model::to_string(s.hooks_due.front()) + " is called");
  persist(Persist::required);
}

void Work::order_step(int32_t index) {
  if (s.step >= 0) due({model::HookPoint::post_step});
  due({model::HookPoint::pre_step});
  s.then = Then::take_step;
  s.then_step = index;
  persist(Persist::wanted);
}

void Work::take_step() {
  const int32_t index = s.then_step;
  const uint32_t share = s.plan.steps[index];
  s.step = index;
  s.phase = index == last_step() ? Phase::baking : Phase::shifting;
  s.elapsed_ms = 0;
  s.then = Then::wait;
  s.then_step = -1;
  s.signals_verdict.clear();
  s.prometheus_verdict.clear();
  announce(move_share(in.split, s.target(), share, s.plan.ignore_affinity));
  note("step " + std::to_string(index + 1) + " of " + std::to_string(s.plan.steps.size()) + ": " + percent(share) +
       " of new flows to " + model::to_string(s.target()) + ", generation " + std::to_string(s.generation));
  persist(Persist::required);
}

void Work::order_drain() {
  due({model::HookPoint::post_step, model::HookPoint::pre_promote});
  s.then = Then::drain;
  persist(Persist::wanted);
}

void Work::begin_drain() {
  s.phase = Phase::draining;
  s.elapsed_ms = 0;
  s.then = Then::finish;
  s.flows_left.reset();
  due({model::HookPoint::post_promote});
  note(std::string("bake is over, ") + model::to_string(s.other()) + " drains");
  persist(Persist::required);
}

void Work::finish() {
  // Dormant is who gets nothing new, not even from those who were there before.
  acts.emplace_back(Unpin{s.other()});
  if (s.flows_left == 0u) acts.emplace_back(Drained{});
  s.phase = Phase::done;
  s.outcome = Outcome::done;
  s.ended_at_ms = in.wall_ms;
  s.elapsed_ms = 0;
  s.then = Then::wait;
  if (s.failed_pool == s.target()) {
    s.failed_pool.reset();
    s.failed_signature.clear();
  }
  due({model::HookPoint::on_done});
  note(std::string("done: ") + model::to_string(s.target()) + " is active, " + model::to_string(s.other()) +
       " is standby" +
       (s.flows_left.value_or(0) != 0 ? " and keeps " + std::to_string(*s.flows_left) + " flows until they end" : ""));
  persist(Persist::required);
}

void Work::roll_back(Outcome outcome, bool automatic, const std::string& why, model::FlowsAction flows) {
  s.phase = Phase::rolling_back;
  s.pause = Pause::none;
  s.pause_reason.clear();
  s.elapsed_ms = 0;
  s.then = Then::finish;
  s.then_step = -1;
  s.outcome = outcome;
  s.automatic = automatic;
  s.reason = shortened(why);
  forget_hooks();
  const SplitChange change = all_back(in.split, s.other());
  announce(change);
  acts.emplace_back(Unpin{s.target()});
  if (flows == model::FlowsAction::reset) {
    s.reset_due = s.target();
    s.resumed = false;
    acts.emplace_back(ResetFlows{s.target()});
  }
  if (automatic) {
    s.failed_pool = s.target();
    s.failed_signature = s.plan.target_signature;
  }
  due({model::HookPoint::on_rollback});
  note(
      "rolled back: " + why + "; all new flows " + (change.changed ? "go to " : "went on going to ") +
          model::to_string(s.other()) + ", generation " + std::to_string(s.generation) +
          (flows == model::FlowsAction::reset ? std::string(", flows on ") + model::to_string(s.target()) + " are reset"
                                              : ""),
      true);
  // The way back is not kept waiting by a full disk; where it is nothing but a decision, that must not be forgotten.
  persist(change.changed ? Persist::wanted : Persist::required);
}

void Work::end(Outcome outcome) {
  s.phase = Phase::idle;
  s.pause = Pause::none;
  s.pause_reason.clear();
  s.outcome = outcome;
  s.ended_at_ms = in.wall_ms;
  s.elapsed_ms = 0;
  s.then = Then::wait;
  s.then_step = -1;
  forget_hooks();
  persist(Persist::wanted);
}

void Work::adopt() {
  const uint64_t found = in.split.current;
  if (s.phase == Phase::rolling_back) {
    announce(all_back(in.split, s.other()));
    return;
  }
  s.word_before = s.word = found;
  s.generation = teal_split_generation(found);
  const uint32_t share = target_share(found, s.target());
  const bool active = standby(in.split) == s.other();
  s.elapsed_ms = 0;
  s.flows_left.reset();
  if (share == TEAL_SPLIT_ALL && active && s.phase == Phase::draining) return;
  if (share == 0 && !active && s.phase == Phase::preview) return;
  forget_hooks();
  s.then = Then::wait;
  s.then_step = -1;
  if (share == TEAL_SPLIT_ALL && active) {
    s.phase = Phase::baking;
    s.step = last_step();
    return;
  }
  s.phase = Phase::shifting;
  s.step = -1;
  while (s.step + 1 < last_step() && s.plan.steps[s.step + 1] <= share) s.step++;
  // Flows on the target are held and judged first, whoever sent them there.
  if (share == 0) order_step(0);
}

bool Work::whole_on_other() const {
  return target_share(in.split.current, s.target()) == 0 && standby(in.split) == s.target();
}

Turn Work::turn() && {
  if (how == Persist::no && s.elapsed_ms - s.stored_elapsed_ms >= store_every_ms) how = Persist::wanted;
  if (how != Persist::no) s.stored_elapsed_ms = s.elapsed_ms;
  return {std::move(s), how, std::move(acts)};
}

}  // namespace teal::rollout
