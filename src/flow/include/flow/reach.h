// SPDX-License-Identifier: Apache-2.0
// How user space reaches the flow table (teal/insert.h asks for it): plain pointers.
#pragma once

#include <atomic>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "teal/settled.h"
#include "teal/table.h"

struct teal_reach {
  const teal_secret* secret;
  uint32_t buckets, owner;
  teal_bucket* base;
  uint32_t* locks;
  uint32_t* cells;  // nullptr: nobody's entries settle here
};
inline const teal_secret* teal_reach_secret(const teal_reach* r) {
  return r->secret;
}
inline teal_bucket* teal_reach_bucket(const teal_reach* r, uint32_t index) {
  return &r->base[index];
}
inline uint32_t* teal_reach_lock(const teal_reach* r, uint32_t index) {
  return &r->locks[index];
}
inline uint32_t* teal_reach_cells(const teal_reach* r, uint32_t bucket) {
  return r->cells == nullptr ? nullptr : &r->cells[bucket / TEAL_CELLS_A_WORD];
}
inline void teal_reach_pause() {
  __builtin_ia32_pause();
}

// The slots of `b` whose key word is `key` (0: the free ones), a bit a slot. All are compared before anything is
// branched on: which one it is nobody can foretell.
inline unsigned teal_same_keys(const teal_bucket* b, uint64_t key) {
#if defined(__AVX2__) && !defined(__SANITIZE_THREAD__)
  // All four in one load. It is no atomic one to the language; on x86 each aligned word of it is one, and loads are
  // done in order. The fence keeps the compiler from moving it behind the load of the value.
  static_assert(TEAL_BUCKET_SLOTS == 4);
  const __m256i keys = _mm256_load_si256(reinterpret_cast<const __m256i*>(b->key));
  const __m256i equal = _mm256_cmpeq_epi64(keys, _mm256_set1_epi64x(static_cast<long long>(key)));
  std::atomic_signal_fence(std::memory_order_acquire);
  return static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(equal)));
#else
  unsigned same = 0;
#pragma GCC unroll 4
  for (unsigned i = 0; i < TEAL_BUCKET_SLOTS; i++) same |= static_cast<unsigned>(TEAL_LOAD(&b->key[i]) == key) << i;
  return same;
#endif
}

// teal_bucket_find() by these.
inline int teal_wide_find(const teal_bucket* b, uint64_t key, uint16_t check, uint64_t* val) {
  for (unsigned same = teal_same_keys(b, key); same != 0; same &= same - 1) {
    const auto i = static_cast<unsigned>(__builtin_ctz(same));
    const uint64_t v = TEAL_LOAD(&b->val[i]);
    if (TEAL_UNLIKELY(v == 0 || teal_val_check(v) != check || TEAL_LOAD(&b->key[i]) != key)) continue;
    *val = v;
    return static_cast<int>(i);
  }
  return -1;
}

// teal_bucket_claim() by these.
inline int teal_wide_claim(teal_bucket* b, uint64_t key, uint64_t val) {
  for (unsigned open = teal_same_keys(b, 0); open != 0; open &= open - 1) {
    const auto i = static_cast<unsigned>(__builtin_ctz(open));
    if (!TEAL_CAS(&b->key[i], 0, key)) continue;
    TEAL_STORE(&b->val[i], val);
    return static_cast<int>(i);
  }
  return -1;
}
#define TEAL_BUCKET_FIND teal_wide_find
#define TEAL_BUCKET_CLAIM teal_wide_claim

// A lock is held for some tens of nanoseconds, unless its holder lost its CPU: for him some microseconds are waited,
// and a worker holds the packet then.
#define TEAL_LOCK_TRIES 256u
#define TEAL_STEP TEAL_INLINE
#include "teal/insert.h"
