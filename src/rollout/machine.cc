// SPDX-License-Identifier: Apache-2.0
// What a rollout does by itself, as time passes.
#include "rollout/machine.h"

#include <algorithm>

#include "turn.h"

namespace teal::rollout {
namespace {

using model::HookPoint;

// A hook that fails when the rollout is over, or is on its way back, is too late to stop anything.
bool too_late_to_stop(Phase phase) {
  return phase == Phase::rolling_back || phase == Phase::done;
}

void hook_returned(Work& w) {
  State& s = w.s;
  if (!w.in.hook || !s.hook_running || w.in.hook->call != s.hook_call) return;
  const std::string name = std::string("hook ") + model::to_string(s.hooks_due.front());
  s.hook_running = false;
  if (w.in.hook->ok || too_late_to_stop(s.phase)) {
    s.hooks_due.erase(s.hooks_due.begin());
    if (w.in.hook->ok)
      w.note(name + " succeeded");
    else
      w.note(name + " failed: " + w.in.hook->text, true);
    w.persist(Persist::wanted);
    return;
  }
  // It stays the next one to be called.
  if (s.pause == Pause::none || s.pause == Pause::by_hand)
    w.pause(Pause::hook, name + " failed: " + w.in.hook->text);
  else
    w.note(name + " failed: " + w.in.hook->text, true);
  w.persist(Persist::wanted);
}

bool of_this_step(const State& s, const Judgement& j) {
  return j.generation == s.generation;
}

// What makes the target bad, empty when nothing does. While an announced change is not made there is nothing of its
// generation to judge.
std::string trigger(const Work& w, bool pending) {
  const State& s = w.s;
  if (s.phase != Phase::shifting && s.phase != Phase::baking) return {};
  if (!pending && w.in.signals.verdict == Verdict::fail && of_this_step(s, w.in.signals)) return w.in.signals.text;
  if (!pending && w.in.prometheus.verdict == Verdict::fail && of_this_step(s, w.in.prometheus))
    return w.in.prometheus.text;
  if (!w.in.target_ready && !s.plan.force_unready && target_share(s.word, s.target()) > 0)
    return std::string("no backend of ") + model::to_string(s.target()) + " is ready";
  return {};
}

void pull(Work& w, const std::string& bad) {
  State& s = w.s;
  if (w.in.other_ready) {
    w.roll_back(Outcome::rolled_back, true, bad, s.plan.rollback_flows);
  } else if (s.pause != Pause::other_down) {
    w.pause(Pause::other_down,
            bad + "; not rolled back, because no backend of " + model::to_string(s.other()) + " is ready either");
  }
}

// An announced change that was not made (a restart in between): it is made now, unless it has become unwise.
void make_announced(Work& w) {
  State& s = w.s;
  const bool growth = target_share(s.word, s.target()) > target_share(w.in.split.current, s.target());
  if (growth && s.paused()) return;
  if (growth && !w.in.obstacle.empty()) return w.pause(Pause::obstacle, w.in.obstacle);
  w.acts.emplace_back(SetSplit{{s.word, w.in.split.current}});
  // What was to follow it was not done either.
  if (s.reset_due) s.resumed = true;
}

void keep_verdicts(Work& w) {
  if (of_this_step(w.s, w.in.signals)) w.s.signals_verdict = shortened(w.in.signals.text);
  if (of_this_step(w.s, w.in.prometheus)) w.s.prometheus_verdict = shortened(w.in.prometheus.text);
}

// The end of a hold, or of the bake: whether to go on.
bool held(Work& w) {
  State& s = w.s;
  if (s.elapsed_ms < hold_ms(s)) return false;
  const bool signals = w.in.signals.verdict == Verdict::pass && of_this_step(s, w.in.signals);
  const bool prometheus = w.in.prometheus.verdict == Verdict::pass && of_this_step(s, w.in.prometheus);
  if (signals && prometheus) return true;
  if (s.elapsed_ms < hold_ms(s) + int64_t{1000} * s.plan.hold_s) return false;
  const std::string missing = signals ? "no answer of Prometheus" : "too few connections";
  const std::string& text = signals ? s.prometheus_verdict : s.signals_verdict;
  const std::string why = missing + " to judge" + (text.empty() ? "" : ": " + text);
  if (s.plan.judge_nothing) {
    w.note(why + "; goes on, as the plan says", true);
    return true;
  }
  w.pause(Pause::too_few, why);
  return false;
}

void drain(Work& w) {
  State& s = w.s;
  if (w.in.flows_left) s.flows_left = w.in.flows_left;
  if (!s.hooks_due.empty()) return;
  if (w.in.flows_left == 0u && w.in.pinned_left == 0) return w.finish();
  const bool late = s.plan.drain_deadline_s != 0 && s.elapsed_ms >= int64_t{1000} * s.plan.drain_deadline_s;
  if (!late) return;
  if (s.plan.at_deadline == model::FlowsAction::keep) return w.finish();
  // The next census tells whether any is left: those are reset, too.
  if (!w.in.flows_left) return;
  w.acts.emplace_back(Unpin{s.other()});
  w.acts.emplace_back(ResetFlows{s.other()});
  w.note(
      "drain deadline: " + std::to_string(*w.in.flows_left) + " flows on " + model::to_string(s.other()) + " are reset",
      true);
  w.persist(Persist::wanted);
}

void go_on(Work& w) {
  State& s = w.s;
  if (!s.hooks_due.empty() && !s.hook_running) w.run_hook();
  if (s.phase == Phase::draining) return drain(w);
  if (!s.hooks_due.empty()) return;
  const bool ready = w.in.target_ready || s.plan.force_unready;
  switch (s.phase) {
    case Phase::preview:
    case Phase::shifting:
      if (s.then == Then::wait && (s.phase == Phase::preview ? ready && !s.plan.stay_in_preview : held(w)))
        w.order_step(s.step + 1);
      if (s.then == Then::take_step && ready && s.hooks_due.empty()) w.take_step();
      break;
    case Phase::baking:
      if (s.then == Then::wait && held(w)) w.order_drain();
      if (s.then == Then::drain && s.hooks_due.empty()) w.begin_drain();
      break;
    case Phase::rolling_back:
      if (!s.reset_due) w.end(s.outcome);
      break;
    case Phase::idle:
    case Phase::draining:
    case Phase::done:
      break;
  }
}

}  // namespace

Turn step(const State& state, const Inputs& inputs) {
  Work w(state, inputs);
  if (!state.running()) return std::move(w).turn();
  const Work::Found found = w.settle();
  hook_returned(w);
  if (found == Work::Found::foreign) return std::move(w).turn();
  keep_verdicts(w);
  if (const std::string bad = trigger(w, found == Work::Found::pending); !bad.empty())
    pull(w, bad);
  else if (found == Work::Found::pending)
    make_announced(w);
  else if (!w.s.paused() && !inputs.obstacle.empty() && !too_late_to_stop(w.s.phase))
    w.pause(Pause::obstacle, inputs.obstacle);
  else if (!w.s.paused())
    go_on(w);
  return std::move(w).turn();
}

Turn resume_after_restart(const State& loaded, const Inputs& inputs) {
  Work w(loaded, inputs);
  State& s = w.s;
  s.seen_ms.reset();
  s.stored_elapsed_ms = s.elapsed_ms;
  s.resumed = true;
  if (!s.running()) return std::move(w).turn();
  w.note(std::string("teald was restarted while the rollout was ") + to_string(s.phase));
  if (s.hook_running) {
    const std::string name = std::string("hook ") + model::to_string(s.hooks_due.front());
    s.hook_running = false;
    if (too_late_to_stop(s.phase)) {
      s.hooks_due.erase(s.hooks_due.begin());
      w.note(name + " was running then; how it ended is not known", true);
    } else if (!s.paused()) {
      w.pause(Pause::hook, name + " was running when teald was restarted; how it ended is not known");
    }
  }
  s.seen_ms = inputs.now_ms;
  if (s.phase != Phase::done && !same_word(inputs.split.current, s.word)) w.settle();
  w.persist(Persist::wanted);
  return std::move(w).turn();
}

}  // namespace teal::rollout
