// SPDX-License-Identifier: Apache-2.0
// What results of checks mean, without sockets or clocks: when a backend counts as up or down, and which backends of a
// pool take new flows.
#pragma once

#include <cstdint>
#include <vector>

namespace teal::health {

// unknown: not yet judged since the check began. It takes new flows like `up`: a starting teald must not take service
// away from backends that it has not looked at yet. It is not proof of readiness, however.
enum class State : uint8_t { unknown = 0, up, down };
const char* to_string(State v);

// Counts results in a row. From unknown and from up, `fall` failures in a row lead to down; from unknown and from down,
// `rise` successes in a row lead to up. A result of the other kind begins the count anew.
class RiseFall {
 public:
  // Both at least 1; 0 is taken as 1.
  RiseFall(uint32_t rise, uint32_t fall) : rise_(rise == 0 ? 1 : rise), fall_(fall == 0 ? 1 : fall) {}

  // Takes in one result; true when the state changed by it.
  bool take(bool success);

  // Other limits, or another thing that is checked: the state stays, the count begins anew.
  void restart(uint32_t rise, uint32_t fall);

  [[nodiscard]] State state() const { return state_; }
  // Results of the same kind in a row up to now, without an upper bound.
  [[nodiscard]] uint32_t in_a_row() const { return in_a_row_; }
  [[nodiscard]] bool last_success() const { return last_success_; }

 private:
  uint32_t rise_, fall_;
  State state_ = State::unknown;
  bool last_success_ = false;
  uint32_t in_a_row_ = 0;
};

struct PoolUse {
  std::vector<bool> use;  // as `healthy`: which take new flows
  bool panic = false;     // all do, because too few are healthy
  bool operator==(const PoolUse&) const = default;
};

// Which backends of a pool take new flows. Fewer than `panic_percent` (0 to 100) of them healthy: all, since load on
// the few that are left would take these down too, and since a check that fails everywhere more likely is wrong. 0:
// never (a pool with none healthy then takes no flows). Counted in backends, not weights. An empty pool is never in
// panic.
PoolUse pool_use(const std::vector<bool>& healthy, uint32_t panic_percent);

}  // namespace teal::health
