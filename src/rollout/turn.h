// SPDX-License-Identifier: Apache-2.0
// One turn of the machine in the making: what steps and commands have in common.
#pragma once

#include "rollout/machine.h"
#include "rollout/split_words.h"

namespace teal::rollout {

class Work {
 public:
  Work(const State& state, const Inputs& inputs) : in(inputs), s(state) {}

  enum class Found : uint8_t { as_expected, pending, foreign };
  // Counts the time and compares the split with what this rollout made of it. Foreign: it pauses.
  Found settle();

  void note(const std::string& text, bool loud = false);
  void persist(Persist how);
  void pause(Pause why, const std::string& reason);
  void announce(const SplitChange& change);

  // Hooks of the points in turn, as far as the plan has any.
  void due(std::initializer_list<model::HookPoint> points);
  void forget_hooks();
  void run_hook();

  void order_step(int32_t index);  // its hooks, then the step
  void take_step();                // State::then_step
  void order_drain();
  void begin_drain();
  void finish();
  void roll_back(Outcome outcome, bool automatic, const std::string& why, model::FlowsAction flows);
  void end(Outcome outcome);
  void adopt();  // the split as it stands

  [[nodiscard]] int32_t last_step() const { return static_cast<int32_t>(s.plan.steps.size()) - 1; }
  [[nodiscard]] bool whole_on_other() const;
  Turn turn() &&;

  const Inputs& in;
  State s;
  Persist how = Persist::no;
  std::vector<Act> acts;
};

// "12.5 %"
std::string percent(uint32_t share);
// At most State::max_text bytes.
std::string shortened(const std::string& text);
// Time in this phase and step after which it is judged, ms.
int64_t hold_ms(const State& state);

}  // namespace teal::rollout
