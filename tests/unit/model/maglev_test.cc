// SPDX-License-Identifier: Apache-2.0
#include "model/maglev.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace teal::model;
using Members = std::vector<MaglevMember>;

Members members(unsigned count, uint32_t weight = 1) {
  Members out;
  for (unsigned i = 0; i < count; ++i)
    out.push_back({"10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + ":80",
                   static_cast<uint16_t>(i + 1), weight});
  return out;
}

// By how many slots a member is off its due, at worst.
double worst_slots_off(const Members& list) {
  const MaglevTable table = build_maglev(list);
  EXPECT_EQ(table.size(), maglev_slots);
  std::map<uint16_t, double> slots;
  for (const uint16_t number : table) slots[number] += 1;
  double sum = 0, worst = 0, named = 0;
  for (const MaglevMember& m : list) sum += m.weight;
  for (const MaglevMember& m : list) {
    worst = std::max(worst, std::abs(slots[m.number] - maglev_slots * m.weight / sum));
    named += slots[m.number];
  }
  EXPECT_EQ(named, maglev_slots) << "slots that name nobody, or a stranger";
  return worst;
}

double share(const Members& list, size_t index) {
  double sum = 0;
  for (const MaglevMember& m : list) sum += m.weight;
  return sum == 0 ? 0 : list[index].weight / sum;
}

TEST(Maglev, NobodyGivesNoTable) {
  EXPECT_TRUE(build_maglev({}).empty());
  EXPECT_TRUE(build_maglev(members(3, 0)).empty());
}

TEST(Maglev, OneGetsAll) {
  for (const uint32_t weight : {1u, 7u, 65535u}) {
    const MaglevTable table = build_maglev(members(1, weight));
    EXPECT_EQ(table, MaglevTable(maglev_slots, 1));
  }
}

TEST(Maglev, WithoutWeightNoSlot) {
  Members list = members(5);
  list[2].weight = 0;
  const MaglevTable table = build_maglev(list);
  EXPECT_EQ(std::count(table.begin(), table.end(), 3), 0);
  list.erase(list.begin() + 2);
  EXPECT_EQ(build_maglev(list), table) << "as if it were not there";
}

TEST(Maglev, EqualSharesToTheSlot) {
  for (const unsigned n : {2u, 3u, 7u, 10u, 100u, 655u, 1000u, 20000u}) EXPECT_LE(worst_slots_off(members(n)), 1) << n;
}

TEST(Maglev, WeightedSharesWithinTwoSlots) {
  std::mt19937 random(1);
  for (const unsigned n : {2u, 5u, 20u, 100u, 300u})
    for (const uint32_t largest : {3u, 100u, 65535u}) {
      Members list = members(n);
      for (MaglevMember& m : list) m.weight = random() % largest + 1;
      EXPECT_LE(worst_slots_off(list), 2) << n << " members, weights to " << largest;
    }
  Members uneven = members(2);
  uneven[0].weight = 65535;
  EXPECT_LE(worst_slots_off(uneven), 1);
}

TEST(Maglev, OnlyTheRatioOfWeightsMatters) {
  EXPECT_EQ(build_maglev(members(9, 1)), build_maglev(members(9, 250)));
}

TEST(Maglev, OrderOfTheListDoesNotMatter) {
  std::mt19937 random(2);
  Members list = members(40);
  for (MaglevMember& m : list) m.weight = random() % 10 + 1;
  const MaglevTable table = build_maglev(list);
  for (int round = 0; round < 3; ++round) {
    std::shuffle(list.begin(), list.end(), random);
    EXPECT_EQ(build_maglev(list), table);
  }
}

TEST(Maglev, NumbersDoNotMatter) {
  Members list = members(40);
  const MaglevTable table = build_maglev(list);
  for (MaglevMember& m : list) m.number = static_cast<uint16_t>(5000 - m.number);
  MaglevTable renumbered = build_maglev(list);
  for (uint16_t& number : renumbered) number = static_cast<uint16_t>(5000 - number);
  EXPECT_EQ(renumbered, table);
}

// Every host, and a later teald over the same flow table, must build the same table: a golden one, by its FNV-1a.
TEST(Maglev, StaysAsItIs) {
  Members list = members(10);
  list[4].weight = 3;
  uint64_t sum = 0xcbf29ce484222325ull;
  for (const uint16_t number : build_maglev(list)) sum = (sum ^ number) * 0x100000001b3ull;
  EXPECT_EQ(sum, 8449394534509550519ull);
}

// A change moves the slots it must: the share of who goes, the share that who comes is due. What it moves beyond is the
// disturbance, and has to stay small.
struct Change {
  const char* name;
  void (*make)(Members&, size_t);
};

TEST(Maglev, ChangesDisturbLittleBeyondWhatTheyMust) {
  const Change changes[] = {
      {"remove", [](Members& list, size_t i) { list.erase(list.begin() + static_cast<long>(i)); }},
      {"set weight 0", [](Members& list, size_t i) { list[i].weight = 0; }},
      {"halve weight", [](Members& list, size_t i) { list[i].weight /= 2; }},
      {"double weight", [](Members& list, size_t i) { list[i].weight *= 2; }},
      {"lower weight by 1 %", [](Members& list, size_t i) { list[i].weight -= list[i].weight / 100; }},
  };
  for (const unsigned n : {2u, 10u, 20u, 50u, 100u, 1000u}) {
    const Members before = members(n, 100);
    const MaglevTable table = build_maglev(before);
    for (const Change& change : changes)
      for (size_t i = 0; i < n; i += std::max(1u, n / 8)) {
        Members after = before;
        change.make(after, i);
        const double now = after.size() == n ? share(after, i) : 0;
        const double must = std::abs(now - 1.0 / n);
        // As seen from either side, so that adding one is measured by removing it.
        const double moved = maglev_difference(table, build_maglev(after));
        EXPECT_GE(moved, must - 2.0 / maglev_slots) << change.name << " of " << n;
        EXPECT_LT(moved - must, 0.015) << change.name << " of " << n;
      }
  }
}

TEST(Maglev, DifferenceCountsSlots) {
  MaglevTable a(100, 1), b = a;
  EXPECT_EQ(maglev_difference(a, b), 0);
  b[0] = b[50] = 2;
  EXPECT_DOUBLE_EQ(maglev_difference(a, b), 0.02);
  EXPECT_EQ(maglev_difference(a, {}), 1);
  EXPECT_EQ(maglev_difference({}, a), 1);
  EXPECT_EQ(maglev_difference({}, {}), 0);
}

}  // namespace
