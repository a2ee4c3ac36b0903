// SPDX-License-Identifier: Apache-2.0
// Taking over memory in which an XDP program goes on working: what is its own must stay, what a dead teald left must
// go.
#include "flow/recover.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "flow_fixture.h"
#include "mapped_memory.h"
#include "teal/xdp.h"

namespace teal::flow::test {
namespace {

constexpr uint32_t dead = 77;  // an earlier instance's word

class RecoverTest : public testing::Test {
 protected:
  MappedMemory memory{1024};

  void SetUp() override { Storage first(memory.mapped(false), 1024); }

  teal_flow_key key(uint32_t client) const { return teal_flow_key4(&memory.head().secret, client, 80, 1); }
  teal_bucket& first(const teal_flow_key& k) { return memory.buckets()[teal_bucket_first(k.hash, buckets())]; }
  teal_bucket& second(const teal_flow_key& k) { return memory.buckets()[teal_bucket_second(k.hash, buckets())]; }
  uint32_t& lock(const teal_flow_key& k) { return memory.locks()[teal_lock_index(k.hash, TEAL_LOCKS - 1)]; }
  [[nodiscard]] uint32_t buckets() const { return memory.head().buckets; }
  Recovered run(bool live) { return recover(memory.head(), memory.locks(), memory.buckets(), 2, live); }
};

TEST_F(RecoverTest, TheProgramsLocksAndClaimsAreLeftAlone) {
  const teal_flow_key k = key(1);
  lock(k) = TEAL_LOCK_XDP;
  first(k).key[2] = k.key;  // claimed, its value is on the way
  const Recovered done = run(true);
  EXPECT_EQ(lock(k), TEAL_LOCK_XDP);
  EXPECT_EQ(first(k).key[2], k.key);
  EXPECT_EQ(done.locks, 0u);
  EXPECT_EQ(done.slots, 0u);
}

TEST_F(RecoverTest, WithoutAProgramItsWordsAreThoseOfTheDead) {
  const teal_flow_key k = key(1);
  lock(k) = TEAL_LOCK_XDP;
  first(k).key[2] = k.key;
  const Recovered done = run(false);
  EXPECT_EQ(lock(k), 0u);
  EXPECT_EQ(first(k).key[2], 0u);
  EXPECT_EQ(done.locks, 1u);
  EXPECT_EQ(done.slots, 1u);
}

TEST_F(RecoverTest, LocksAndClaimsOfTheDeadGo) {
  const teal_flow_key k = key(1), other = key(2);
  lock(k) = dead;
  first(k).key[0] = k.key;
  lock(other) = TEAL_LOCK_XDP;
  const Recovered done = run(true);
  EXPECT_EQ(lock(k), 0u);
  EXPECT_EQ(first(k).key[0], 0u);
  EXPECT_EQ(lock(other), TEAL_LOCK_XDP);
  EXPECT_EQ(done.locks, 1u);
  EXPECT_EQ(done.slots, 1u);
}

TEST_F(RecoverTest, AClaimWhoseLockIsFreeIsALeftover) {
  const teal_flow_key k = key(1);
  first(k).key[1] = k.key;
  EXPECT_EQ(run(true).slots, 1u);
  EXPECT_EQ(first(k).key[1], 0u);
  EXPECT_EQ(lock(k), 0u);
}

TEST_F(RecoverTest, OfTwoCopiesUnderADeadLockTheSecondGoes) {
  const teal_flow_key twice = key(1);
  // The secret is drawn: of two keys taken blindly one in a hundred pairs would share a bucket.
  uint32_t client = 2;
  const auto apart = [&](const teal_flow_key& k) {
    return &first(k) != &first(twice) && &first(k) != &second(twice) && &second(k) != &first(twice) &&
           &second(k) != &second(twice) && &lock(k) != &lock(twice);
  };
  while (!apart(key(client))) client++;
  const teal_flow_key moving = key(client);
  lock(twice) = dead;
  lock(moving) = TEAL_LOCK_XDP;  // the program is between copying and freeing
  for (const auto& k : {twice, moving}) {
    first(k).key[3] = second(k).key[3] = k.key;
    first(k).val[3] = second(k).val[3] = value(k, 7);
  }
  EXPECT_EQ(run(true).copies, 1u);
  EXPECT_EQ(first(twice).val[3], value(twice, 7));
  EXPECT_EQ(second(twice).key[3], 0u);
  EXPECT_EQ(second(twice).val[3], 0u);
  EXPECT_EQ(second(moving).val[3], value(moving, 7));
}

// The program, by its protocol, but slow between claiming and storing: a recovery that took its claims for leftovers,
// or its locks for a dead one's, is seen by what it finds changed under its lock.
class SlowProgram {
 public:
  SlowProgram(MappedMemory& memory, std::vector<teal_flow_key> keys) : memory_(memory), keys_(std::move(keys)) {}

