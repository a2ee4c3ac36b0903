// SPDX-License-Identifier: Apache-2.0
// A rollout as plain values: its plan, where it stands, what it did. Written by rollout/machine.h only; stored by
// rollout/store.h. "Target" is the pool that a rollout goes to, "other" the one it leaves.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/release_config.h"

namespace teal::rollout {

enum class Phase : uint8_t {
  idle,      // none has run, or the last one was rolled back or aborted: State::outcome
  preview,   // started; no new flow goes to the target but those of preview clients
  shifting,  // a part of the new flows goes to the target: State::step
  baking,    // all of them; the other pool is warm
  draining,  // the other pool runs out of flows
  rolling_back,
  done,  // the target is active, the other one standby and dormant
};
const char* to_string(Phase v);

// Why a rollout does not go on by itself. Time does not count while it is paused; bad signals still roll it back,
// unless somebody else changed the split (foreign).
enum class Pause : uint8_t {
  none,
  by_hand,
  too_few,     // connections, to judge the step
  hook,        // failed, or teald was restarted while it ran
  foreign,     // the split is not what this rollout made of it: somebody else changed it. Nothing is done to it
  other_down,  // signals are bad, but no backend of the other pool is ready to go back to
  obstacle,    // Inputs::obstacle
};
const char* to_string(Pause v);

enum class Outcome : uint8_t { none, done, rolled_back, aborted };
const char* to_string(Outcome v);

struct Plan {
  model::Pool to = model::Pool::green;
  std::vector<uint32_t> steps = {65536};  // shares of the target in 65,536ths of new flows, rising, the last one 65,536
  uint32_t hold_s = 60;                   // at each step but the last
  uint32_t bake_s = 600;                  // at the last step
  uint32_t drain_deadline_s = 1800;       // 0: none
  model::FlowsAction at_deadline = model::FlowsAction::keep;
  model::FlowsAction rollback_flows = model::FlowsAction::keep;  // of an automatic rollback and of an abort
  bool stay_in_preview = false;                                  // until promoted
  bool judge_nothing = false;           // too few connections at the end of a hold: go on rather than pause
  bool ignore_affinity = false;         // carried for the packet path
  bool force_unready = false;           // start, and go on, although no backend of the target is ready
  bool again = false;                   // although this very target was rolled back automatically
  std::vector<model::HookPoint> hooks;  // points at which there are hooks
  std::string target_signature;         // stands for the target's backends as they are: changed target, other text
  std::string started_by;               // user name
  bool operator==(const Plan&) const = default;
};

struct Event {
  int64_t at_ms = 0;  // Unix time
  std::string text;
  bool operator==(const Event&) const = default;
};

// What is to be done when the hooks that are due have returned.
enum class Then : uint8_t { wait, take_step, drain, finish };
const char* to_string(Then v);

struct State {
  uint64_t id = 0;  // counted up in the group at each start; 0: none has run
  std::string group;
  std::vector<std::string> services;
  Plan plan;
  Phase phase = Phase::idle;
  Pause pause = Pause::none;
  std::string pause_reason;  // one sentence
  int32_t step = -1;         // index into plan.steps that stands; -1: none yet
  int64_t elapsed_ms = 0;    // in this phase and step; without the time in which teald was away or it was paused
  int64_t started_at_ms = 0, ended_at_ms = 0;  // Unix time; 0: not

  uint64_t word_before = 0;  // split word before the last change that was announced
  uint64_t word = 0;         // split word after it (draining bit aside): what this rollout expects to find
  uint64_t generation = 0;   // of `word`

  std::vector<model::HookPoint> hooks_due;  // in order; the first one is running when hook_running
  bool hook_running = false;
  uint64_t hook_call = 0;  // number of the last call
  Then then = Then::wait;
  int32_t then_step = -1;

  std::optional<model::Pool> reset_due;             // flows that a rollback resets: not yet known to be done
  std::string signals_verdict, prometheus_verdict;  // last texts
  Outcome outcome = Outcome::none;
  bool automatic = false;                  // rolled back by a trigger
  std::string reason;                      // of the rollback or abort
  std::optional<uint64_t> flows_left;      // on the other pool: at the last census, and when it ended
  std::optional<model::Pool> failed_pool;  // last automatic rollback, until that pool has had a rollout that was done
  std::string failed_signature;
  std::vector<Event> history;  // of this rollout, the newest last; at most max_history

  // Not stored.
  std::optional<int64_t> seen_ms;  // monotonic time of the last step
  int64_t stored_elapsed_ms = 0;   // elapsed_ms when it was stored last
  bool resumed = false;            // the acts of the stored state may or may not have been done

  static constexpr size_t max_history = 200;
  static constexpr size_t max_text = 2000;  // characters of a hook's output or a verdict that are kept

  [[nodiscard]] model::Pool target() const { return plan.to; }
  [[nodiscard]] model::Pool other() const { return model::other(plan.to); }
  // A start is refused while it is; idle and done (with its hooks) are not.
  [[nodiscard]] bool running() const {
    return phase != Phase::idle && (phase != Phase::done || hook_running || !hooks_due.empty());
  }
  [[nodiscard]] bool paused() const { return pause != Pause::none; }
};

}  // namespace teal::rollout
