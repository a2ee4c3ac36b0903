/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Stage 3, the writers' side: how a flow enters the table. Both engines run this; how a bucket or a lock word is reached
 * is theirs, so each defines, before it includes this file:
 *
 *   struct teal_reach { uint32_t buckets, owner; ... };
 *   const struct teal_secret *teal_reach_secret(const struct teal_reach *);             NULL: out of reach
 *   struct teal_bucket *teal_reach_bucket(const struct teal_reach *, uint32_t index);   NULL: out of reach
 *   uint32_t *teal_reach_lock(const struct teal_reach *, uint32_t index);               NULL: out of reach
 *   uint32_t *teal_reach_cells(const struct teal_reach *, uint32_t bucket);             the word of its cell; NULL: none
 *   void teal_reach_pause(void);
 *   TEAL_BUCKET_FIND, TEAL_BUCKET_CLAIM   teal_bucket_find() and teal_bucket_claim(), or something faster
 *   TEAL_LOCK_TRIES   how often a lock word is tried
 *   TEAL_STEP   what stands in front of the steps of an insertion: TEAL_INLINE, or a function that BPF's verifier walks
 *               by itself (hence their looks at pointers that are never NULL)
 */
#ifndef TEAL_INSERT_H
#define TEAL_INSERT_H

#include "teal/layout.h"

enum teal_inserted {
  TEAL_INSERT_ENTERED,  /* the given value stands in the table */
  TEAL_INSERT_FOUND,    /* another packet of the flow was first: its value is given back */
  TEAL_INSERT_REPLACED, /* an entry that was over gave its place to the given value */
  TEAL_INSERT_NO_ROOM,  /* nothing written: no slot could be had */
  TEAL_INSERT_BUSY,     /* nothing written: the key's lock stayed taken */
};

struct teal_insertion {
  struct teal_flow_key key;
  uint64_t val;       /* to be entered; afterwards what stands in the table */
  uint64_t replace;   /* the value that the caller judged to be over; 0: none */
  uint32_t now;       /* ticks, for choosing whom to evict */
  uint32_t displaced; /* added to: entries moved to their other bucket */
  uint32_t evicted;   /* added to: half-open or finished entries that gave way */
};

/* An entry that may give way and was not seen for this long goes before a search two moves deep is made: under a SYN
 * flood the table is full of them, and the search would cost more than the flood. */
#define TEAL_STALE_TICKS TEAL_TICKS_PER_S
#define TEAL_MOVE_TRIES 16

/* Takes the lock word of `index`; 0 when it stayed taken. */
TEAL_STEP int teal_lock(const struct teal_reach *r, uint32_t index) {
  if (!r) return 0;
  uint32_t *word = teal_reach_lock(r, index);
  if (!word) return 0;
  for (uint32_t i = 0; i < TEAL_LOCK_TRIES; i++) {
    if (teal_lock_try(word, r->owner)) return 1;
    teal_reach_pause();
  }
  return 0;
}

TEAL_INLINE void teal_release(const struct teal_reach *r, uint32_t index) {
  uint32_t *word = teal_reach_lock(r, index);
  if (word) teal_unlock(word);
}

/* An entry of the bucket that its packets must find has been written. */
TEAL_INLINE void teal_attend(const struct teal_reach *r, uint32_t bucket) {
  uint32_t *word = teal_reach_cells(r, bucket);
  if (word) teal_cell_attend(word, bucket);
}

/* The same for who knows the key and not the bucket. */
TEAL_INLINE void teal_attend_both(const struct teal_reach *r, uint64_t hash) {
  teal_attend(r, teal_bucket_first(hash, r->buckets));
  teal_attend(r, teal_bucket_second(hash, r->buckets));
}

/* Where the key's value stands, NULL when it has no entry. A miss may be one that a displacement under way makes. */
TEAL_INLINE uint64_t *teal_find(const struct teal_reach *r, const struct teal_flow_key *key, uint64_t *val) {
  struct teal_bucket *b = teal_reach_bucket(r, teal_bucket_first(key->hash, r->buckets));
  if (b) {
    int slot = TEAL_BUCKET_FIND(b, key->key, key->check, val);
    if (slot >= 0) return &b->val[slot];
  }
  b = teal_reach_bucket(r, teal_bucket_second(key->hash, r->buckets));
  if (b) {
    int slot = TEAL_BUCKET_FIND(b, key->key, key->check, val);
    if (slot >= 0) return &b->val[slot];
  }
  return 0;
}

/* Moves the entry of `key` from slot i of `b` to another bucket: copy, then free, under the moved key's lock, so that a
 * reader finds one or both; a reader that passes between them misses and looks again under that lock. 1 when it moved. */
