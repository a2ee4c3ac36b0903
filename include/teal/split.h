/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The split word: which share of a service's new flows goes to green, under which generation. A cutover is one store of it.
 *
 *   generation 40 | 2 unused | ignore affinity 1 | rolled back 1 | active 1 | draining 1 | 1 unused | green's share of 65,536: 17
 */
#ifndef TEAL_SPLIT_H
#define TEAL_SPLIT_H

#include "teal/hash.h"

#define TEAL_BLUE 0
#define TEAL_GREEN 1
#define TEAL_SPLIT_ALL 65536u

/* Services of one group share one. `previous` is stored before `current`; both are written by the control thread only. */
struct teal_split {
  uint64_t current;
  uint64_t previous; /* the split before the last change: what decides a flow without an entry while draining */
};

TEAL_INLINE uint64_t teal_split_make(uint64_t generation, uint32_t share, int draining, int active) {
  return generation << 24 | (uint64_t)(active & 1) << 19 | (uint64_t)(draining & 1) << 18 | (share & 0x1ffff);
}
#define TEAL_SPLIT_DRAINING (1ull << 18)
#define TEAL_SPLIT_IGNORE_AFFINITY (1ull << 21) /* clients that an earlier generation pinned are free to go */
#define TEAL_SPLIT_ROLLED_BACK (1ull << 20) /* the last change was a rollback: there is none to roll back */

TEAL_INLINE uint32_t teal_split_share(uint64_t w) { return (uint32_t)w & 0x1ffff; }
TEAL_INLINE int teal_split_draining(uint64_t w) { return (int)(w >> 18 & 1); }
TEAL_INLINE int teal_split_active(uint64_t w) { return (int)(w >> 19 & 1); }
TEAL_INLINE uint64_t teal_split_generation(uint64_t w) { return w >> 24; }

/* A flow's point in [0, 65536): below the share it is green's, so that a growing share only moves points to green.
 * Of the client alone (family-wide hash of its address), or of the flow. Independent of bucket and Maglev slot. */
TEAL_INLINE uint32_t teal_point(const struct teal_secret *s, uint64_t basis) {
  return (uint32_t)(teal_hash64(s, basis ^ 0x9e3779b97f4a7c15ull) >> 48);
}

TEAL_INLINE int teal_pool_of(uint64_t split, uint32_t point) {
  return point < teal_split_share(split) ? TEAL_GREEN : TEAL_BLUE;
}

/* The slot of a Maglev table of `slots` for a flow, by its key's hash; `attempt` asks for another one (0: the first). The
 * bits that decide it (from 47 down) are those that decide least of the flow's buckets. */
TEAL_INLINE uint32_t teal_maglev_slot(const struct teal_secret *s, uint64_t flow_hash, uint32_t attempt, uint32_t slots) {
  uint64_t h = attempt == 0 ? flow_hash : teal_hash64(s, flow_hash ^ 0xc2b2ae3d27d4eb4full ^ attempt);
  return teal_reduce((uint32_t)(h >> 16), slots);
}

#endif
