// SPDX-License-Identifier: Apache-2.0
#include "flow/storage.h"

#include <sys/mount.h>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <gtest/gtest.h>

#include <fstream>

#include "flow_fixture.h"

namespace teal::flow::test {
namespace {

std::string refusal(const Storage::Options& options) {
  try {
    Storage storage(options);
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "";
}

class StorageTest : public testing::Test {
 protected:
  TempDir dir;
  Storage::Options options{(dir.path / "sub" / "flows").string(), false, 4096};

  static Table table(Storage& s) { return {s.buckets(), s.head().buckets, s.locks(), s.owner()}; }
  static teal_flow_key key(const Storage& s, uint32_t client) {
    return teal_flow_key4(&s.head().secret, client, 80, 1);
  }
  static void enter(Storage& s, const teal_flow_key& k, uint16_t backend) {
    InsertCounts counts;
    uint64_t val = value(k, backend);
    ASSERT_EQ(table(s).insert(s.head().secret, k, &val, 0, 0, counts), Inserted::entered);
  }
};

TEST_F(StorageTest, RoomForEveryFlowAtALoadOfFourFifths) {
  EXPECT_EQ(Storage::bucket_count(4 << 20), (4u << 20) * 5 / 16);
  EXPECT_EQ(Storage::bucket_count(1), 2u);
  EXPECT_EQ(Storage::bucket_count(268435456), 83886080u);
}

TEST_F(StorageTest, AFreshTableIsEmptyAndDrawsItsSecret) {
  uint64_t mul[2];
  for (int i = 0; i < 2; i++) {
    Storage s(options);
    EXPECT_FALSE(s.taken_over());
    EXPECT_EQ(s.head().instance, 1u);
    EXPECT_EQ(s.head().magic, TEAL_MAGIC);
    EXPECT_EQ(s.head().secret.mul[0] & s.head().secret.mul[1] & 1, 1u) << "multipliers must be odd";
    mul[i] = s.head().secret.mul[0];
    std::filesystem::remove(options.file);
  }
  EXPECT_NE(mul[0], mul[1]);
}

TEST_F(StorageTest, TakeOverKeepsEntriesAndClearsWhatACrashLeft) {
  teal_flow_key kept, half;
  {
    Storage s(options);
    kept = key(s, 1);
    half = key(s, 2);
    enter(s, kept, 7);
    s.locks()[5] = s.locks()[60000] = 1;
    teal_bucket* b = table(s).first(half.hash);
    b->key[3] = half.key;
    s.splits()[1].current = 0x1234;
  }
  Storage s(options);
  EXPECT_TRUE(s.taken_over());
  EXPECT_EQ(s.head().instance, 2u);
  EXPECT_EQ(s.splits()[1].current, 0x1234u);
  uint64_t seen = 0;
  ASSERT_NE(table(s).find(kept, &seen), nullptr);
  EXPECT_EQ(seen, value(kept, 7));
  for (uint32_t i = 0; i < TEAL_LOCKS; i++) ASSERT_EQ(s.locks()[i], 0u) << i;
  EXPECT_EQ(table(s).first(half.hash)->key[3], 0u) << "a slot was lost";
}

// A displacement cut short leaves one key twice, under its lock. If both stayed, the flow's next life would be told two
// backends, by which copy a reader finds.
TEST_F(StorageTest, TakeOverLeavesOneCopyOfADisplacedEntry) {
  teal_flow_key twice, other;
  {
    Storage s(options);
    twice = key(s, 1);
    other = key(s, 2);
    table(s).first(twice.hash)->key[0] = table(s).second(twice.hash)->key[1] = twice.key;
    table(s).first(twice.hash)->val[0] = table(s).second(twice.hash)->val[1] = value(twice, 7, TEAL_FLOW_closed);
    table(s).second(other.hash)->key[2] = other.key;  // under its lock too, but in one place only
    table(s).second(other.hash)->val[2] = value(other, 8);
    s.locks()[teal_lock_index(twice.hash, TEAL_LOCKS - 1)] = s.locks()[teal_lock_index(other.hash, TEAL_LOCKS - 1)] = 1;
  }
  Storage s(options);
  Table t = table(s);
  uint64_t seen = 0;
  EXPECT_GE(teal_bucket_find(t.first(twice.hash), twice.key, twice.check, &seen), 0);
  EXPECT_EQ(teal_bucket_find(t.second(twice.hash), twice.key, twice.check, &seen), -1);
  EXPECT_EQ(t.second(twice.hash)->key[1], 0u);
  ASSERT_NE(t.find(other, &seen), nullptr);
  EXPECT_EQ(teal_val_backend(seen), 8);
}

TEST_F(StorageTest, AnotherBootsTableIsMadeAnew) {
  teal_flow_key k;
  {
    Storage s(options);
    k = key(s, 1);
    enter(s, k, 7);
    s.head().boot_id[3] ^= 1;
  }
  Storage s(options);
  EXPECT_FALSE(s.taken_over());
  EXPECT_EQ(s.head().instance, 1u);
  uint64_t seen = 0;
  EXPECT_EQ(table(s).find(k, &seen), nullptr);
  for (uint32_t i = 0; i < s.head().buckets; i++)
    for (uint64_t word : s.buckets()[i].key) ASSERT_EQ(word, 0u);
}

TEST_F(StorageTest, AHalfMadeTableIsMadeAgain) {
  {
    Storage s(options);
    s.head().magic = 0;
    s.buckets()[1].key[1] = 99;
  }
  Storage s(options);
  EXPECT_FALSE(s.taken_over());
  EXPECT_EQ(s.buckets()[1].key[1], 0u);
}

TEST_F(StorageTest, ASecondOpenerIsRefused) {
  Storage s(options);
  EXPECT_EQ(refusal(options), "flow table " + options.file + ": in use by another teald");
  EXPECT_EQ(s.head().magic, TEAL_MAGIC);
}

TEST_F(StorageTest, AnotherCapacityIsRefusedAndTheFileIsLeftAsItWas) {
  { Storage s(options); }
  const auto size = std::filesystem::file_size(options.file);
  Storage::Options larger = options;
  larger.flows = 1 << 20;
  const std::string why = refusal(larger);
  EXPECT_NE(why.find("holds " + std::to_string(size) + " bytes, expected "), std::string::npos) << why;
  EXPECT_NE(why.find("engine.flows 1048576"), std::string::npos) << why;
  EXPECT_EQ(std::filesystem::file_size(options.file), size);
  Storage::Options rounded = options;  // the same number of huge pages
  rounded.flows = 4100;
  EXPECT_NE(refusal(rounded).find("made for engine.flows 4096, expected 4100"), std::string::npos) << refusal(rounded);
  Storage s(options);
  EXPECT_TRUE(s.taken_over());
}

TEST_F(StorageTest, AnotherLayoutIsRefused) {
  {
    Storage s(options);
    s.head().layout = TEAL_LAYOUT + 1;
  }
  EXPECT_NE(
      refusal(options).find("layout " + std::to_string(TEAL_LAYOUT + 1) + ", expected " + std::to_string(TEAL_LAYOUT)),
      std::string::npos);
}

TEST_F(StorageTest, HugePagesAreAskedForByName) {
  options.hugepages = true;
  const std::string why = refusal(options);
  EXPECT_NE(why.find("not on hugetlbfs"), std::string::npos) << why;
  EXPECT_NE(why.find("engine.memory: ordinary"), std::string::npos) << why;
}

TEST_F(StorageTest, TooFewHugePagesAreSaidSo) {
  const std::string mount_point = (dir.path / "huge").string();
  std::filesystem::create_directory(mount_point);
  if (mount("none", mount_point.c_str(), "hugetlbfs", 0, nullptr) != 0)
    GTEST_SKIP() << "needs the right to mount a hugetlbfs: " << std::strerror(errno);
  const std::string place = mount_point + "/flows";
  const std::string why = refusal({place, true, 268435456});  // 5 GiB of table
  const bool left = std::filesystem::exists(place);
  umount(mount_point.c_str());
  EXPECT_NE(why.find("MiB of huge pages (vm.nr_hugepages): "), std::string::npos) << why;
  EXPECT_FALSE(left) << "what could not be had was left behind";
}

TEST_F(StorageTest, AFileThatCannotBeOpenedIsNamed) {
  options.file = dir.path.string();
  EXPECT_NE(refusal(options).find("flow table " + options.file + ": cannot open: "), std::string::npos);
}

}  // namespace
}  // namespace teal::flow::test