TEAL_INLINE int teal_move_locked(const struct teal_reach *r, struct teal_bucket *b, int i, uint64_t key, uint32_t to_bucket) {
  struct teal_bucket *other = teal_reach_bucket(r, to_bucket);
  if (!other) return 0;
  uint64_t v = TEAL_LOAD(&b->val[i]);
  if (TEAL_LOAD(&b->key[i]) != key || v == 0) return 0;
  int to = teal_bucket_claim(other, key, v);
  if (to < 0) return 0;
  teal_attend(r, to_bucket);
  for (int t = 0; t < TEAL_MOVE_TRIES; t++) {
    if (TEAL_CAS(&b->val[i], v, 0)) {
      TEAL_STORE(&b->key[i], 0);
      return 1;
    }
    /* A touch of the old copy between copying and freeing is carried over; then the old one goes. */
    uint64_t newer = TEAL_LOAD(&b->val[i]);
    (void)TEAL_CAS(&other->val[to & 3], v, newer);
    v = newer;
  }
  teal_bucket_free(other, to & 3);
  return 0;
}

/* The other bucket of `hash` than `at`. */
TEAL_INLINE uint32_t teal_other_bucket(uint64_t hash, uint32_t buckets, uint32_t at) {
  uint32_t to = teal_bucket_first(hash, buckets);
  return to != at ? to : teal_bucket_second(hash, buckets);
}

/* Slot `i` of bucket `at`: free already (1), or freed by a move (2), or not (0). Locks beside that of index `held` are
 * only tried: no two writers wait in a circle. */
TEAL_STEP int teal_vacate(const struct teal_reach *r, uint32_t at, uint32_t i, uint32_t held) {
  if (!r) return 0;
  const struct teal_secret *secret = teal_reach_secret(r);
  struct teal_bucket *b = teal_reach_bucket(r, at);
  if (!b || !secret) return 0;
  i &= TEAL_BUCKET_SLOTS - 1;
  uint64_t key = TEAL_LOAD(&b->key[i]);
  if (key == 0) return 1;
  uint64_t hash = teal_hash64(secret, key);
  uint32_t to = teal_other_bucket(hash, r->buckets, at);
  uint32_t *word = 0;
  if (teal_lock_index(hash, TEAL_LOCKS - 1) != held) {
    word = teal_reach_lock(r, teal_lock_index(hash, TEAL_LOCKS - 1));
    if (!word || !teal_lock_try(word, r->owner)) return 0;
  }
  int moved = teal_move_locked(r, b, (int)i, key, to);
  if (word) teal_unlock(word);
  return moved * 2;
}

/* Slot `i` of bucket `at` is free afterwards (1), or not (0); a move is counted. */
TEAL_INLINE int teal_vacated(const struct teal_reach *r, uint32_t at, uint32_t i, uint32_t held, struct teal_insertion *n) {
  int done = teal_vacate(r, at, i, held);
  n->displaced += (uint32_t)done >> 1;
  return done != 0;
}

/* Frees a slot of bucket `at` by one move. */
TEAL_INLINE int teal_make_room(const struct teal_reach *r, uint32_t at, uint32_t held, struct teal_insertion *n) {
  for (uint32_t i = 0; i < TEAL_BUCKET_SLOTS; i++)
    if (teal_vacated(r, at, i, held, n)) return 1;
  return 0;
}

/* Frees a slot of bucket `at` by two: room is made in the other bucket of one of its entries first. */
TEAL_STEP int teal_make_room_twice(const struct teal_reach *r, uint32_t at, uint32_t held, struct teal_insertion *n) {
  if (!r || !n) return 0;
  const struct teal_secret *secret = teal_reach_secret(r);
  struct teal_bucket *b = teal_reach_bucket(r, at);
  if (!b || !secret) return 0;
  for (uint32_t i = 0; i < TEAL_BUCKET_SLOTS; i++) {
    uint64_t key = TEAL_LOAD(&b->key[i]);
    if (key == 0) return 1;
    uint32_t to = teal_other_bucket(teal_hash64(secret, key), r->buckets, at);
    if (teal_make_room(r, to, held, n) && teal_vacated(r, at, i, held, n)) return 1;
  }
  return 0;
}

/* Removes the longest unseen entry of the key's two buckets among those that may give way and were not seen for
 * `min_age` ticks. 1 when a slot is free now. */
