// SPDX-License-Identifier: Apache-2.0
// How user space reaches the flow table (teal/insert.h asks for it): plain pointers.
#pragma once

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

// A lock is held for some tens of nanoseconds, unless its holder lost its CPU: then about 100 us are waited.
#define TEAL_LOCK_TRIES 4000u
#define TEAL_STEP TEAL_INLINE
#include "teal/insert.h"
