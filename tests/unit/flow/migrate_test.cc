// SPDX-License-Identifier: Apache-2.0
#include "flow/migrate.h"

#include <gtest/gtest.h>

#include <cstring>
#include <iterator>
#include <stdexcept>

#include "flow/clock.h"
#include "flow_fixture.h"
#include "mapped_memory.h"
#include "teal/decide.h"

namespace teal::flow::test {
namespace {

std::string refusal(const MappedMemory& old, uint64_t bytes) {
  try {
    const Migration migration(old.base(), bytes, "old");
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "";
}

// As flow_fixture's value(), the moment in fine ticks.
uint64_t value_at(const teal_flow_key& key, uint16_t backend, uint8_t state, uint32_t now) {
  return teal_val(backend, TEAL_BLUE, 1, state, key.check, now);
}

class MigrateTest : public testing::Test {
 protected:
  MappedMemory old_memory{1024}, new_memory{4096};
  std::unique_ptr<Storage> old = std::make_unique<Storage>(old_memory.mapped(false), 1024);

  static Table table(Storage& s) { return {s.buckets(), s.head().buckets, s.locks(), s.owner()}; }
  teal_flow_key key(uint32_t client) const { return teal_flow_key4(&old->head().secret, client, 80, 1); }
  void enter(uint32_t client, uint16_t backend) {
    InsertCounts counts;
    uint64_t val = value(key(client), backend);
    ASSERT_EQ(table(*old).insert(old->head().secret, key(client), &val, 0, 0, counts), Inserted::entered);
  }
  static uint16_t backend_of(Storage& s, const teal_flow_key& k) {
    uint64_t val = 0;
    return table(s).find(k, &val) == nullptr ? 0 : teal_val_backend(val);
  }
};

TEST_F(MigrateTest, NumbersSplitsSecretClockAndEveryFlowGoAlong) {
  for (uint32_t i = 1; i <= 1000; i++) enter(i, static_cast<uint16_t>(i));
  old->splits()[3].current = 0x1234;
  std::strcpy(old->groups()[3].name, "web");
  old->services()[5].used = 1;
  old->backends()[60000].weight = 9;
  old->head().tick = boot_ticks() - (400000u << TEAL_FINE_SHIFT);
  old->head().instance = 12;

  Storage fresh(new_memory.mapped(false), 4096);
  const Migration migration(old_memory.base(), old_memory.bytes(), "old");
  migration.begin(fresh);
  Table to = table(fresh);
  const auto carried = migration.copy(fresh, to);
  EXPECT_EQ(carried.entries, 1000u);
  EXPECT_EQ(carried.lost, 0u);
  EXPECT_EQ(std::memcmp(&fresh.head().secret, &old->head().secret, sizeof(teal_secret)), 0);
  EXPECT_EQ(fresh.head().instance, 13u);
  EXPECT_EQ(fresh.head().capacity, 4096u);
  EXPECT_EQ(fresh.splits()[3].current, 0x1234u);
  EXPECT_STREQ(fresh.groups()[3].name, "web");
  EXPECT_EQ(fresh.services()[5].used, 1u);
  EXPECT_EQ(fresh.backends()[60000].weight, 9u);
  EXPECT_LE(fresh.now() - old->head().tick, 2u * TEAL_FINE_TICKS_PER_S) << "flows would have aged";
  for (uint32_t i = 1; i <= 1000; i++) ASSERT_EQ(backend_of(fresh, key(i)), i);
}

// While draining, a flow without an entry goes by the previous split; between the copies it is one of the current's.
TEST_F(MigrateTest, BetweenTheCopiesTheCurrentSplitRecoversFlows) {
  const uint64_t blue = teal_split_make(1, 0, 0, TEAL_BLUE);
  const uint64_t green = teal_split_make(2, TEAL_SPLIT_ALL, 1, TEAL_GREEN);
  old->splits()[3] = {green, blue};
  old->splits()[4] = {green, blue};
  Storage fresh(new_memory.mapped(false), 4096);
  const Migration migration(old_memory.base(), old_memory.bytes(), "old");
  migration.begin(fresh);
  const teal_split& split = fresh.splits()[3];
  EXPECT_EQ(teal_deciding_split(TEAL_ACT_RECOVER, split.current, split.previous), green);
  fresh.splits()[4] = {blue, green};  // the new configuration begins this group anew
  migration.end(fresh);
  EXPECT_EQ(split.current, green);
  EXPECT_EQ(split.previous, blue);
  EXPECT_EQ(fresh.splits()[4].previous, green);
}

TEST_F(MigrateTest, TheSecondTimeOnlyWhatIsMissing) {
  enter(1, 11);
  Storage fresh(new_memory.mapped(false), 4096);
  const Migration migration(old_memory.base(), old_memory.bytes(), "old");
  migration.begin(fresh);
  Table to = table(fresh);
  EXPECT_EQ(migration.copy(fresh, to).entries, 1u);
  enter(2, 12);  // while the program worked in the old table
  EXPECT_EQ(migration.copy(fresh, to).entries, 1u);
  EXPECT_EQ(backend_of(fresh, key(1)), 11);
  EXPECT_EQ(backend_of(fresh, key(2)), 12);
}

// What the old table and the new one have written to an entry since the first copy, and what it must then be.
TEST_F(MigrateTest, TheSecondTimeEntriesFollowTheOldTable) {
  struct Case {
    uint8_t old, here;  // TEAL_FLOW_none: not written there since
    uint8_t expect;
  };
  const Case cases[] = {{TEAL_FLOW_closing, TEAL_FLOW_none, TEAL_FLOW_closing},
                        {TEAL_FLOW_fin_client, TEAL_FLOW_none, TEAL_FLOW_fin_client},
                        {TEAL_FLOW_none, TEAL_FLOW_closing, TEAL_FLOW_closing},
                        {TEAL_FLOW_none, TEAL_FLOW_fin_client, TEAL_FLOW_fin_client},
                        {TEAL_FLOW_closed, TEAL_FLOW_established, TEAL_FLOW_closed},
                        {TEAL_FLOW_fin_client, TEAL_FLOW_established, TEAL_FLOW_fin_client},
                        {TEAL_FLOW_fin_client, TEAL_FLOW_fin_backend, TEAL_FLOW_closing},
                        {TEAL_FLOW_closing, TEAL_FLOW_syn, TEAL_FLOW_syn},
                        {TEAL_FLOW_closing, TEAL_FLOW_syn_ack, TEAL_FLOW_syn_ack}};
  for (uint32_t i = 0; i < std::size(cases); i++) enter(i + 1, 11);
  const uint32_t rested = old->head().tick;
  Storage fresh(new_memory.mapped(false), 4096);
  const Migration migration(old_memory.base(), old_memory.bytes(), "old");
  migration.begin(fresh);
  Table before = table(*old), to = table(fresh);
  migration.copy(fresh, to);
  EXPECT_GT(fresh.head().tick, rested + 1) << "stamps do not tell the tables apart";
  uint64_t val = 0;
  for (uint32_t i = 0; i < std::size(cases); i++) {
    const teal_flow_key k = key(i + 1);
    if (cases[i].old != TEAL_FLOW_none) *before.find(k, &val) = value_at(k, 11, cases[i].old, rested);
    if (cases[i].here != TEAL_FLOW_none) *to.find(k, &val) = value_at(k, 11, cases[i].here, fresh.head().tick);
  }
  EXPECT_EQ(migration.copy(fresh, to).entries, 0u);
  for (uint32_t i = 0; i < std::size(cases); i++) {
    ASSERT_NE(to.find(key(i + 1), &val), nullptr);
    EXPECT_EQ(teal_val_state(val), cases[i].expect) << "case " << i;
  }
}

TEST_F(MigrateTest, TheSecondTimeAnEntryOfAnotherBackendStays) {
  enter(1, 11);
  Storage fresh(new_memory.mapped(false), 4096);
  const Migration migration(old_memory.base(), old_memory.bytes(), "old");
  migration.begin(fresh);
  Table to = table(fresh);
  migration.copy(fresh, to);
  uint64_t val = 0;
  *to.find(key(1), &val) = value_at(key(1), 99, TEAL_FLOW_established, fresh.head().tick);
  *table(*old).find(key(1), &val) = value_at(key(1), 11, TEAL_FLOW_closing, old->head().tick);
  migration.copy(fresh, to);
  EXPECT_EQ(to.find(key(1), &val) != nullptr, true);
  EXPECT_EQ(teal_val_backend(val), 99);
  EXPECT_EQ(teal_val_state(val), TEAL_FLOW_established);
}

TEST_F(MigrateTest, EntriesOfTheLayoutBeforeAreTurnedIntoThisOnes) {
  // Layout 1: 14 check bits (the highest is the data bit now), the clock and every stamp in ticks of 1/16 s.
  constexpr uint32_t rested = 5000;
  const auto of_layout_1 = [&](uint16_t backend, uint8_t state, uint16_t check) {
    return uint64_t{backend} << 48 | uint64_t{1} << 42 | uint64_t{state} << 38 | TEAL_VAL_DATA | uint64_t{check} << 24 |
           (rested - 160);
  };
  enter(1, 11);
  enter(2, 12);
  uint64_t val = 0;
  Table before = table(*old);
  *before.find(key(1), &val) = of_layout_1(11, TEAL_FLOW_established, key(1).check);
  *before.find(key(2), &val) = of_layout_1(12, TEAL_FLOW_syn, key(2).check);
  old->head().layout = 1;
  old->head().tick = rested;
  Storage fresh(new_memory.mapped(false), 4096);
  const Migration migration(old_memory.base(), old_memory.bytes(), "old");
  migration.begin(fresh);
  Table to = table(fresh);
  EXPECT_EQ(migration.copy(fresh, to).entries, 2u);
  ASSERT_NE(to.find(key(1), &val), nullptr);
  EXPECT_EQ(teal_val_backend(val), 11);
  EXPECT_EQ(teal_val_state(val), TEAL_FLOW_established);
  EXPECT_TRUE(val & TEAL_VAL_DATA) << "taken for granted: its reset is no early one";
  EXPECT_NEAR(teal_val_age(val, fresh.now()), 160 + 2, 16);
  ASSERT_NE(to.find(key(2), &val), nullptr);
  EXPECT_LE(teal_val_age(val, fresh.now()), 16u) << "a handshake gets its time again";
  EXPECT_FALSE(val & TEAL_VAL_DATA);
}

TEST_F(MigrateTest, WhatHasNoRoomIsCounted) {
  old = nullptr;
  MappedMemory large(4096), small(1);  // 2 buckets
  old = std::make_unique<Storage>(large.mapped(false), 4096);
  for (uint32_t i = 1; i <= 20; i++) enter(i, 1);
  Storage fresh(small.mapped(false), 1);
  const Migration migration(large.base(), large.bytes(), "old");
  migration.begin(fresh);
  Table to = table(fresh);
  const auto carried = migration.copy(fresh, to);
  EXPECT_EQ(carried.entries, 8u);
  EXPECT_EQ(carried.lost, 12u);
}

TEST_F(MigrateTest, HalfClaimedSlotsStayBehind) {
  old->buckets()[1].key[0] = key(1).key;
  Storage fresh(new_memory.mapped(false), 4096);
  const Migration migration(old_memory.base(), old_memory.bytes(), "old");
  migration.begin(fresh);
  Table to = table(fresh);
  EXPECT_EQ(migration.copy(fresh, to).entries, 0u);
}

TEST_F(MigrateTest, WhatIsNoTableIsRefused) {
  EXPECT_EQ(refusal(old_memory, 4096),
            "old: holds no flow table, expected one to carry flows over from; teald --detach gives its flows up");
  EXPECT_NE(refusal(old_memory, TEAL_AT_SETTLED(320) - 64).find("old: has 320 buckets in "), std::string::npos);
  old->head().layout = 99;
  EXPECT_NE(refusal(old_memory, old_memory.bytes()).find("old: layout 99, expected one that this teald can read (1"),
            std::string::npos);
  old->head().magic = 0;
  EXPECT_NE(refusal(old_memory, old_memory.bytes()).find("old: holds no flow table"), std::string::npos);
}

}  // namespace
}  // namespace teal::flow::test
