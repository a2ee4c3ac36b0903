// SPDX-License-Identifier: Apache-2.0
// What a rollout does because somebody asked for it.
#include "rollout/machine.h"
#include "turn.h"

namespace teal::rollout {
namespace {

Reply refused(const State& state, Refusal refusal, const std::string& text) {
  return {false, refusal, false, text, {state, Persist::no, {}}};
}

Reply unchanged(const State& state, const std::string& text) {
  return {true, Refusal::none, false, text, {state, Persist::no, {}}};
}

Reply accepted(Work&& w, const std::string& text) {
  return {true, Refusal::none, true, text, std::move(w).turn()};
}

std::string name_of(const State& s) {
  return "rollout " + std::to_string(s.id) + " of " + s.group;
}

Reply not_running(const State& s, const char* what) {
  return refused(s, Refusal::not_running,
                 s.id == 0 ? std::string("no rollout has been started, there is none to ") + what
                           : name_of(s) + " is over (" + to_string(s.outcome) + "), there is none to " + what);
}

Reply wrong_phase(const State& s, const std::string& expected) {
  return refused(s, Refusal::wrong_phase, name_of(s) + " is " + to_string(s.phase) + ", expected " + expected);
}

Reply change_pending(const State& s) {
  return refused(s, Refusal::change_pending, name_of(s) + " is changing the split at this moment, try again");
}

std::string steps_text(const Plan& plan) {
  std::string text;
  for (uint32_t share : plan.steps) text += (text.empty() ? "" : ", ") + percent(share);
  return text;
}

// What stands against a start, in the order in which it is worth hearing.
std::optional<Reply> refuse_start(const State& last, const Inputs& in, const Plan& plan) {
  const std::string to = model::to_string(plan.to), other = model::to_string(model::other(plan.to));
  if (last.running())
    return refused(last, Refusal::under_way,
                   name_of(last) + " is " + to_string(last.phase) + (last.paused() ? " (paused)" : "") +
                       ", expected none under way");
  if (const std::string wrong = complaint(plan); !wrong.empty()) return refused(last, Refusal::bad_plan, wrong);
  if (standby(in.split) != plan.to)
    return refused(last, Refusal::already_active, to + " is the active pool already, expected the standby pool");
  if (const uint32_t share = target_share(in.split.current, plan.to); share != 0)
    return refused(last, Refusal::split_between,
                   percent(share) + " of new flows go to " + to + " now, expected none (a cutover to " + other +
                       " brings them back)");
  if (!in.obstacle.empty()) return refused(last, Refusal::obstacle, in.obstacle);
  if (!plan.again && last.failed_pool == plan.to && last.failed_signature == plan.target_signature)
    return refused(last, Refusal::needs_again,
                   to + " was rolled back automatically and its backends have not changed since, expected another " +
                       to + " (or again)");
  if (!in.target_ready && !plan.force_unready)
    return refused(last, Refusal::target_not_ready,
                   "no backend of " + to + " is ready, expected at least one in each service (or force)");
  return std::nullopt;
}

// Where resume goes on, after the split was taken as it stands.
std::string where(const State& s) {
  std::string text = to_string(s.phase);
  if (s.phase == Phase::shifting && s.then == Then::take_step)
    text += ", next is step " + std::to_string(s.then_step + 1);
  else if (s.phase == Phase::shifting)
    text += s.step < 0 ? " before step 1" : " at step " + std::to_string(s.step + 1);
  return text;
}

Reply go_back(const State& state, const Inputs& inputs, const BackRequest& request, Outcome outcome) {
  Work w(state, inputs);
  w.settle();
  State& s = w.s;
  const std::string verb = outcome == Outcome::aborted ? "aborted" : "rolled back";
  if (s.phase == Phase::done) return wrong_phase(state, "one that is not done");
  if (s.phase == Phase::rolling_back && !s.paused()) return unchanged(state, name_of(s) + " is being rolled back");
  const std::string other = model::to_string(s.other());
  if (s.phase == Phase::preview) {
    const std::string text = verb + " by " + request.by + " in the preview: nothing was changed, " +
                             percent(TEAL_SPLIT_ALL - target_share(inputs.split.current, s.target())) +
                             " of new flows go to " + other;
    s.reason = "by " + request.by;
    w.note(text);
    w.end(Outcome::aborted);
    w.persist(Persist::required);
    return accepted(std::move(w), text);
  }
  const bool dead = !inputs.other_ready && !w.whole_on_other();
  if (dead && !request.force)
    return refused(state, Refusal::other_not_ready,
                   "NOT rolled back: no backend of " + other + " is ready, all new flows would fail (force does it)");
  if (dead) w.note("no backend of " + other + " is ready: new flows will fail until one is", true);
  const bool stood_so = w.whole_on_other();
  w.roll_back(outcome, false, "by " + request.by,
              request.flows.value_or(s.reset_due ? model::FlowsAction::reset : s.plan.rollback_flows));
  const std::string text = verb + ": all new flows " + (stood_so ? "went to " : "go to ") + other +
                           (stood_so ? " already, the split was not changed" : "") +
                           (dead ? ", WHICH HAS NO READY BACKEND" : "");
  return accepted(std::move(w), text);
}

}  // namespace

std::string complaint(const Plan& plan) {
  if (plan.steps.empty()) return "steps: none found, expected at least 100 %";
  uint32_t before = 0;
  for (size_t i = 0; i < plan.steps.size(); i++) {
    if (plan.steps[i] <= before || plan.steps[i] > TEAL_SPLIT_ALL)
      return "steps: found " + percent(plan.steps[i]) + " at place " + std::to_string(i + 1) + ", expected more than " +
             percent(before) + " and at most 100 %";
    before = plan.steps[i];
  }
  if (before != TEAL_SPLIT_ALL) return "steps: the last one is " + percent(before) + ", expected 100 %";
  return {};
}

Reply start(const State& last, const Inputs& inputs, const StartRequest& request) {
  if (auto reply = refuse_start(last, inputs, request.plan)) return *reply;
  Work w(State{}, inputs);
  State& s = w.s;
  s.id = last.id + 1;
  s.hook_call = last.hook_call;
  s.failed_pool = last.failed_pool;
  s.failed_signature = last.failed_signature;
  s.group = request.group;
  s.services = request.services;
  s.plan = request.plan;
  s.phase = Phase::preview;
  s.started_at_ms = inputs.wall_ms;
  s.seen_ms = inputs.now_ms;
  s.word_before = s.word = inputs.split.current;
  s.generation = teal_split_generation(s.word);
  w.due({model::HookPoint::pre_start});
  const std::string text = std::string(model::to_string(s.other())) + " to " + model::to_string(s.target()) +
                           ", steps " + steps_text(s.plan);
  w.note("started by " + s.plan.started_by + ": " + text);
  w.persist(Persist::required);
  return accepted(std::move(w), "rollout " + std::to_string(last.id + 1) + " is started: " + text);
}

Reply pause(const State& state, const Inputs& inputs, const std::string& by) {
  if (!state.running()) return not_running(state, "pause");
  if (state.phase == Phase::rolling_back || state.phase == Phase::done)
    return wrong_phase(state, "preview, shifting, baking or draining");
  if (state.paused()) return unchanged(state, name_of(state) + " is paused already: " + state.pause_reason);
  Work w(state, inputs);
  const Work::Found found = w.settle();
  if (found == Work::Found::pending) return change_pending(state);
  if (found == Work::Found::as_expected) w.pause(Pause::by_hand, "by " + by);
  w.persist(Persist::required);
  const std::string text = name_of(state) + " is paused: " + w.s.pause_reason;
  return accepted(std::move(w), text);
}

Reply resume(const State& state, const Inputs& inputs, const std::string& by) {
  if (!state.running()) return not_running(state, "resume");
  Work w(state, inputs);
  w.settle();
  State& s = w.s;
  if (!s.paused()) return unchanged(state, name_of(s) + " is not paused");
  if (s.pause == Pause::foreign && state.pause != Pause::foreign)
    return refused(state, Refusal::foreign, s.pause_reason + "; look at it first");
  const Pause was = s.pause;
  s.pause = Pause::none;
  s.pause_reason.clear();
  if (was == Pause::foreign) w.adopt();
  // Another hold's time for the connections to come.
  if (was == Pause::too_few) s.elapsed_ms = hold_ms(s);
  const std::string text =
      "resumed by " + by + ": " + where(s) +
      (was == Pause::foreign ? ", with the split as it stands (generation " +
                                   std::to_string(teal_split_generation(inputs.split.current)) + ")"
                             : "");
  w.note(text);
  w.persist(Persist::required);
  return accepted(std::move(w), text);
}

Reply promote(const State& state, const Inputs& inputs, bool all, const std::string& by) {
  if (!state.running()) return not_running(state, "promote");
  Work w(state, inputs);
  const Work::Found found = w.settle();
  State& s = w.s;
  if (s.phase != Phase::preview && s.phase != Phase::shifting && s.phase != Phase::baking)
    return wrong_phase(state, "preview, shifting or baking");
  if (found == Work::Found::foreign)
    return refused(state, Refusal::foreign, s.pause_reason + "; expected resume, abort or rollback first");
  if (found == Work::Found::pending) return change_pending(state);
  if (!inputs.target_ready && !s.plan.force_unready)
    return refused(state, Refusal::target_not_ready,
                   std::string("no backend of ") + model::to_string(s.target()) + " is ready, expected at least one");
  if (!inputs.obstacle.empty()) return refused(state, Refusal::obstacle, inputs.obstacle);
  std::string skipped;
  if (s.pause == Pause::hook && !s.hooks_due.empty()) {
    skipped = std::string(", without hook ") + model::to_string(s.hooks_due.front());
    s.hooks_due.erase(s.hooks_due.begin());
  }
  s.pause = Pause::none;
  s.pause_reason.clear();
  if (s.phase == Phase::baking) {
    if (s.then == Then::wait) w.order_drain();
    w.note("promoted by " + by + ": the bake ends" + skipped);
    if (s.hooks_due.empty()) w.begin_drain();
    w.persist(Persist::required);
    return accepted(std::move(w), "the bake ends" + skipped);
  }
  if (s.then == Then::wait) w.order_step(s.step + 1);
  if (all) s.then_step = w.last_step();
  const std::string text = percent(s.plan.steps[s.then_step]) + " of new flows to " + model::to_string(s.target()) +
                           skipped + (s.hooks_due.empty() ? "" : ", when its hooks have returned");
  w.note("promoted by " + by + ": " + text);
  if (s.hooks_due.empty()) w.take_step();
  w.persist(Persist::required);
  return accepted(std::move(w), text);
}

Reply abort(const State& state, const Inputs& inputs, const BackRequest& request) {
  if (!state.running())
    return unchanged(state, "no rollout is running: nothing was changed, all new flows go on going to " +
                                std::string(model::to_string(model::other(standby(inputs.split)))));
  return go_back(state, inputs, request, Outcome::aborted);
}

Reply rollback(const State& state, const Inputs& inputs, const BackRequest& request) {
  if (!state.running()) return not_running(state, "roll back");
  return go_back(state, inputs, request, Outcome::rolled_back);
}

}  // namespace teal::rollout
