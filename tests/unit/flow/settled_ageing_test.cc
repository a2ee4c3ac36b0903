// SPDX-License-Identifier: Apache-2.0
// How long entries live whose stamps lag behind because their packets went without the table.
#include <gtest/gtest.h>

#include "settle_fixture.h"

namespace teal::flow::test {
namespace {

constexpr uint32_t timeout = 960, grace = 2 * TEAL_STALE_AT_MOST;  // of the fixture's services

// Under a sweeper that comes by every second; its first walk counts as a slow one.
TEST(Ageing, WhatWasSettledLivesTwoMinutesLongerAndNotForEver) {
  for (const uint32_t begin : {1000u, 0xfff000u}) {  // the second wraps
    Settling s(begin);
    s.pass_walking(timeout + grace + 1);
    const auto key = key_of(1);
    ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
    s.pass_walking(timeout + grace);
    EXPECT_TRUE(s.there(key));
    EXPECT_EQ(s.sweeper.expired(), 0u);
    s.pass_walking(1);
    EXPECT_FALSE(s.there(key));
    EXPECT_EQ(s.sweeper.expired(), 1u);
  }
}

TEST(Ageing, OnlyEstablishedOnesDo) {
  Settling s;
  s.walk();
  const auto key = key_of(1);
  ASSERT_EQ(s.put(key, value(key, 10, TEAL_FLOW_syn, 0)), Inserted::entered);
  uint64_t val = 0;
  *s.table.find(key, &val) = teal_val(10, TEAL_BLUE, 1, TEAL_FLOW_syn, key.check, s.now());
  s.pass_walking(160);
  EXPECT_TRUE(s.there(key));
  s.pass_walking(1);
  EXPECT_FALSE(s.there(key));
}

TEST(Ageing, WhatNeverWasSettledLivesByItsTimeoutToTheTick) {
  Settling s;
  s.split(1, 1);
  s.walk();
  const auto key = key_of(1);
  ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
  s.pass(timeout);
  s.walk();
  EXPECT_TRUE(s.there(key));
  s.pass(1);
  s.walk();
  EXPECT_FALSE(s.there(key));
}

TEST(Ageing, AGroupThatIsNoLongerSettledForgetsThatItsStampsLag) {
  Settling s;
  s.walk();
  (void)s.settler->unsettle(1);
  s.split(1, 1);
  s.pass_walking(timeout + grace);
  EXPECT_EQ(s.ageing[1].grace, grace);
  s.pass_walking(1);
  EXPECT_EQ(s.ageing[1].grace, 0u);
  EXPECT_EQ(s.ageing[2].grace, grace) << "the one that is settled";
  const auto key = key_of(1);
  ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
  s.pass_walking(timeout);
  EXPECT_TRUE(s.there(key));
  s.pass_walking(1);
  EXPECT_FALSE(s.there(key));
}

// Its packets go without the table until a walk calls it stale: when none came by in time, it may be young.
TEST(Ageing, KeptWhenTheWalkBeforeIsTooLongAgo) {
  const uint32_t slow = teal_stale_after(TEAL_SETTLES_TIMEOUT) / 2;
  for (const uint32_t gap : {slow, slow + 1}) {
    Settling s;
    s.pass_walking(timeout + grace + 1);
    const auto key = key_of(1);
    ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
    s.pass_walking(timeout);
    s.pass(gap);
    s.walk();
    s.pass_walking(grace + 1 - gap);
    EXPECT_EQ(s.there(key), gap > slow);
    s.pass_walking(timeout + gap - 1);
    EXPECT_EQ(s.there(key), gap > slow) << "for as long as it would live from there";
    s.pass_walking(grace + 2);
    EXPECT_FALSE(s.there(key));
  }
}

TEST(Ageing, KeptThroughTheFirstWalksOfASweeper) {
  Settling s;
  const auto key = key_of(1);
  ASSERT_EQ(s.put(key, teal_val(10, TEAL_BLUE, 1, TEAL_FLOW_established, key.check, s.now() - at(900)) | TEAL_VAL_DATA),
            Inserted::entered);
  s.walk();  // settled from here on
  s.pass_walking(timeout + grace);
  EXPECT_TRUE(s.there(key));
  s.pass_walking(1);
  EXPECT_FALSE(s.there(key));
}

// While a group is settled its stamps lag by up to a minute; a connection that spoke a
// moment ago must outlive a reload that changes what its service is.
TEST(Ageing, AReloadForgetsNobodyEarly) {
  struct Reload {
    const char* what;
    uint32_t timeout;
    uint8_t flags;
  };
  for (const Reload& reload : {Reload{"an hour's time-out becomes a minute's", 960, TEAL_SERVICE_SETTLES},
                               Reload{"affinity: it does not settle any more", 57600, TEAL_SERVICE_AFFINITY},
                               Reload{"half a minute: it does not settle any more", 480, 0}}) {
    Settling s;
    s.world.services[1].timeout[TEAL_TIMEOUT_established] = 57600;
    s.pass_walking(57600 + grace + 1);
    const auto key = key_of(1);
    ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
    s.walk_twice();
    s.pass_walking(TEAL_STALE_AT_MOST - 16);
    ASSERT_TRUE(s.settled(key)) << "its packets leave the stamp as it is";
    Services next;
    next.tables = s.world.tables;
    next.services = s.world.services;
    next.services[1].timeout[TEAL_TIMEOUT_established] = reload.timeout;
    next.services[1].flags = reload.flags;
    ASSERT_TRUE(s.settler->unsettle(s.world.view(), next.view()));
    s.world.services = next.services;
    s.pass_walking(reload.timeout - 16);
    EXPECT_TRUE(s.there(key)) << reload.what;
  }
}

// Ages beyond half the range of a stamp read as 0: the longest time-out that a configuration may name (six days,
// tests/unit/model/bad_configs.txt), its grace and two slow walks must lie below.
TEST(Ageing, TheLongestTimeoutsEnd) {
  const uint64_t longest = 518'400 * TEAL_TICKS_PER_S;
  EXPECT_LT(longest + 2 * TEAL_STALE_AT_MOST + teal_stale_after(TEAL_SETTLES_TIMEOUT), uint64_t{TEAL_STAMP_MASK / 2});
}

}  // namespace
}  // namespace teal::flow::test