TEAL_STEP int teal_evict(const struct teal_reach *r, uint32_t held, uint32_t min_age, struct teal_insertion *n) {
  if (!r || !n) return 0;
  const struct teal_secret *secret = teal_reach_secret(r);
  if (!secret) return 0;
  uint32_t from = 0, oldest = 0;
  int slot = -1;
  for (int side = 0; side < 2; side++) {
    uint32_t at = side == 0 ? teal_bucket_first(n->key.hash, r->buckets) : teal_bucket_second(n->key.hash, r->buckets);
    struct teal_bucket *b = teal_reach_bucket(r, at);
    if (!b) return 0;
    for (int i = 0; i < TEAL_BUCKET_SLOTS; i++) {
      uint64_t v = TEAL_LOAD(&b->val[i]);
      if (v == 0 || !teal_state_gives_way(teal_val_state(v))) continue;
      uint32_t age = teal_val_age(v, n->now);
      if (age < min_age && !teal_state_is_over(teal_val_state(v))) continue;
      if (slot < 0 || age > oldest) {
        from = at;
        slot = i;
        oldest = age;
      }
    }
  }
  if (slot < 0) return 0;
  struct teal_bucket *b = teal_reach_bucket(r, from);
  if (!b) return 0;
  slot &= TEAL_BUCKET_SLOTS - 1;
  uint64_t victim = TEAL_LOAD(&b->key[slot]);
  if (victim == 0) return 1;
  uint32_t index = teal_lock_index(teal_hash64(secret, victim), TEAL_LOCKS - 1);
  uint32_t *word = teal_reach_lock(r, index);
  if (!word || (index != held && !teal_lock_try(word, r->owner))) return 0;
  int gone = 0;
  uint64_t v = TEAL_LOAD(&b->val[slot]);
  if (TEAL_LOAD(&b->key[slot]) == victim && v != 0 && teal_state_gives_way(teal_val_state(v)) &&
      TEAL_CAS(&b->val[slot], v, 0)) {
    TEAL_STORE(&b->key[slot], 0);
    n->evicted++;
    gone = 1;
  }
  if (index != held) teal_unlock(word);
  return gone;
}

/* Claims a slot for n (1), or makes room for one by a move, or a stale entry's end (0: try again), or cannot (-1). */
TEAL_STEP int teal_claim_or_make_room(const struct teal_reach *r, uint32_t held, struct teal_insertion *n) {
  if (!r || !n) return -1;
  uint32_t first = teal_bucket_first(n->key.hash, r->buckets), second = teal_bucket_second(n->key.hash, r->buckets);
  struct teal_bucket *a = teal_reach_bucket(r, first);
  if (a && TEAL_BUCKET_CLAIM(a, n->key.key, n->val) >= 0) {
    teal_attend(r, first);
    return 1;
  }
  struct teal_bucket *b = teal_reach_bucket(r, second);
  if (b && TEAL_BUCKET_CLAIM(b, n->key.key, n->val) >= 0) {
    teal_attend(r, second);
    return 1;
  }
  if (teal_make_room(r, first, held, n) || teal_make_room(r, second, held, n)) return 0;
  return teal_evict(r, held, TEAL_STALE_TICKS, n) ? 0 : -1;
}

/* The same, and by a move behind a move, or any entry that may give way, if it must be. (Not one function with it: the
 * deeper search comes on top of its frame then, and an XDP program's chain of calls has 512 bytes for all frames.) */
TEAL_INLINE int teal_claim_or_search(const struct teal_reach *r, uint32_t held, struct teal_insertion *n) {
  int done = teal_claim_or_make_room(r, held, n);
  if (done >= 0) return done;
  if (teal_make_room_twice(r, teal_bucket_first(n->key.hash, r->buckets), held, n) ||
      teal_make_room_twice(r, teal_bucket_second(n->key.hash, r->buckets), held, n))
    return 0;
  return teal_evict(r, held, 0, n) ? 0 : -1;
}

/* Under the key's lock: looks again, then claims a slot, making room for it if need be. */
TEAL_INLINE int teal_insert_locked(const struct teal_reach *r, uint32_t held, struct teal_insertion *n) {
  uint64_t there = 0;
  uint64_t *slot = teal_find(r, &n->key, &there);
  if (slot) {
    /* Only the entry that was judged may be replaced; last-seen may have moved on meanwhile, backend and state not. */
    int same = n->replace != 0 && teal_val_backend(there) == teal_val_backend(n->replace) &&
               teal_val_generation(there) == teal_val_generation(n->replace) &&
               teal_val_state(there) == teal_val_state(n->replace);
    if (same && TEAL_CAS(slot, there, n->val)) {
      teal_attend_both(r, n->key.hash);
      return TEAL_INSERT_REPLACED;
    }
    uint64_t now = TEAL_LOAD(slot);
    if (now == 0) return TEAL_INSERT_NO_ROOM;
    n->val = now;
    return TEAL_INSERT_FOUND;
  }
  int done = 0;
  for (int i = 0; i < 3 && done == 0; i++) done = teal_claim_or_search(r, held, n);
  return done > 0 ? TEAL_INSERT_ENTERED : TEAL_INSERT_NO_ROOM;
}

/* Enters n->val under n->key; enum teal_inserted. Short; takes key locks by compare-and-swap; allocates nothing. */
TEAL_INLINE int teal_insert(const struct teal_reach *r, struct teal_insertion *n) {
  uint32_t held = teal_lock_index(n->key.hash, TEAL_LOCKS - 1);
  if (!teal_lock(r, held)) return TEAL_INSERT_BUSY;
  int result = teal_insert_locked(r, held, n);
  teal_release(r, held);
  return result;
}

#endif
