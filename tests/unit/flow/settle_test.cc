// SPDX-License-Identifier: Apache-2.0
// When a group settles, and when it no longer is settled.
#include "flow/settle.h"

#include <gtest/gtest.h>

#include <functional>

#include "settle_fixture.h"

namespace teal::flow::test {
namespace {

TEST(Settle, OnlyAfterAWholeWalkThatBeganWithIt) {
  Settling s;
  EXPECT_FALSE(s.settler->settled(1));
  s.begin();
  EXPECT_FALSE(s.settler->settled(1)) << "at the beginning";
  s.middle();
  EXPECT_FALSE(s.settler->settled(1)) << "before its end";
  s.settler->end_walk();
  EXPECT_EQ(s.storage.settled()[1], 1u + TEAL_BLUE);
  EXPECT_EQ(s.storage.settled()[2], 1u + TEAL_BLUE);
  for (uint32_t g = 0; g < TEAL_GROUPS; g++) EXPECT_EQ(s.storage.settled()[g], g == 1 || g == 2 ? 1u : 0u) << g;
  s.begin();
  EXPECT_TRUE(s.settler->settled(1)) << "and stays so through further walks";
}

TEST(Settle, AGroupThatCouldNotWhenTheWalkBeganDoesNotAtItsEnd) {
  Settling s;
  s.split(1, 0, true);
  s.begin();
  s.split(1, 0, false);  // drained in the middle
  s.middle();
  s.settler->end_walk();
  EXPECT_FALSE(s.settler->settled(1));
  EXPECT_TRUE(s.settler->settled(2));
  s.walk();
  EXPECT_TRUE(s.settler->settled(1));
}

TEST(Settle, NotWithoutAServiceThatSettles) {
  Settling s;
  s.world.services[1].flags = TEAL_SERVICE_BY_FLOW;
  s.walk();
  EXPECT_FALSE(s.settler->settled(1));
  EXPECT_TRUE(s.settler->settled(2));
  s.world.services[2].group = 1;  // a group of one that does and one that does not
  s.walk();
  EXPECT_TRUE(s.settler->settled(1));
  EXPECT_FALSE(s.settler->settled(2)) << "nobody's group any more";
}

TEST(Settle, TheWordSaysWhichPool) {
  Settling s;
  s.split(1, TEAL_SPLIT_ALL);
  s.walk();
  EXPECT_EQ(s.storage.settled()[1], 1u + TEAL_GREEN);
  EXPECT_EQ(s.storage.settled()[2], 1u + TEAL_BLUE);
}

TEST(Settle, NotWhileDraining) {
  for (const uint32_t share : {0u, TEAL_SPLIT_ALL}) {
    Settling s;
    s.split(1, share, true);
    for (int i = 0; i < 3; i++) s.walk();
    EXPECT_FALSE(s.settler->settled(1)) << share;
    s.split(1, share);
    s.walk();
    EXPECT_TRUE(s.settler->settled(1)) << share;
  }
}

TEST(Settle, NotWhileTheSplitIsBetweenThePools) {
  for (const uint32_t share : {1u, 32768u, TEAL_SPLIT_ALL - 1}) {
    Settling s;
    s.split(1, share);
    s.walk();
    s.walk();
    EXPECT_FALSE(s.settler->settled(1)) << share;
  }
}

TEST(Settle, NotWhenHindered) {
  Settling s;
  s.walk({1});
  EXPECT_FALSE(s.settler->settled(1));
  EXPECT_TRUE(s.settler->settled(2));
  s.walk();
  EXPECT_TRUE(s.settler->settled(1));
  s.begin({1});
  EXPECT_FALSE(s.settler->settled(1)) << "what hinders a settled group ends it";
  s.middle();
  s.settler->end_walk();
  EXPECT_FALSE(s.settler->settled(1));
}

TEST(Settle, UnsettleSaysWhetherAnybodyMayActOnIt) {
  Settling s;
  EXPECT_FALSE(s.settler->unsettle(1));
  s.walk();
  EXPECT_TRUE(s.settler->unsettle(1));
  EXPECT_FALSE(s.settler->settled(1));
  EXPECT_TRUE(s.settler->settled(2)) << "another group's";
  EXPECT_FALSE(s.settler->unsettle(1)) << "it is not any more";
}

TEST(Settle, UnsettledInTheMiddleOfAWalkItSettlesAfterTheNext) {
  for (const bool was : {false, true}) {
    Settling s;
    if (was) s.walk();
    s.begin();
    ASSERT_FALSE(s.sweeper.step(64, s.now(), s.ageing));
    EXPECT_EQ(s.settler->unsettle(1), was);
    s.middle();
    s.settler->end_walk();
    EXPECT_FALSE(s.settler->settled(1)) << "the walk had passed some of the entries before the change";
    EXPECT_TRUE(s.settler->settled(2));
    s.walk();
    EXPECT_TRUE(s.settler->settled(1));
  }
}

TEST(Settle, ANewSettlerClearsTheWordsItFinds) {
  Settling s;
  s.walk();
  s.storage.settled()[TEAL_GROUPS - 1] = 2;
  s.settler.emplace(s.storage);
  for (uint32_t g = 0; g < TEAL_GROUPS; g++) EXPECT_EQ(s.storage.settled()[g], 0u) << g;
  s.begin();
  s.middle();
  EXPECT_FALSE(s.settler->settled(1));
  EXPECT_NE(s.ageing[1].grace, 0u) << "the stamps lag by what the one before it settled";
  s.settler->end_walk();
  EXPECT_TRUE(s.settler->settled(1));
}

// Its last teald may have unsettled a group just before it ended.
TEST(Settle, StampsOfATableThatIsTakenOverLag) {
  Settling s;
  s.split(1, 1);
  s.begin();
  EXPECT_EQ(s.ageing[1].grace, 0u) << "a new table's do not";
  Storage again(s.memory.mapped(false), 1024);
  ASSERT_TRUE(again.taken_over());
  s.settler.emplace(again);
  s.begin();
  EXPECT_NE(s.ageing[1].grace, 0u);
}

// What a reload changes of service 1, and whether its connections must be looked for again.
struct Change {
  const char* what;
  bool unsettles;
  std::function<void(Services&)> make;
};

TEST(Settle, UnsettledByAViewThatDecidesOtherwise) {
  static const std::vector<uint16_t> other(model::maglev_slots, 11);
  const std::vector<Change> changes{
      {"nothing", false, [](Services&) {}},
      {"another Maglev table of blue", true, [](Services& w) { w.tables[1] = other.data(); }},
      {"another Maglev table of green", true, [](Services& w) { w.tables[2] = other.data(); }},
      {"no backend of blue any more", true, [](Services& w) { w.services[1].maglev[TEAL_BLUE] = 0; }},
      {"the same tables under other numbers", false,
       [](Services& w) {
         w.tables = {nullptr, w.green.data(), w.blue.data()};
         for (auto& x : w.services) std::swap(x.maglev[0], x.maglev[1]);
       }},
      {"another group", true, [](Services& w) { w.services[1].group = 5; }},
      {"other flags", true, [](Services& w) { w.services[1].flags |= TEAL_SERVICE_AFFINITY; }},
      {"it does not settle any more", true, [](Services& w) { w.services[1].flags = 0; }},
      {"split by flow", true, [](Services& w) { w.services[1].flags |= TEAL_SERVICE_BY_FLOW; }},
      {"another protocol", true, [](Services& w) { w.services[1].proto = TEAL_PROTO_UDP; }},
      {"another time-out", true, [](Services& w) { w.services[1].timeout[TEAL_TIMEOUT_established]++; }},
      {"the time-out of something else", false, [](Services& w) { w.services[1].timeout[TEAL_TIMEOUT_closing]++; }},
      {"another MSS clamp", false, [](Services& w) { w.services[1].mss_clamp = 1300; }}};
  for (const Change& change : changes) {
    Settling s;
    s.walk();
    Services next;
    next.tables = s.world.tables;  // the same arrays: that is how a view says that nothing changed
    change.make(next);
    if (!change.unsettles && next.tables != s.world.tables)
      next.tables = {nullptr, s.world.green.data(), s.world.blue.data()};
    EXPECT_EQ(s.settler->unsettle(s.world.view(), next.view()), change.unsettles) << change.what;
    EXPECT_EQ(s.settler->settled(1), !change.unsettles) << change.what;
  }
}

TEST(Settle, AServiceThatGoesOrComesUnsettlesItsGroupOnly) {
  Settling s;
  s.walk();
  Services fewer;
  fewer.tables = s.world.tables;
  fewer.services.resize(2);
  EXPECT_TRUE(s.settler->unsettle(s.world.view(), fewer.view()));
  EXPECT_TRUE(s.settler->settled(1));
  EXPECT_FALSE(s.settler->settled(2));
  s.walk();
  EXPECT_TRUE(s.settler->unsettle(fewer.view(), s.world.view()));
  EXPECT_TRUE(s.settler->settled(1));
  EXPECT_FALSE(s.settler->settled(2));
  s.walk();
  Services hole;  // a number that nobody has
  hole.tables = s.world.tables;
  hole.services[1] = {};
  EXPECT_TRUE(s.settler->unsettle(s.world.view(), hole.view()));
  EXPECT_FALSE(s.settler->settled(1));
  EXPECT_TRUE(s.settler->settled(2));
}

TEST(Settle, AChangeOfGroupUnsettlesBoth) {
  Settling s;
  s.walk();
  Services next;
  next.tables = s.world.tables;
  next.services[1].group = 2;
  EXPECT_TRUE(s.settler->unsettle(s.world.view(), next.view()));
  EXPECT_FALSE(s.settler->settled(1));
  EXPECT_FALSE(s.settler->settled(2));
}

TEST(Settle, APacketOfEachFlowGoesTheLongWayOnceInAWhile) {
  uint32_t hits = 0, longest = 0;
  constexpr uint32_t ticks = 256 * 1024;
  for (uint32_t client = 1; client <= 8; client++) {
    uint32_t last = 0;
    for (uint32_t t = 0; t < ticks; t++)
      if (teal_goes_long(key_of(client).hash, t)) {
        hits++;
        longest = std::max(longest, t - last);
        last = t;
      }
  }
  EXPECT_NEAR(hits, 8.0 * ticks / 256, 8.0 * ticks / 256 / 10);
  EXPECT_LT(longest, 4096u) << "within a second, and so before an entry grows stale";
}

}  // namespace
}  // namespace teal::flow::test
