// SPDX-License-Identifier: Apache-2.0
// The life of a rollout, as pure functions: no I/O, no clock. The caller (control) gives what it sees and does what it
// is told:
//
//   Turn turn = step(state, inputs);            or a command, or resume() once after loading
//   if (turn.persist != Persist::no && !store.save(turn.state) && turn.persist == Persist::required)
//     return;                                   nothing has happened; `state` stays, the next step tries again
//   state = turn.state;                         (a rollback goes ahead without a disk; save again until it succeeds)
//   for (act : turn.acts) ...                   in order, all of them before the next step or command
//
//   idle -> preview -> shifting -> baking -> draining -> done         paused: any of them, State::pause
//              \__________\___________\_________\__-> rolling_back -> idle
//
// Hooks (each point only when the plan names it; a failure pauses, `resume` calls it again, `promote` goes on without):
//   preview [pre_start]   each step [pre_step] set, hold, judge [post_step]   the last one's hold is the bake
//   [pre_promote] drain [post_promote]   done [on_done]   rolled back [on_rollback]
//
// A bad verdict, or a target without a ready backend (unless Plan::force_unready), rolls back at once while shifting or
// baking, paused or not; while draining nothing is judged. Where no backend of the other pool is ready an automatic
// rollback would turn bad service into none: it pauses (Pause::other_down) and goes ahead as soon as one is ready and
// the verdict is still bad; by hand it needs `force`.
#pragma once

#include <variant>

#include "rollout/state.h"
#include "teal/split.h"

namespace teal::rollout {

enum class Verdict : uint8_t { insufficient, pass, fail };

struct Judgement {
  Verdict verdict = Verdict::insufficient;
  std::string text;         // what was measured, one line; of a failure: the rule and the numbers
  uint64_t generation = 0;  // under which the judged flows began; another than State::generation: not looked at
};

struct HookResult {
  uint64_t call = 0;  // RunHook::call; of another call: not looked at
  bool ok = false;
  std::string text;  // failure: exit code or status, and output
};

// What is seen at one moment. Readiness must be known (after a start: first wait for the health checks).
struct Inputs {
  int64_t now_ms = 0;   // monotonic
  int64_t wall_ms = 0;  // Unix time, for the history only
  teal_split split{};   // as it stands
  Judgement signals;
  Judgement prometheus;  // without queries: pass, under the state's generation
  // Looked at by step() only; give it until the hook is no longer the running one (a turn may be lost to a full disk).
  std::optional<HookResult> hook;
  // On the other pool, those marked for reset not counted: by a whole census that began after the last change of the
  // split, after the last ResetFlows, and a half-open timeout after the change. None until there is one.
  std::optional<uint64_t> flows_left;
  // Clients that affinity holds on the other pool, by the same census.
  uint64_t pinned_left = 0;
  bool target_ready = false, other_ready = false;  // each service of the group has a ready backend in that pool
  std::string obstacle;  // why it is not safe to go on (a service is no longer configured, ...); empty: nothing
};

struct SetSplit {
  teal_split split;  // `previous` first, then `current`
};
struct RunHook {
  model::HookPoint point;
  uint64_t call;
};
struct ResetFlows {
  model::Pool pool;
};
struct Unpin {  // affinity holds nobody on the pool any more (rollout::unpinned, and their entries go)
  model::Pool pool;
};
struct Drained {};  // clear the draining bit (rollout::drained); no flow is left
struct Announce {   // new entry of State::history, for the log, the audit and the event stream
  Event event;
  bool loud = false;  // a warning
};
using Act = std::variant<SetSplit, RunHook, ResetFlows, Unpin, Drained, Announce>;

enum class Persist : uint8_t {
  no,
  wanted,    // the acts are done even when it fails
  required,  // no act may be done before the state is safe
};

struct Turn {
  State state;
  Persist persist = Persist::no;
  std::vector<Act> acts;  // at most one SetSplit
};

enum class Refusal : uint8_t {
  none,
  not_running,
  under_way,  // another rollout of the group
  wrong_phase,
  bad_plan,
  already_active,    // the target is
  split_between,     // the split is not whole on the other pool
  target_not_ready,  // Plan::force_unready
  other_not_ready,   // BackRequest::force
  needs_again,       // Plan::again
  obstacle,
  foreign,         // somebody else changed the split: resume, abort or rollback
  change_pending,  // an announced change is not made yet: try again
};

struct Reply {
  bool accepted = false;
  Refusal refusal = Refusal::none;
  bool changed = false;  // false: accepted, and it stood so already
  std::string text;      // one sentence: what happens now, or why not
  Turn turn;             // not accepted: the state as it was
};

// Time passes. Call it at least 10 times a second while State::running().
Turn step(const State& state, const Inputs& inputs);

// Once after State was loaded, before the first step. Finishes an announced change that was not made; a split that is
// neither before nor after it pauses.
Turn resume_after_restart(const State& loaded, const Inputs& inputs);

// Commands. `last`: state of the group's last rollout, or State{}.
struct StartRequest {
  std::string group;
  std::vector<std::string> services;
  Plan plan;
};
Reply start(const State& last, const Inputs& inputs, const StartRequest& request);
Reply pause(const State& state, const Inputs& inputs, const std::string& by);
// After a foreign change it takes the split as it stands for its own and goes on from there.
Reply resume(const State& state, const Inputs& inputs, const std::string& by);
// The next step without waiting for the hold and the verdict, or (all) straight to 100 %. In the preview: begins. While
// baking: ends the bake.
Reply promote(const State& state, const Inputs& inputs, bool all, const std::string& by);
struct BackRequest {
  std::optional<model::FlowsAction> flows;  // on the target; none: as planned
  bool force = false;                       // although no backend of the other pool is ready
  std::string by;
};
Reply abort(const State& state, const Inputs& inputs, const BackRequest& request);
Reply rollback(const State& state, const Inputs& inputs, const BackRequest& request);

// The pool that is not active: what `to` is when nobody says.
model::Pool standby(const teal_split& split);

// What is wrong with a plan; empty: nothing.
std::string complaint(const Plan& plan);

// Share of the target in 65,536ths that a word gives it.
uint32_t target_share(uint64_t word, model::Pool target);

struct Progress {
  double done = 0;                      // 0 to 1, by planned time of holds and bake
  std::optional<int64_t> remaining_ms;  // until the old pool begins to drain; none: waits for somebody
};
Progress progress(const State& state);

}  // namespace teal::rollout
