// SPDX-License-Identifier: Apache-2.0
#include "health/rise_fall.h"

#include <algorithm>
#include <limits>

namespace teal::health {

const char* to_string(State v) {
  switch (v) {
    case State::unknown:
      return "unknown";
    case State::up:
      return "up";
    case State::down:
      return "down";
  }
  return "?";
}

bool RiseFall::take(bool success) {
  if (success != last_success_) in_a_row_ = 0;
  last_success_ = success;
  if (in_a_row_ < std::numeric_limits<uint32_t>::max()) in_a_row_++;
  const State to = success ? State::up : State::down;
  if (state_ == to || in_a_row_ < (success ? rise_ : fall_)) return false;
  state_ = to;
  return true;
}

void RiseFall::restart(uint32_t rise, uint32_t fall) {
  const State kept = state_;
  *this = RiseFall(rise, fall);
  state_ = kept;
}

PoolUse pool_use(const std::vector<bool>& healthy, uint32_t panic_percent) {
  const uint64_t up = static_cast<uint64_t>(std::count(healthy.begin(), healthy.end(), true));
  const uint64_t all = healthy.size();
  PoolUse out{healthy, all > 0 && up * 100 < all * panic_percent};
  if (out.panic) out.use.assign(all, true);
  return out;
}

}  // namespace teal::health
