// SPDX-License-Identifier: Apache-2.0
#include "flow/table.h"

namespace teal::flow {
void Table::attend(uint64_t hash) const {
  const teal_reach r = reach(nullptr);
  teal_attend_both(&r, hash);
}

bool Table::remove(const teal_secret& secret, teal_bucket* b, int slot, uint64_t key, uint64_t expect) {
  uint32_t* word = lock_word(teal_hash64(&secret, key));
  if (!teal_lock_try(word, owner_)) return false;
  bool gone = false;
  if (TEAL_LOAD(&b->key[slot]) == key && TEAL_CAS(&b->val[slot], expect, 0)) {
    TEAL_STORE(&b->key[slot], 0);
    gone = true;
  }
  teal_unlock(word);
  return gone;
}

bool Table::set_state(const teal_secret& secret, teal_bucket* b, int slot, uint64_t key, uint8_t state, uint32_t now) {
  const uint32_t index = teal_lock_index(teal_hash64(&secret, key), TEAL_LOCKS - 1);
  const teal_reach r = reach(&secret);
  bool locked = false, done = false;
  for (int i = 0; i < 16 && !locked; i++) locked = teal_lock(&r, index) != 0;  // nobody asks again
  if (!locked) return false;
  for (int i = 0; i < 64 && !done; i++) {
    const uint64_t v = TEAL_LOAD(&b->val[slot]);
    if (v == 0 || TEAL_LOAD(&b->key[slot]) != key) break;
    uint64_t next = (v & ~(15ull << 38)) | static_cast<uint64_t>(state) << 38;
    if (teal_state_is_fine(teal_val_state(v)) != teal_state_is_fine(state))  // stamps of two kinds
      next = (next & ~uint64_t{TEAL_STAMP_MASK}) | teal_stamp(state, now);
    done = TEAL_CAS(&b->val[slot], v, next);
  }
  if (done) teal_attend(&r, static_cast<uint32_t>(b - buckets_));
  teal_release(&r, index);
  return done;
}

}  // namespace teal::flow
