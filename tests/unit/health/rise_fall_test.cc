// SPDX-License-Identifier: Apache-2.0
#include "health/rise_fall.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

namespace teal::health {
namespace {

// The definition, read off a whole history: the state is that of the latest run of results that was long enough.
State by_definition(const std::vector<bool>& history, size_t rise, size_t fall) {
  State state = State::unknown;
  for (size_t end = 1; end <= history.size(); end++) {
    size_t run = 0;
    while (run < end && history[end - 1 - run] == history[end - 1]) run++;
    if (history[end - 1] && run >= rise) state = State::up;
    if (!history[end - 1] && run >= fall) state = State::down;
  }
  return state;
}

TEST(RiseFall, EveryHistoryOfTenResults) {
  for (uint32_t rise = 1; rise <= 4; rise++)
    for (uint32_t fall = 1; fall <= 4; fall++)
      for (unsigned bits = 0; bits < 1024; bits++) {
        RiseFall count(rise, fall);
        std::vector<bool> history;
        for (unsigned i = 0; i < 10; i++) {
          const State before = count.state();
          history.push_back((bits >> i & 1) != 0);
          const bool changed = count.take(history.back());
          ASSERT_EQ(count.state(), by_definition(history, rise, fall))
              << rise << ' ' << fall << ' ' << bits << ' ' << i;
          ASSERT_EQ(changed, count.state() != before);
        }
      }
}

TEST(RiseFall, OtherLimitsKeepTheStateAndBeginTheCountAnew) {
  RiseFall count(1, 3);
  EXPECT_TRUE(count.take(true));
  count.take(false);
  count.take(false);
  count.restart(1, 3);
  EXPECT_EQ(count.state(), State::up);
  count.take(false);
  count.take(false);
  EXPECT_EQ(count.state(), State::up);
  EXPECT_TRUE(count.take(false));
  EXPECT_EQ(count.state(), State::down);
  EXPECT_EQ(count.in_a_row(), 3u);
}

TEST(RiseFall, NoLimitIsALimitOfOne) {
  RiseFall count(0, 0);
  EXPECT_TRUE(count.take(false));
  EXPECT_TRUE(count.take(true));
}

TEST(PoolUse, ThresholdIsCountedInBackends) {
  for (size_t all = 0; all <= 12; all++)
    for (size_t up = 0; up <= all; up++)
      for (uint32_t percent = 0; percent <= 100; percent++) {
        std::vector<bool> healthy(all, false);
        std::fill_n(healthy.begin(), up, true);
        const PoolUse use = pool_use(healthy, percent);
        const bool panic = all > 0 && static_cast<double>(up) / static_cast<double>(all) < percent / 100.0 - 1e-9;
        ASSERT_EQ(use.panic, panic) << up << " of " << all << " at " << percent;
        ASSERT_EQ(use.use, panic ? std::vector<bool>(all, true) : healthy);
      }
}

TEST(PoolUse, ZeroNeverPanics) {
  EXPECT_EQ(pool_use({false, false}, 0), (PoolUse{{false, false}, false}));
  EXPECT_EQ(pool_use({false, false}, 1), (PoolUse{{true, true}, true}));
  EXPECT_EQ(pool_use({true, false}, 50), (PoolUse{{true, false}, false}));
  EXPECT_EQ(pool_use({true, false}, 51), (PoolUse{{true, true}, true}));
  EXPECT_EQ(pool_use({}, 100), (PoolUse{{}, false}));
}

}  // namespace
}  // namespace teal::health
