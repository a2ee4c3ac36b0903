// SPDX-License-Identifier: Apache-2.0
// How user space reaches the flow table (teal/insert.h asks for it): plain pointers.
#pragma once

#include "teal/table.h"

struct teal_reach {
  const teal_secret* secret;
  uint32_t buckets, owner, lock_tries;
  teal_bucket* base;
  uint32_t* locks;
};
inline teal_bucket* teal_reach_bucket(const teal_reach* r, uint32_t index) {
  return &r->base[index];
}
inline uint32_t* teal_reach_lock(const teal_reach* r, uint32_t index) {
  return &r->locks[index];
}
inline void teal_reach_pause() {
  __builtin_ia32_pause();
}

#include "teal/insert.h"
