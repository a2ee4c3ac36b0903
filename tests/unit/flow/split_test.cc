// SPDX-License-Identifier: Apache-2.0
// The split word, the points of flows and clients, and the Maglev slots they fall on.
#include "teal/split.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "flow_fixture.h"
#include "model/maglev.h"

namespace teal::flow::test {
namespace {

// How far a count of n draws at probability p may be from its mean: five standard deviations, once in 1.7 million runs
// of an honest generator; the inputs are fixed, so that it cannot flicker.
double bound(double n, double p) {
  return 5 * std::sqrt(n * p * (1 - p));
}

TEST(Split, TheWordsFieldsComeBack) {
  for (uint32_t share : {0u, 1u, 32768u, 65535u, TEAL_SPLIT_ALL})
    for (int draining : {0, 1})
      for (int active : {0, 1}) {
        const uint64_t w = teal_split_make((1ull << 40) - 1, share, draining, active);
        EXPECT_EQ(teal_split_share(w), share);
        EXPECT_EQ(teal_split_draining(w), draining);
        EXPECT_EQ(teal_split_active(w), active);
        EXPECT_EQ(teal_split_generation(w), (1ull << 40) - 1);
      }
}

TEST(Split, APointThatIsGreenStaysGreenAsTheShareGrows) {
  for (uint32_t point = 0; point < 65536; point += 7) {
    int before = TEAL_BLUE, changes = 0;
    for (uint32_t share = 0; share <= TEAL_SPLIT_ALL; share += 64) {
      const int now = teal_pool_of(teal_split_make(1, share, 0, 0), point);
      changes += now != before;
      before = now;
    }
    ASSERT_EQ(before, TEAL_GREEN);
    ASSERT_EQ(changes, 1) << point;
  }
  for (uint32_t point = 0; point < 65536; point++) {
    ASSERT_EQ(teal_pool_of(teal_split_make(1, 0, 0, 0), point), TEAL_BLUE);
    ASSERT_EQ(teal_pool_of(teal_split_make(1, TEAL_SPLIT_ALL, 0, 0), point), TEAL_GREEN);
    ASSERT_EQ(teal_pool_of(teal_split_make(1, point, 0, 0), point), TEAL_BLUE);
    ASSERT_EQ(teal_pool_of(teal_split_make(1, point + 1, 0, 0), point), TEAL_GREEN);
  }
}

TEST(Split, NeighbouringClientsGetTheShareThatIsAskedFor) {
  constexpr uint32_t clients = 200000;
  for (uint32_t share : {655u, 6554u, 32768u, 58982u}) {
    uint32_t green = 0;
    for (uint32_t i = 0; i < clients; i++)  // consecutive addresses, as a campus has them
      green +=
          teal_pool_of(teal_split_make(1, share, 0, 0), teal_point(&secret, teal_swap32(0x0a000000 + i))) == TEAL_GREEN;
    const double p = share / 65536.0;
    EXPECT_NEAR(green, clients * p, bound(clients, p)) << share;
  }
}

TEST(MaglevSlot, FlowsSpreadOverBackendsByWeight) {
  const std::vector<model::MaglevMember> members = {
      {"10.0.0.1:80", 1, 1}, {"10.0.0.2:80", 2, 1}, {"10.0.0.3:80", 3, 2}};
  const model::MaglevTable table = model::build_maglev(members);
  constexpr uint32_t flows = 200000;
  std::vector<uint32_t> got(4);
  for (uint32_t i = 0; i < flows; i++) {
    const auto key = teal_flow_key4(&secret, teal_swap32(0x0a000000 + i / 100),
                                    teal_swap16(static_cast<uint16_t>(30000 + i % 100)), 1);
    got[table[teal_maglev_slot(&secret, key.hash, 0, static_cast<uint32_t>(table.size()))]]++;
  }
  EXPECT_EQ(got[0], 0u);
  for (int i = 1; i <= 3; i++) {
    const double p = i == 3 ? 0.5 : 0.25;
    EXPECT_NEAR(got[static_cast<size_t>(i)], flows * p, bound(flows, p)) << "backend " << i;
  }
}

TEST(MaglevSlot, EveryAttemptDrawsAnew) {
  constexpr uint32_t flows = 100000, slots = 16;
  uint32_t same = 0;
  for (uint32_t i = 0; i < flows; i++) {
    const uint64_t hash = teal_hash64(&secret, i);
    ASSERT_LT(teal_maglev_slot(&secret, hash, 0, slots), slots);
    same += teal_maglev_slot(&secret, hash, 0, slots) == teal_maglev_slot(&secret, hash, 1, slots);
  }
  EXPECT_NEAR(same, flows / double{slots}, bound(flows, 1.0 / slots));
}

// Which backend of green a flow gets must not depend on its point: at a share of 1 % green's backends are filled
// evenly.
TEST(MaglevSlot, IsIndependentOfThePoint) {
  constexpr uint32_t slots = 8;
  std::vector<uint32_t> got(slots);
  uint32_t green = 0;
  for (uint32_t i = 0; i < 1000000; i++) {
    const auto key = key_of(teal_swap32(0x0a000000 + i));
    if (teal_point(&secret, key.key) >= 655) continue;
    green++;
    got[teal_maglev_slot(&secret, key.hash, 0, slots)]++;
  }
  for (uint32_t n : got) EXPECT_NEAR(n, green / double{slots}, bound(green, 1.0 / slots));
}

}  // namespace
}  // namespace teal::flow::test
