// SPDX-License-Identifier: Apache-2.0
// How fast a pool runs out of flows, from counts taken now and then: when it will be empty if it goes on like this.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

namespace teal::control {

class DrainMeter {
 public:
  void begin() { counts_.clear(); }
  void count(int64_t now_ms, uint64_t flows);
  [[nodiscard]] bool counted() const { return !counts_.empty(); }
  // Seconds until less than one flow is left, by the exponential decay over the last two minutes. None: nothing has
  // been counted for long enough, or it does not decay.
  [[nodiscard]] std::optional<uint64_t> eta_s() const;

 private:
  std::deque<std::pair<int64_t, uint64_t>> counts_;
};

}  // namespace teal::control
