// SPDX-License-Identifier: Apache-2.0
#include "flow/recover.h"

#include <vector>

#include "teal/xdp.h"

namespace teal::flow {
namespace {

class Recovery {
 public:
  Recovery(const teal_head& head, uint32_t* locks, teal_bucket* buckets, uint32_t owner, bool live)
      : head_(head), locks_(locks), buckets_(buckets), owner_(owner), live_(live), mine_(TEAL_LOCKS) {}

  Recovered run() {
    for (uint32_t i = 0; i < TEAL_LOCKS; i++) take_over(i);
    for (uint32_t i = 0; i < head_.buckets; i++)
      for (int j = 0; j < TEAL_BUCKET_SLOTS; j++) look(i, j);
    for (uint32_t i = 0; i < TEAL_LOCKS; i++)
      if (mine_[i]) teal_unlock(&locks_[i]);
    return done_;
  }

 private:
  // A dead one's word changes for nobody but us: the program only takes words that are free.
  void take_over(uint32_t i) {
    const uint32_t word = TEAL_LOAD(&locks_[i]);
    if (word == 0 || (live_ && word == TEAL_LOCK_XDP) || !TEAL_CAS(&locks_[i], word, owner_)) return;
    mine_[i] = true;
    done_.locks++;
  }

  void look(uint32_t i, int j) {
    teal_bucket& b = buckets_[i];
    const uint64_t key = TEAL_LOAD(&b.key[j]);
    if (key == 0) return;
    const uint64_t val = TEAL_LOAD(&b.val[j]);
    if (val != 0 && done_.locks == 0) return;
    const uint64_t hash = teal_hash64(&head_.secret, key);
    const uint32_t lock = teal_lock_index(hash, TEAL_LOCKS - 1);
    if (val == 0)
      free_claim(b, j, key, lock);
    else if (mine_[lock] && teal_bucket_second(hash, head_.buckets) == i)
      free_copy(b, j, key, val, hash);
  }

  // A claim in flight looks the same, so its lock must be ours first, and a lock that another holds says: in flight.
  void free_claim(teal_bucket& b, int j, uint64_t key, uint32_t lock) {
    if (!mine_[lock] && !teal_lock_try(&locks_[lock], owner_)) return;
    if (TEAL_LOAD(&b.key[j]) == key && TEAL_LOAD(&b.val[j]) == 0) {
      TEAL_STORE(&b.key[j], 0);
      done_.slots++;
    }
    if (!mine_[lock]) teal_unlock(&locks_[lock]);
  }

  // A displacement cut short between copying and freeing leaves a key twice. The copy in the second bucket goes: left
  // alone it would answer for the old backend once the flow is over and the first copy begun anew.
  void free_copy(teal_bucket& b, int j, uint64_t key, uint64_t val, uint64_t hash) {
    uint64_t first = 0;
    if (teal_bucket_find(&buckets_[teal_bucket_first(hash, head_.buckets)], key, teal_val_check(val), &first) < 0)
      return;
    teal_bucket_free(&b, j);
    done_.copies++;
  }

  const teal_head& head_;
  uint32_t* locks_;
  teal_bucket* buckets_;
  const uint32_t owner_;
  const bool live_;
  std::vector<bool> mine_;  // by lock index: taken over
  Recovered done_;
};

}  // namespace

// A crash may have left: locks of the dead, slots claimed (K, 0) that never got their value, and keys twice. Only keys
// whose lock was held can be so. tests/model/table.pml, scene CRASH.
Recovered recover(const teal_head& head, uint32_t* locks, teal_bucket* buckets, uint32_t owner, bool live) {
  return Recovery(head, locks, buckets, owner, live).run();
}

}  // namespace teal::flow
