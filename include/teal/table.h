/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Stage 3, find flow: buckets of one 64-byte cache line, two candidates a key, and the claim protocol.
 *
 *   Readers take no lock: load key, load val, load key again; (K, 0) is a miss; check bits must be the key's.
 *   Writers of one key are serialised by its lock word. Under it: look again, claim a slot by compare-and-swap of its
 *   key word from 0, store val, unlock. Delete, under the lock: val = 0, then key = 0.
 *   Last-seen and TCP state change by compare-and-swap of val, without the lock.
 *   A lock word holds its owner's instance (never 0); a starting teald clears those of the dead.
 *
 * tests/model/table.pml is this protocol, with expiry, displacement and crashes.
 */
#ifndef TEAL_TABLE_H
#define TEAL_TABLE_H

#include "teal/flow.h"

#define TEAL_BUCKET_SLOTS 4

struct teal_bucket {
  uint64_t key[TEAL_BUCKET_SLOTS];
  uint64_t val[TEAL_BUCKET_SLOTS];
} __attribute__((aligned(64)));
TEAL_STATIC_ASSERT(sizeof(struct teal_bucket) == 64, "a bucket is one cache line");

TEAL_INLINE uint32_t teal_bucket_first(uint64_t hash, uint32_t buckets) {
  return teal_reduce((uint32_t)(hash >> 32), buckets);
}

/* The other candidate, of who knows the first; always another bucket (buckets >= 2). */
TEAL_INLINE uint32_t teal_bucket_other(uint64_t hash, uint32_t first, uint32_t buckets) {
  uint32_t second = teal_reduce((uint32_t)hash, buckets);
  if (TEAL_LIKELY(second != first)) return second;
  return first + 1 == buckets ? 0 : first + 1;
}
TEAL_INLINE uint32_t teal_bucket_second(uint64_t hash, uint32_t buckets) {
  return teal_bucket_other(hash, teal_bucket_first(hash, buckets), buckets);
}

TEAL_INLINE uint32_t teal_lock_index(uint64_t hash, uint32_t lock_mask) { return (uint32_t)(hash >> 8) & lock_mask; }

/* The slot (0 to 3) of bucket `b` that holds the key, its value in *val; -1 when none does. */
TEAL_INLINE int teal_bucket_find(const struct teal_bucket *b, uint64_t key, uint16_t check, uint64_t *val) {
  for (int i = 0; i < TEAL_BUCKET_SLOTS; i++) {
    if (TEAL_LOAD(&b->key[i]) != key) continue;
    uint64_t v = TEAL_LOAD(&b->val[i]);
    if (v == 0 || teal_val_check(v) != check || TEAL_LOAD(&b->key[i]) != key) continue;
    *val = v;
    return i;
  }
  return -1;
}

/* Claims a free slot of `b` for `key` and gives it `val`; the caller holds the key's lock. -1 when none is free. */
TEAL_INLINE int teal_bucket_claim(struct teal_bucket *b, uint64_t key, uint64_t val) {
  for (int i = 0; i < TEAL_BUCKET_SLOTS; i++) {
    if (TEAL_LOAD(&b->key[i]) != 0) continue;
    if (!TEAL_CAS(&b->key[i], 0, key)) continue;
    TEAL_STORE(&b->val[i], val);
    return i;
  }
  return -1;
}

/* Frees slot i; the caller holds the lock of the key in it. */
TEAL_INLINE void teal_bucket_free(struct teal_bucket *b, int i) {
  TEAL_STORE(&b->val[i], 0);
  TEAL_STORE(&b->key[i], 0);
}

TEAL_INLINE int teal_lock_try(uint32_t *word, uint32_t owner) { return TEAL_LOAD(word) == 0 && TEAL_CAS(word, 0, owner); }
TEAL_INLINE void teal_unlock(uint32_t *word) { TEAL_STORE(word, 0); }

#endif