  void run(const std::stop_token& stop) {
    for (size_t i = 0; !stop.stop_requested(); i++) {
      const teal_flow_key& k = keys_[i % keys_.size()];
      uint32_t& word = memory_.locks()[teal_lock_index(k.hash, TEAL_LOCKS - 1)];
      if (!teal_lock_try(&word, TEAL_LOCK_XDP)) continue;
      turn(k);
      if (TEAL_LOAD(&word) != TEAL_LOCK_XDP) lost_locks++;
      teal_unlock(&word);
      rounds++;
    }
  }

  std::atomic<uint64_t> rounds{0}, lost_locks{0}, lost_claims{0};

 private:
  void turn(const teal_flow_key& k) {
    teal_bucket& b = memory_.buckets()[teal_bucket_first(k.hash, memory_.head().buckets)];
    uint64_t val = 0;
    if (const int slot = teal_bucket_find(&b, k.key, k.check, &val); slot >= 0) {
      TEAL_STORE(&b.val[slot], 0);
      wait();
      TEAL_STORE(&b.key[slot], 0);
      return;
    }
    for (int i = 0; i < TEAL_BUCKET_SLOTS; i++) {
      if (TEAL_LOAD(&b.key[i]) != 0 || !TEAL_CAS(&b.key[i], 0, k.key)) continue;
      wait();
      if (TEAL_LOAD(&b.key[i]) != k.key) lost_claims++;
      TEAL_STORE(&b.val[i], value(k, 7));
      return;
    }
  }
  static void wait() {
    for (int i = 0; i < 200; i++) __builtin_ia32_pause();
  }

  MappedMemory& memory_;
  const std::vector<teal_flow_key> keys_;
};

TEST_F(RecoverTest, AProgramThatWorksMeanwhileLosesNothing) {
  // One key a bucket: with what the dead one leaves in it, it never has more than it has slots, whatever the secret.
  std::vector<teal_flow_key> keys;
  for (uint32_t client = 1000; keys.size() < 64; client++) {
    const teal_flow_key k = key(client);
    if (std::none_of(keys.begin(), keys.end(), [&](const auto& other) { return &first(other) == &first(k); }))
      keys.push_back(k);
  }
  SlowProgram program(memory, keys);
  std::jthread thread([&](const std::stop_token& stop) { program.run(stop); });
  while (program.rounds == 0) std::this_thread::yield();
  Recovered all;
  for (uint32_t i = 0; i < 300; i++) {
    // What a dead one left, in keys that the program does not use: as it may be when the program is there, each under
    // its lock word.
    const teal_flow_key claimed = key(5000 + i), twice = key(9000 + i);
    if (!teal_lock_try(&lock(claimed), dead)) continue;
    if (!teal_lock_try(&lock(twice), dead)) {
      teal_unlock(&lock(claimed));
      continue;
    }
    EXPECT_TRUE(TEAL_CAS(&second(claimed).key[3], 0, claimed.key) || TEAL_CAS(&second(claimed).key[2], 0, claimed.key));
    EXPECT_GE(teal_bucket_claim(&first(twice), twice.key, value(twice, 3)), 0);
    EXPECT_GE(teal_bucket_claim(&second(twice), twice.key, value(twice, 3)), 0);
    const Recovered done = run(true);
    all.locks += done.locks;
    all.slots += done.slots;
    all.copies += done.copies;
    uint64_t val = 0;
    EXPECT_EQ(teal_bucket_find(&second(twice), twice.key, twice.check, &val), -1);
    const int kept = teal_bucket_find(&first(twice), twice.key, twice.check, &val);
    ASSERT_GE(kept, 0);
    teal_bucket_free(&first(twice), kept);
  }
  thread.request_stop();
  thread.join();
  EXPECT_EQ(program.lost_locks, 0u);
  EXPECT_EQ(program.lost_claims, 0u);
  EXPECT_GE(all.locks, 500u) << "the test itself did little";
  EXPECT_GE(all.slots, 250u);
  EXPECT_GE(all.copies, 250u);
  for (uint32_t i = 0; i < TEAL_LOCKS; i++) ASSERT_EQ(memory.locks()[i], 0u) << i;
  for (uint32_t i = 0; i < buckets(); i++)
    for (int j = 0; j < TEAL_BUCKET_SLOTS; j++)
      ASSERT_EQ(memory.buckets()[i].key[j] == 0, memory.buckets()[i].val[j] == 0) << i << " " << j;
}

}  // namespace
}  // namespace teal::flow::test
