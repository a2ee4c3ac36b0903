// SPDX-License-Identifier: Apache-2.0
#include "flow/sweep.h"

#include <gtest/gtest.h>

#include "flow_fixture.h"

namespace teal::flow::test {
namespace {

constexpr uint32_t limit[TEAL_TIMEOUTS] = {160, 57600, 170, 960, 3000};

std::vector<Ageing> ageing(size_t services) {
  std::vector<Ageing> out(services);
  for (size_t i = 1; i < services; i++) std::copy(std::begin(limit), std::end(limit), out[i].timeout.begin());
  return out;
}

void put(Memory& m, const teal_flow_key& key, uint64_t val) {
  InsertCounts counts;
  ASSERT_EQ(m.table.insert(secret, key, &val, 0, 0, counts), Inserted::entered);
}

bool there(const Memory& m, const teal_flow_key& key) {
  uint64_t seen = 0;
  return m.table.find(key, &seen) != nullptr;
}

TEST(Sweep, EveryStateLivesByItsTimeoutToTheTick) {
  for (uint8_t state = TEAL_FLOW_syn; state < TEAL_FLOW_STATE_COUNT; state++)
    for (uint32_t begin : {0u, 1000u, 0xfffff0u}) {  // the last wraps within the timeout
      Memory m(16);
      Sweeper sweeper(m.table, secret);
      const uint32_t lives = limit[teal_state_timeout(state)];
      put(m, key_of(1), value(key_of(1), 5, state, begin));
      ASSERT_TRUE(sweeper.step(16, at(begin + lives), ageing(2)));
      EXPECT_TRUE(there(m, key_of(1))) << "state " << int{state} << " begin " << begin;
      EXPECT_EQ(sweeper.census().by_backend[5][state], state == TEAL_FLOW_affinity ? 0u : 1u);
      EXPECT_EQ(sweeper.census().pinned[1][0], state == TEAL_FLOW_affinity ? 1u : 0u);
      ASSERT_TRUE(sweeper.step(16, at(begin + lives + 1), ageing(2)));
      EXPECT_FALSE(there(m, key_of(1))) << "state " << int{state} << " begin " << begin;
      EXPECT_EQ(sweeper.census().expired, 1u);
      EXPECT_EQ(sweeper.census().entries, 0u);
      EXPECT_EQ(m.audit(), 0);
    }
}

TEST(Sweep, EstablishedFlowsOfAPoolAreKeptHoweverIdle) {
  Memory m(64);
  Sweeper sweeper(m.table, secret);
  auto age = ageing(2);
  age[1].keep_idle[TEAL_BLUE] = true;
  put(m, key_of(1), value(key_of(1), 5, TEAL_FLOW_established, 0, TEAL_BLUE));
  put(m, key_of(2), value(key_of(2), 5, TEAL_FLOW_established, 0, TEAL_GREEN));
  put(m, key_of(3), value(key_of(3), 5, TEAL_FLOW_closed, 0, TEAL_BLUE));
  ASSERT_TRUE(sweeper.step(64, at(limit[TEAL_TIMEOUT_established] + 1), age));
  EXPECT_TRUE(there(m, key_of(1)));
  EXPECT_FALSE(there(m, key_of(2))) << "the other pool's";
  EXPECT_FALSE(there(m, key_of(3))) << "it is over";
  ASSERT_TRUE(sweeper.step(64, at(limit[TEAL_TIMEOUT_established] + 1), ageing(2)));
  EXPECT_FALSE(there(m, key_of(1))) << "no longer kept";
}

TEST(Sweep, TheTimeoutsOfTheStates) {
  using T = teal_timeout;
  const T want[TEAL_FLOW_STATE_COUNT] = {TEAL_TIMEOUT_established, TEAL_TIMEOUT_half_open,   TEAL_TIMEOUT_half_open,
                                         TEAL_TIMEOUT_established, TEAL_TIMEOUT_established, TEAL_TIMEOUT_established,
                                         TEAL_TIMEOUT_closing,     TEAL_TIMEOUT_closing,     TEAL_TIMEOUT_udp,
                                         TEAL_TIMEOUT_udp,         TEAL_TIMEOUT_established, TEAL_TIMEOUT_established,
                                         TEAL_TIMEOUT_affinity};
  for (uint8_t state = 1; state < TEAL_FLOW_STATE_COUNT; state++)
    EXPECT_EQ(teal_state_timeout(state), want[state]) << int{state};
}

TEST(Sweep, TheCensusCountsByBackendServicePoolAndState) {
  Memory m(4096);
  Sweeper sweeper(m.table, secret);
  uint32_t client = 0;
  uint64_t total = 0;
  for (uint16_t service = 1; service <= 3; service++)
    for (uint8_t pool : {TEAL_BLUE, TEAL_GREEN})
      for (uint8_t state = TEAL_FLOW_syn; state < TEAL_FLOW_affinity; state++)
        for (unsigned n = 0; n < service * 10u + pool * 5u + state; n++, total++) {
          const auto key = key_of(++client, service);
          put(m, key, value(key, static_cast<uint16_t>(service * 10 + pool), state, 0, pool));
        }
  int slices = 1;
  while (!sweeper.step(96, 1, ageing(4))) slices++;
  EXPECT_EQ(slices, 43);
  EXPECT_EQ(sweeper.walks(), 1u);
  const Census& c = sweeper.census();
  EXPECT_EQ(c.entries, total);
  for (unsigned service = 1; service <= 3; service++)
    for (unsigned pool = 0; pool < 2; pool++) {
      uint64_t sum = 0;
      for (unsigned state = 1; state < TEAL_FLOW_affinity; state++) {
        EXPECT_EQ(c.by_backend[service * 10 + pool][state], service * 10 + pool * 5 + state);
        sum += service * 10 + pool * 5 + state;
      }
      EXPECT_EQ(c.by_service[service][pool], sum);
    }
  while (!sweeper.step(1000, 1, ageing(4))) {
  }
  EXPECT_EQ(sweeper.census().entries, total) << "a second walk begins at nothing";
}

TEST(Sweep, EntriesOfNoServiceGo) {
  Memory m(16);
  Sweeper sweeper(m.table, secret);
  put(m, key_of(1, 1), value(key_of(1, 1), 1));
  put(m, key_of(1, 9), value(key_of(1, 9), 1));
  ASSERT_TRUE(sweeper.step(16, 0, ageing(4)));
  EXPECT_TRUE(there(m, key_of(1, 1)));
  EXPECT_FALSE(there(m, key_of(1, 9)));
  EXPECT_EQ(sweeper.expired(), 1u);
}

TEST(Sweep, ASlotBeingClaimedIsLeftAlone) {
  Memory m(16);
  Sweeper sweeper(m.table, secret);
  teal_bucket* b = m.table.first(key_of(1).hash);
  b->key[2] = key_of(1).key;
  ASSERT_TRUE(sweeper.step(16, 0, {}));
  EXPECT_EQ(b->key[2], key_of(1).key);
  EXPECT_EQ(sweeper.census().entries, 0u);
}

TEST(Sweep, VisitSeesEachLiveEntryOnceAndStopsWhenTold) {
  Memory m(64);
  for (uint32_t i = 1; i <= 20; i++) put(m, key_of(i), value(key_of(i), static_cast<uint16_t>(i)));
  std::vector<int> met(21);
  Sweeper::visit(m.table, [&](uint64_t key, uint64_t val, teal_bucket* b, int slot) {
    EXPECT_EQ(b->key[slot], key);
    met[teal_val_backend(val)]++;
    return true;
  });
  for (int i = 1; i <= 20; i++) EXPECT_EQ(met[static_cast<size_t>(i)], 1) << i;
  int calls = 0;
  Sweeper::visit(m.table, [&](uint64_t, uint64_t, teal_bucket*, int) { return ++calls < 5; });
  EXPECT_EQ(calls, 5);
}

}  // namespace
}  // namespace teal::flow::test
