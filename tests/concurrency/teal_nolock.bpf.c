/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The program with the key lock taken away: what teal-xdp-race must find. A new flow's entry is also written a while
 * after its decision, at random: two CPUs seldom have a cutover between theirs otherwise, however often they collide.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "teal/table.h"

#define teal_lock_try(word, owner) ((void)(word), (void)(owner), 1)

static long teal_linger(uint32_t i, void *unused) {
  (void)i;
  (void)unused;
  return 0;
}

TEAL_INLINE int teal_claim_late(struct teal_bucket *b, uint64_t key, uint64_t val) {
  bpf_loop(bpf_get_prandom_u32() & 255, teal_linger, 0, 0);
  return teal_bucket_claim(b, key, val);
}

#define teal_bucket_claim(bucket, key, val) teal_claim_late(bucket, key, val)

#include "../../bpf/teal.bpf.c"
