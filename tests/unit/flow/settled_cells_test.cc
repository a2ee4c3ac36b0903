// SPDX-License-Identifier: Apache-2.0
// Cells, which say whether a bucket's entries are plain.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "settle_fixture.h"

namespace teal::flow::test {
namespace {

constexpr uint32_t stale = 960 / 8;  // of the fixture's services

TEST(Cells, APlainEntrysBucketIsPresent) {
  Settling s;
  const auto key = key_of(1);
  ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
  EXPECT_EQ(s.first(key), TEAL_CELL_ATTEND) << "whoever enters one knows nothing of it";
  EXPECT_FALSE(s.settled(key));
  s.walk();
  EXPECT_EQ(s.first(key), TEAL_CELL_UNKNOWN) << "rests for a walk";
  EXPECT_EQ(s.second(key), TEAL_CELL_EMPTY);
  EXPECT_FALSE(s.settled(key));
  s.walk();
  EXPECT_EQ(s.first(key), TEAL_CELL_PRESENT);
  EXPECT_EQ(s.second(key), TEAL_CELL_EMPTY);
  EXPECT_TRUE(s.settled(key));
  EXPECT_FALSE(s.settled(key_of(2))) << "whose buckets hold nothing";
}

TEST(Cells, AnEntryThatIsNotPlainMustBeFound) {
  Settling s;
  struct Not {
    const char* why;
    uint16_t backend;
    uint8_t state;
    uint64_t data;
    uint32_t age;
  };
  constexpr uint64_t data = TEAL_VAL_DATA;
  std::vector<Not> nots{{"without data", 10, TEAL_FLOW_established, 0, 0},
                        {"another backend than its slot's", 11, TEAL_FLOW_established, data, 0},
                        {"the other pool's", 20, TEAL_FLOW_established, data, 0},
                        {"stale", 10, TEAL_FLOW_established, data, stale + 1}};
  for (uint8_t state = TEAL_FLOW_syn; state < TEAL_FLOW_STATE_COUNT; state++)
    if (state != TEAL_FLOW_established) nots.push_back({"another state", 10, state, data, 0});
  uint32_t client = 0;
  for (const Not& n : nots) {
    const auto key = key_of(++client);
    const uint32_t seen = s.now() - at(n.age);
    ASSERT_EQ(s.put(key, (teal_val(n.backend, TEAL_BLUE, 1, n.state, key.check, seen) & ~data) | n.data),
              Inserted::entered);
    s.walk();
    s.walk();
    EXPECT_EQ(s.first(key), TEAL_CELL_ATTEND) << n.why << ", state " << int{n.state};
    EXPECT_FALSE(s.settled(key)) << n.why << ", state " << int{n.state};
    uint64_t val = 0;
    uint64_t* slot = s.table.find(key, &val);
    ASSERT_NE(slot, nullptr);
    *slot = s.plain(key);
    s.walk();
    EXPECT_EQ(s.first(key), TEAL_CELL_UNKNOWN) << n.why << ", state " << int{n.state};
    s.walk();
    EXPECT_TRUE(s.settled(key)) << "made plain, " << n.why << ", state " << int{n.state};
    EXPECT_EQ(s.first(key), TEAL_CELL_PRESENT);
  }
}

TEST(Cells, StaleIsAnEighthOfTheTimeoutToTheTick) {
  Settling s;
  const auto key = key_of(1);
  ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
  s.pass(stale);
  s.walk_twice();
  EXPECT_TRUE(s.settled(key));
  s.pass(1);
  s.walk();
  EXPECT_FALSE(s.settled(key));
  EXPECT_EQ(s.first(key), TEAL_CELL_ATTEND);
}

TEST(Cells, APlainEntryBesideOneThatIsNot) {
  Settling s;
  const auto key = key_of(1);
  ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
  uint32_t client = 2;
  while (s.bucket_of(key_of(client)) != s.bucket_of(key)) client++;
  const auto beside = key_of(client);
  ASSERT_EQ(s.put(beside, value(beside, 10, TEAL_FLOW_syn, 1000)), Inserted::entered);
  s.walk();
  EXPECT_EQ(s.first(key), TEAL_CELL_ATTEND);
  EXPECT_FALSE(s.settled(key));
}

TEST(Cells, TheComparisonIsWithTheSlotOfTheSplitsPool) {
  Settling s;
  const auto blue = key_of(1), green = key_of(2), odd = key_of(3);
  const auto slot_of = [&](const teal_flow_key& k) {
    return teal_maglev_slot(&secret, k.hash, 0, model::maglev_slots);
  };
  s.world.blue[slot_of(odd)] = 12;  // this slot's backend is not the others'
  ASSERT_EQ(s.put(blue, s.plain(blue, 10)), Inserted::entered);
  ASSERT_EQ(s.put(green, s.plain(green, 20)), Inserted::entered);
  ASSERT_EQ(s.put(odd, s.plain(odd, 12)), Inserted::entered);
  s.walk_twice();
  EXPECT_TRUE(s.settled(blue));
  EXPECT_FALSE(s.settled(green));
  EXPECT_TRUE(s.settled(odd));
  s.split(1, TEAL_SPLIT_ALL);
  s.walk_twice();
  EXPECT_FALSE(s.settled(blue));
  EXPECT_TRUE(s.settled(green));
  EXPECT_FALSE(s.settled(odd));
}

TEST(Cells, SetStateReplacingAndAttendMakeItFoundAgain) {
  for (int how = 0; how < 3; how++) {
    Settling s;
    const auto key = key_of(1);
    ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
    s.walk_twice();
    ASSERT_TRUE(s.settled(key));
    if (how == 0) {
      const auto slot = static_cast<int>(__builtin_ctz(teal_same_keys(s.table.first(key.hash), key.key)));
      ASSERT_TRUE(s.table.set_state(secret, s.table.first(key.hash), slot, key.key, TEAL_FLOW_reset, s.now()));
    } else if (how == 1) {
      uint64_t val = value(key, 20, TEAL_FLOW_syn, 1000);
      InsertCounts counts;
      ASSERT_EQ(s.table.insert(secret, key, &val, s.plain(key), s.now(), counts), Inserted::replaced);
    } else {
      s.table.attend(key.hash);
    }
    EXPECT_FALSE(s.settled(key)) << how;
    EXPECT_EQ(s.first(key), TEAL_CELL_ATTEND) << how;
  }
}

// Every entry is established, so that room is made by moving alone; and what was moved stands where a cell says nothing
// of it yet.
TEST(Cells, ADisplacedEntryIsAttendedWhereItStandsNow) {
  Settling s;
  std::vector<teal_flow_key> keys;
  std::vector<uint32_t> stood;
  InsertCounts counts;
  for (uint32_t client = 1; counts.displaced == 0 && client < 1280; client++) {
    s.walk();  // every cell says what stood there before this insertion
    stood.clear();
    for (const auto& k : keys) stood.push_back(teal_same_keys(s.table.first(k.hash), k.key) != 0);
    const auto key = key_of(client);
    uint64_t val = s.plain(key, 11);  // not plain: whoever meets it must see its backend
    ASSERT_EQ(s.table.insert(secret, key, &val, 0, s.now(), counts), Inserted::entered);
    keys.push_back(key);
  }
  ASSERT_EQ(counts.displaced, 1u);
  size_t moved = 0;
  for (size_t i = 0; i < stood.size(); i++) {
    const bool in_first = teal_same_keys(s.table.first(keys[i].hash), keys[i].key) != 0;
    if (in_first == (stood[i] != 0)) continue;
    moved++;
    EXPECT_TRUE((in_first ? s.first(keys[i]) : s.second(keys[i])) == TEAL_CELL_ATTEND);
  }
  EXPECT_EQ(moved, 1u);
}

// The same with plain entries, whose new bucket had no cell: to begin with, its packets find it.
TEST(Cells, ADisplacedPlainEntryIsFoundUntilAWalkHasRested) {
  Settling s;
  std::vector<teal_flow_key> keys;
  InsertCounts counts;
  std::vector<bool> stood;
  for (uint32_t client = 1; counts.displaced == 0 && client < 1280; client++) {
    s.walk();
    stood.clear();
    for (const auto& k : keys) stood.push_back(teal_same_keys(s.table.first(k.hash), k.key) != 0);
    const auto key = key_of(client);
    uint64_t val = s.plain(key);
    ASSERT_EQ(s.table.insert(secret, key, &val, 0, s.now(), counts), Inserted::entered);
    keys.push_back(key);
  }
  ASSERT_EQ(counts.displaced, 1u);
  for (size_t i = 0; i < stood.size(); i++) {
    const bool in_first = teal_same_keys(s.table.first(keys[i].hash), keys[i].key) != 0;
    if (in_first != stood[i]) {
      EXPECT_FALSE(s.settled(keys[i]));
    }
  }
  s.walk_twice();
  for (const auto& k : keys) EXPECT_TRUE(s.settled(k));
}

// A sweeper walks and walks while entries come and go beside a plain one: no look at the cells may ever say that one
// that is not plain needs none. (What it would overwrite is what an insertion adds between its clearing and its
// looking.)
TEST(Cells, WhatIsAddedBehindTheSweepersBackStays) {
  Settling s;
  const auto steady = key_of(1);
  ASSERT_EQ(s.put(steady, s.plain(steady)), Inserted::entered);
  uint32_t client = 2;
  while (s.bucket_of(key_of(client)) != s.bucket_of(steady)) client++;
  const auto key = key_of(client);
  s.begin();
  std::atomic<bool> done{false};
  std::thread sweeping([&] {
    while (!done) s.middle();
  });
  int wrong = 0, attended = 0;
  for (const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
       std::chrono::steady_clock::now() < until;) {
    const uint64_t val = value(key, 11, TEAL_FLOW_syn, 1000);
    ASSERT_EQ(s.put(key, val), Inserted::entered);
    for (int i = 0; i < 50; i++) {
      wrong += s.settled(key);
      attended += s.first(key) == TEAL_CELL_ATTEND;
    }
    teal_bucket* b = s.table.first(key.hash);
    ASSERT_TRUE(s.table.remove(secret, b, __builtin_ctz(teal_same_keys(b, key.key)), key.key, val));
  }
  done = true;
  sweeping.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_NE(attended, 0);
}

TEST(Cells, EntriesOfServicesThatDoNotSettleLeaveNoTrace) {
  Settling s;
  s.world.services[1].flags = 0;
  for (uint32_t i = 1; i <= 50; i++) {
    ASSERT_EQ(s.put(key_of(i), i % 2 ? s.plain(key_of(i)) : value(key_of(i), 11, TEAL_FLOW_syn, 1000)),
              Inserted::entered);
  }
  s.walk_twice();
  EXPECT_TRUE(s.all_empty());
}

TEST(Cells, OnlyCandidatesAreComparedSoThatWhoSettlesLaterHasNone) {
  Settling s;
  const auto key = key_of(1);
  ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
  s.split(1, 0, true);
  s.walk_twice();
  EXPECT_TRUE(s.all_empty());
}

TEST(Cells, ANewWalkClearsWhatAnEarlierOneSaid) {
  Settling s;
  const auto key = key_of(1);
  ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
  s.walk_twice();
  teal_bucket* b = s.table.first(key.hash);
  ASSERT_TRUE(s.table.remove(secret, b, __builtin_ctz(teal_same_keys(b, key.key)), key.key, s.plain(key)));
  EXPECT_TRUE(s.settled(key)) << "removal leaves cells alone";
  s.walk();
  EXPECT_TRUE(s.all_empty());
}

// A walk after a change of hands tells nobody what the walk before made unknown.
TEST(Cells, WhatWasAttendedIsUnknownForOneWalk) {
  Settling s;
  const auto key = key_of(1);
  ASSERT_EQ(s.put(key, s.plain(key)), Inserted::entered);
  s.walk_twice();
  ASSERT_EQ(s.first(key), TEAL_CELL_PRESENT);
  s.table.attend(key.hash);
  for (const uint32_t want : {TEAL_CELL_UNKNOWN, TEAL_CELL_PRESENT, TEAL_CELL_PRESENT}) {
    s.walk();
    EXPECT_EQ(s.first(key), want);
    EXPECT_EQ(s.second(key), want == TEAL_CELL_UNKNOWN ? TEAL_CELL_UNKNOWN : TEAL_CELL_EMPTY);
    EXPECT_EQ(s.settled(key), want == TEAL_CELL_PRESENT);
  }
}

TEST(Cells, TheTableIsSparedByPresentWithPresentOrEmptyOnly) {
  for (uint32_t a = 0; a < 4; a++)
    for (uint32_t b = 0; b < 4; b++)
      EXPECT_EQ(teal_cells_settled(a, b) != 0,
                (a == TEAL_CELL_PRESENT && (b == TEAL_CELL_PRESENT || b == TEAL_CELL_EMPTY)) ||
                    (a == TEAL_CELL_EMPTY && b == TEAL_CELL_PRESENT))
          << a << " " << b;
}

}  // namespace
}  // namespace teal::flow::test
