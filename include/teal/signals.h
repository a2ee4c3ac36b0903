/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * What a flow's packets say of its backend's health: counted by service, pool and generation on both engines, each by its
 * own CPU or worker, read by the control thread.
 */
#ifndef TEAL_SIGNALS_H
#define TEAL_SIGNALS_H

#include "teal/types.h"

/* Handshake time in fine ticks of 1/4096 s: bucket 0 is below one tick, bucket i below 2^i, the last takes the rest (4 s
 * and more). */
#define TEAL_FINE_TICKS_PER_S 4096u
#define TEAL_HANDSHAKE_BUCKETS 16

/* Upper edge of a bucket, in fine ticks. */
TEAL_INLINE uint32_t teal_handshake_edge(uint32_t bucket) { return 1u << bucket; }

TEAL_INLINE uint32_t teal_handshake_bucket(uint32_t fine_ticks) {
  uint32_t i = 0;
  for (; i < TEAL_HANDSHAKE_BUCKETS - 1; i++)
    if (fine_ticks < (1u << i)) break;
  return i;
}

/* Counters of one service's pool under one generation (its low 2 bits): a step of a rollout is judged by the flows that
 * began in it. */
#define TEAL_SIGNAL_GENERATIONS 4
struct teal_signal_counts {
  uint64_t begun;
  uint64_t handshakes;
  uint64_t syn_retransmits;
  uint64_t refused;
  uint64_t early_resets;
  uint64_t resets;
  uint64_t unused[2];
  uint64_t handshake[TEAL_HANDSHAKE_BUCKETS];
};

#endif
