// SPDX-License-Identifier: Apache-2.0
#include "flow/table.h"

#include <array>

namespace teal::flow {
namespace {

// A lock is held for some tens of nanoseconds, unless its holder lost its CPU: then about 100 us are waited.
constexpr int lock_tries = 4000;
// An entry that may give way and was not seen for this long goes before a search two moves deep is made: under a SYN
// flood the table is full of them, and the search would cost more than the flood.
constexpr uint32_t stale_ticks = TEAL_TICKS_PER_S;

void pause() {
  __builtin_ia32_pause();
}

}  // namespace

bool Table::lock(uint32_t* word) const {
  for (int i = 0; i < lock_tries; i++) {
    if (teal_lock_try(word, owner_)) return true;
    pause();
  }
  return false;
}

uint64_t* Table::find(const teal_flow_key& key, uint64_t* val) const {
  teal_bucket* b = first(key.hash);
  int slot = teal_bucket_find(b, key.key, key.check, val);
  if (slot >= 0) return &b->val[slot];
  b = second(key.hash);
  slot = teal_bucket_find(b, key.key, key.check, val);
  return slot >= 0 ? &b->val[slot] : nullptr;
}

Inserted Table::insert(const teal_secret& secret, const teal_flow_key& key, uint64_t* val, uint64_t replace,
                       uint32_t now, InsertCounts& counts) {
  uint32_t* word = lock_of(key.hash);
  if (!lock(word)) return Inserted::busy;

  Inserted result = Inserted::no_room;
  uint64_t there = 0;
  if (uint64_t* slot = find(key, &there); slot != nullptr) {
    // Only the entry that was judged may be replaced; last-seen and state may have moved on meanwhile, backend not.
    const bool same = replace != 0 && teal_val_backend(there) == teal_val_backend(replace) &&
                      teal_val_generation(there) == teal_val_generation(replace) &&
                      teal_val_state(there) == teal_val_state(replace);
    if (same && TEAL_CAS(slot, there, *val)) {
      result = Inserted::replaced;
    } else {
      *val = TEAL_LOAD(slot);
      result = *val != 0 ? Inserted::found : Inserted::no_room;
    }
  } else {
    teal_bucket* a = first(key.hash);
    teal_bucket* b = second(key.hash);
    for (int attempt = 0; attempt < 3 && result == Inserted::no_room; attempt++) {
      if (teal_bucket_claim(a, key.key, *val) >= 0 || teal_bucket_claim(b, key.key, *val) >= 0)
        result = Inserted::entered;
      else if (!make_room(secret, a, word, 1, counts) && !make_room(secret, b, word, 1, counts) &&
               !evict(secret, key, word, now, stale_ticks, counts) && !make_room(secret, a, word, 2, counts) &&
               !make_room(secret, b, word, 2, counts) && !evict(secret, key, word, now, 0, counts))
        break;
    }
  }
  teal_unlock(word);
  return result;
}

// Frees a slot of `b` by moving one of its entries to that entry's other bucket, making room there first if need be.
// Copy, then free, under the moved key's lock, so that a reader finds one or both; a reader that passes between them
// misses and looks again under that lock (insert). Locks beside `held` are only tried: no two writers wait in a circle.
bool Table::make_room(const teal_secret& secret, teal_bucket* b, uint32_t* held, unsigned depth, InsertCounts& counts) {
  for (int i = 0; i < TEAL_BUCKET_SLOTS; i++) {
    const uint64_t key = TEAL_LOAD(&b->key[i]);
    if (key == 0) return true;
    const uint64_t hash = teal_hash64(&secret, key);
    teal_bucket* other = first(hash) == b ? second(hash) : first(hash);
    if (depth > 1 && !make_room(secret, other, held, depth - 1, counts)) continue;
    uint32_t* word = lock_of(hash);
    if (word != held && !teal_lock_try(word, owner_)) continue;
    bool moved = false;
    uint64_t v = TEAL_LOAD(&b->val[i]);
    if (TEAL_LOAD(&b->key[i]) == key && v != 0) {
      const int to = teal_bucket_claim(other, key, v);
      if (to >= 0) {
        // A touch of the old copy between copying and freeing is carried over; then the old one goes.
        while (!TEAL_CAS(&b->val[i], v, 0)) {
          const uint64_t newer = TEAL_LOAD(&b->val[i]);
          (void)TEAL_CAS(&other->val[to], v, newer);
          v = newer;
        }
        TEAL_STORE(&b->key[i], 0);
        counts.displaced++;
        moved = true;
      }
    }
    if (word != held) teal_unlock(word);
    if (moved) return true;
  }
  return false;
}

// Removes the longest unseen entry of the key's two buckets among those that may give way.
bool Table::evict(const teal_secret& secret, const teal_flow_key& key, uint32_t* held, uint32_t now, uint32_t min_age,
                  InsertCounts& counts) {
  teal_bucket* from = nullptr;
  int slot = -1;
  uint32_t oldest = 0;
  for (teal_bucket* b : std::array{first(key.hash), second(key.hash)}) {
    for (int i = 0; i < TEAL_BUCKET_SLOTS; i++) {
      const uint64_t v = TEAL_LOAD(&b->val[i]);
      if (v == 0 || !teal_state_gives_way(teal_val_state(v))) continue;
      const uint32_t age = teal_val_age(v, now);
      if (age < min_age && !teal_state_is_over(teal_val_state(v))) continue;
      if (from == nullptr || age > oldest) {
        from = b;
        slot = i;
        oldest = age;
      }
    }
  }
  if (from == nullptr) return false;
  const uint64_t victim = TEAL_LOAD(&from->key[slot]);
  if (victim == 0) return true;
  uint32_t* word = lock_of(teal_hash64(&secret, victim));
  if (word != held && !teal_lock_try(word, owner_)) return false;
  bool gone = false;
  const uint64_t v = TEAL_LOAD(&from->val[slot]);
  if (TEAL_LOAD(&from->key[slot]) == victim && v != 0 && teal_state_gives_way(teal_val_state(v)) &&
      TEAL_CAS(&from->val[slot], v, 0)) {
    TEAL_STORE(&from->key[slot], 0);
    counts.evicted++;
    gone = true;
  }
  if (word != held) teal_unlock(word);
  return gone;
}

bool Table::remove(const teal_secret& secret, teal_bucket* b, int slot, uint64_t key, uint64_t expect) {
  uint32_t* word = lock_of(teal_hash64(&secret, key));
  if (!teal_lock_try(word, owner_)) return false;
  bool gone = false;
  if (TEAL_LOAD(&b->key[slot]) == key && TEAL_CAS(&b->val[slot], expect, 0)) {
    TEAL_STORE(&b->key[slot], 0);
    gone = true;
  }
  teal_unlock(word);
  return gone;
}

bool Table::set_state(const teal_secret& secret, teal_bucket* b, int slot, uint64_t key, uint8_t state) {
  uint32_t* word = lock_of(teal_hash64(&secret, key));
  if (!lock(word)) return false;
  bool done = false;
  for (int i = 0; i < 64 && !done; i++) {
    const uint64_t v = TEAL_LOAD(&b->val[slot]);
    if (v == 0 || TEAL_LOAD(&b->key[slot]) != key) break;
    done = TEAL_CAS(&b->val[slot], v, (v & ~(15ull << 38)) | static_cast<uint64_t>(state) << 38);
  }
  teal_unlock(word);
  return done;
}

}  // namespace teal::flow
