// SPDX-License-Identifier: Apache-2.0
// The windows of a rollout's signals: what the flows that began in this step tell of both pools, and what the rules
// say.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "model/release_config.h"
#include "rollout/machine.h"
#include "rollout/signals.h"

namespace teal::control {

class SignalWindow {
 public:
  using Source = std::function<rollout::PoolSignals(uint16_t service, model::Pool pool, unsigned generation)>;
  explicit SignalWindow(Source source) : source_(std::move(source)) {}

  // Before the split of that generation is stored: what counts from now on. A generation's counters have been in use
  // before, TEAL_SIGNAL_GENERATIONS changes ago.
  void begin(uint64_t generation, const std::vector<uint16_t>& services);

  [[nodiscard]] uint64_t generation() const { return generation_; }  // 0: none began
  // Since begin(), over the services; one that was not there then counts from when it is seen first.
  [[nodiscard]] rollout::PoolSignals of(model::Pool pool, const std::vector<uint16_t>& services);

 private:
  Source source_;
  uint64_t generation_ = 0;
  std::map<std::pair<uint16_t, model::Pool>, rollout::PoolSignals> base_;
};

// What the rules say of the window. generation: the window's.
rollout::Judgement judge_window(const model::RolloutConfig& config, const rollout::PoolSignals& target,
                                const rollout::PoolSignals& other, model::Pool target_pool, uint64_t generation);

}  // namespace teal::control
