// SPDX-License-Identifier: Apache-2.0
#include "rollout/state.h"

#include <algorithm>

#include "rollout/machine.h"
#include "turn.h"

namespace teal::rollout {

const char* to_string(Phase v) {
  switch (v) {
    case Phase::idle:
      return "idle";
    case Phase::preview:
      return "preview";
    case Phase::shifting:
      return "shifting";
    case Phase::baking:
      return "baking";
    case Phase::draining:
      return "draining";
    case Phase::rolling_back:
      return "rolling_back";
    case Phase::done:
      return "done";
  }
  return "?";
}

const char* to_string(Pause v) {
  switch (v) {
    case Pause::none:
      return "none";
    case Pause::by_hand:
      return "by_hand";
    case Pause::too_few:
      return "too_few";
    case Pause::hook:
      return "hook";
    case Pause::foreign:
      return "foreign";
    case Pause::other_down:
      return "other_down";
    case Pause::obstacle:
      return "obstacle";
  }
  return "?";
}

const char* to_string(Outcome v) {
  switch (v) {
    case Outcome::none:
      return "none";
    case Outcome::done:
      return "done";
    case Outcome::rolled_back:
      return "rolled_back";
    case Outcome::aborted:
      return "aborted";
  }
  return "?";
}

const char* to_string(Then v) {
  switch (v) {
    case Then::wait:
      return "wait";
    case Then::take_step:
      return "take_step";
    case Then::drain:
      return "drain";
    case Then::finish:
      return "finish";
  }
  return "?";
}

Progress progress(const State& state) {
  const int64_t hold = int64_t{1000} * state.plan.hold_s, bake = int64_t{1000} * state.plan.bake_s;
  const auto steps = static_cast<int64_t>(state.plan.steps.size());
  const int64_t all = (steps - 1) * hold + bake;
  Progress p;
  int64_t passed = 0;
  switch (state.phase) {
    case Phase::idle:
    case Phase::rolling_back:
      return p;
    case Phase::draining:
    case Phase::done:
      return {1, 0};
    case Phase::preview:
      break;
    case Phase::shifting:
    case Phase::baking:
      passed = std::max(state.step, 0) * hold + std::min(state.elapsed_ms, hold_ms(state));
  }
  p.done = all > 0 ? static_cast<double>(passed) / static_cast<double>(all) : 0;
  const bool waits =
      state.paused() || (state.phase == Phase::preview && state.plan.stay_in_preview && state.then == Then::wait);
  if (!waits) p.remaining_ms = all - passed;
  return p;
}

}  // namespace teal::rollout
