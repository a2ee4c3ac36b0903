// SPDX-License-Identifier: Apache-2.0
// The windows of a rollout's signals: what the flows that began in this step tell of both pools, what those of the last
// moments do, and what the rules say.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/release_config.h"
#include "rollout/machine.h"
#include "rollout/signals.h"

namespace teal::control {

using BothPools = std::array<rollout::PoolSignals, 2>;  // by model::Pool
BothPools operator-(const BothPools& a, const BothPools& b);

class SignalWindow {
 public:
  using Source = std::function<rollout::PoolSignals(uint16_t service, model::Pool pool, unsigned generation)>;
  explicit SignalWindow(Source source) : source_(std::move(source)) {}

  // Before the split of that generation is stored: what counts from now on. A generation's counters have been in use
  // before, TEAL_SIGNAL_GENERATIONS changes ago.
  void begin(uint64_t generation, const std::vector<uint16_t>& services);

  // After a restart: until then SYNs that come again and handshakes that never end are those that teald's own absence
  // hurt.
  void begin_after_restart(uint64_t generation, const std::vector<uint16_t>& services, int64_t until_ms);

  [[nodiscard]] uint64_t generation() const { return generation_; }  // 0: none began
  // Since begin(), over the services; one that was not there then counts from when it is seen first.
  [[nodiscard]] BothPools of(const std::vector<uint16_t>& services, int64_t now_ms);

  // What of `counts`, which of() gave at `now_ms`, came in the last two seconds. None as long as that is all of it.
  std::optional<BothPools> latest(const BothPools& counts, int64_t now_ms);

  // Once a second, whatever the generation: what was normal in the minute before a step. `all`: of all generations.
  void remember(int64_t now_ms, const BothPools& all);
  // What a pool showed in the minute before begin(), or before an earlier one when it had no flow then.
  [[nodiscard]] const rollout::PoolSignals& normal(model::Pool pool) const {
    return normal_[static_cast<size_t>(pool)];
  }

 private:
  Source source_;
  uint64_t generation_ = 0;
  int64_t absence_until_ms_ = 0;
  std::map<std::pair<uint16_t, model::Pool>, rollout::PoolSignals> base_;
  std::deque<std::pair<int64_t, BothPools>> moments_;  // of this step, oldest first
  std::deque<std::pair<int64_t, BothPools>> minute_;
  BothPools normal_;
};

// What the rules say of the step so far, and of its last moments (`latest`), where a pool that was good for long must
// not hide that it has gone bad. generation: of the window. normal: of the pool that is left, taken where it had too
// few flows in the step to compare with.
struct Judged {
  BothPools step;
  std::optional<BothPools> latest;
  rollout::PoolSignals normal;
};
rollout::Judgement judge_window(const model::RolloutConfig& config, const Judged& what, model::Pool target,
                                uint64_t generation);

}  // namespace teal::control
