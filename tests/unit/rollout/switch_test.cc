// SPDX-License-Identifier: Apache-2.0
#include "rollout/switch.h"

#include <gtest/gtest.h>

namespace {

using teal::model::Pool;
using teal::rollout::cutover;
using teal::rollout::drained;
using teal::rollout::rollback;

teal_split fresh() {
  const uint64_t w = teal_split_make(1, 0, 0, 0);
  return {w, w};
}

TEST(Switch, CutoverCountsUpDrainsAndRemembers) {
  const teal_split now = fresh();
  const auto change = cutover(now, Pool::green);
  ASSERT_TRUE(change.changed);
  EXPECT_EQ(change.next.previous, now.current);
  EXPECT_EQ(teal_split_generation(change.next.current), 2u);
  EXPECT_EQ(teal_split_share(change.next.current), TEAL_SPLIT_ALL);
  EXPECT_TRUE(teal_split_draining(change.next.current));
  EXPECT_EQ(teal_split_active(change.next.current), TEAL_GREEN);
}

TEST(Switch, CutoverToTheActivePoolChangesNothing) {
  EXPECT_FALSE(cutover(fresh(), Pool::blue).changed);
  const teal_split green = cutover(fresh(), Pool::green).next;
  EXPECT_FALSE(cutover(green, Pool::green).changed);
}

TEST(Switch, RollbackIsTheSameBackwardsAndOnlyOnce) {
  const teal_split green = cutover(fresh(), Pool::green).next;
  const auto back = rollback(green);
  ASSERT_TRUE(back.changed);
  EXPECT_EQ(teal_split_share(back.next.current), 0u);
  EXPECT_EQ(teal_split_active(back.next.current), TEAL_BLUE);
  EXPECT_EQ(teal_split_generation(back.next.current), 3u);
  EXPECT_EQ(back.next.previous, green.current);
  const auto again = rollback(back.next);
  EXPECT_TRUE(again.possible);
  EXPECT_FALSE(again.changed);
  // A new cutover may be rolled back anew.
  const teal_split third = cutover(back.next, Pool::green).next;
  EXPECT_TRUE(rollback(third).changed);
}

TEST(Switch, TheFirstGenerationHasNothingToGoBackTo) {
  EXPECT_FALSE(rollback(fresh()).possible);
  EXPECT_FALSE(rollback(fresh()).changed);
}

TEST(Switch, DrainedChangesNoDecision) {
  const teal_split green = cutover(fresh(), Pool::green).next;
  const uint64_t w = drained(green.current);
  EXPECT_FALSE(teal_split_draining(w));
  EXPECT_EQ(teal_split_generation(w), teal_split_generation(green.current));
  EXPECT_EQ(teal_split_share(w), teal_split_share(green.current));
  EXPECT_EQ(teal_split_active(w), teal_split_active(green.current));
  EXPECT_TRUE(rollback({w, green.previous}).changed);
}

}  // namespace
