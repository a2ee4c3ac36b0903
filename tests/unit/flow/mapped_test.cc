// SPDX-License-Identifier: Apache-2.0
// Storage over memory that somebody else mapped, and its clock.
#include <gtest/gtest.h>

#include "flow/clock.h"
#include "flow_fixture.h"
#include "mapped_memory.h"
#include "teal/xdp.h"

namespace teal::flow::test {
namespace {

std::string refusal(const Storage::Mapped& memory, uint64_t flows) {
  try {
    Storage storage(memory, flows);
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "";
}

Table table(Storage& s) {
  return {s.buckets(), s.head().buckets, s.locks(), s.owner()};
}

constexpr uint64_t flows = 4096;

TEST(Mapped, IsOfTheSizeThatBytesForSays) {
  EXPECT_EQ(Storage::bytes_for(flows), TEAL_AT_BUCKETS + 1280 * 64 + 4096 * 4 + 1280 / 256 * 64);
  EXPECT_EQ(Storage::bytes_for(1024) % 64, 0u);
  const MappedMemory memory(1024);
  EXPECT_EQ(refusal(memory.mapped(false), flows), "the table: holds " + std::to_string(memory.bytes()) +
                                                      " bytes, expected " + std::to_string(Storage::bytes_for(flows)) +
                                                      " for engine.flows 4096");
}

TEST(Mapped, BeginsInZeroesAndIsTakenOverWithItsFlows) {
  const MappedMemory memory(flows);
  teal_flow_key k;
  uint32_t owner = 0;
  {
    Storage s(memory.mapped(false), flows);
    EXPECT_FALSE(s.taken_over());
    EXPECT_EQ(s.head().magic, TEAL_MAGIC);
    EXPECT_EQ(s.head().capacity, flows);
    k = teal_flow_key4(&s.head().secret, 1, 80, 1);
    uint64_t val = value(k, 7);
    InsertCounts counts;
    EXPECT_EQ(table(s).insert(s.head().secret, k, &val, 0, 0, counts), Inserted::entered);
    owner = s.owner();
    s.locks()[9] = owner;  // and dies
    s.locks()[10] = TEAL_LOCK_XDP;
  }
  EXPECT_EQ(memory.locks()[9], owner) << "the memory was to outlive the Storage";
  Storage s(memory.mapped(true), flows);
  EXPECT_TRUE(s.taken_over());
  EXPECT_NE(s.owner(), owner);
  EXPECT_EQ(s.locks()[9], 0u);
  EXPECT_EQ(s.locks()[10], TEAL_LOCK_XDP);
  uint64_t val = 0;
  ASSERT_NE(table(s).find(k, &val), nullptr);
  EXPECT_EQ(teal_val_backend(val), 7);
}

TEST(Mapped, AnotherCapacityLayoutOrBootIsRefusedWithWhatToDo) {
  const MappedMemory memory(flows);
  { Storage s(memory.mapped(false), flows); }
  EXPECT_EQ(refusal(memory.mapped(true), 1024),
            "the table: made for engine.flows 4096, expected 1024; teald --migrate carries its flows over, teald "
            "--detach gives them up, or set engine.flows back");
  memory.head().boot_id[0] ^= 1;
  EXPECT_NE(refusal(memory.mapped(true), flows).find("the table: made before the last boot"), std::string::npos);
  memory.head().boot_id[0] ^= 1;
  memory.head().layout = TEAL_LAYOUT + 1;
  EXPECT_EQ(refusal(memory.mapped(true), flows)
                .find("the table: layout " + std::to_string(TEAL_LAYOUT + 1) + ", expected " +
                      std::to_string(TEAL_LAYOUT) + "; teald --migrate"),
            0u);
}

TEST(Mapped, AnOwnerIsNeverNobodyAndNeverTheProgram) {
  const MappedMemory memory(1024);
  Storage s(memory.mapped(false), 1024);
  for (uint64_t instance : {0ull, 1ull, 0xfffffffdull, 0xfffffffeull, 0xffffffffull, 0x100000000ull}) {
    s.head().instance = instance;
    EXPECT_NE(s.owner(), 0u) << instance;
    EXPECT_NE(s.owner(), TEAL_LOCK_XDP) << instance;
    const uint32_t owner = s.owner();
    s.head().instance = instance + 1;
    EXPECT_NE(s.owner(), owner) << instance;
  }
}

TEST(Mapped, TimeWithoutATealdAgesNoFlow) {
  const MappedMemory memory(1024);
  { Storage s(memory.mapped(false), 1024); }
  const uint32_t stood = boot_ticks() - (500000u << TEAL_FINE_SHIFT);  // nobody has written the clock for nine hours
  memory.head().tick = stood;
  Storage s(memory.mapped(true), 1024);
  EXPECT_LE(s.now() - stood, 2u * TEAL_FINE_TICKS_PER_S);
  EXPECT_EQ(s.head().tick, stood) << "the program's stamps must not jump";
  const uint32_t before = s.now();
  while (s.now() == before) {
  }
  EXPECT_LE(s.now() - before, TEAL_FINE_TICKS_PER_S) << "the clock stands still or leaps";
}

TEST(Mapped, TheClockOfANewTableIsTheKernels) {
  const MappedMemory memory(1024);
  Storage s(memory.mapped(false), 1024);
  EXPECT_LE(boot_ticks() - s.now(), 16u);
}

}  // namespace
}  // namespace teal::flow::test
