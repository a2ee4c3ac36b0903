/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The software hash of both engines: multiply and fold, keyed by a secret drawn once and kept with the flow table, so
 * that who does not know it cannot aim at a bucket. Odd secret multipliers make each step a universal family
 * (Dietzfelbinger et al. 1997); BPF has no 128-bit multiply and no CRC, hence 64-bit products and shifts only.
 */
#ifndef TEAL_HASH_H
#define TEAL_HASH_H

#include "teal/net.h"

struct teal_secret {
  uint64_t add[2];
  uint64_t mul[2]; /* odd */
};

TEAL_INLINE uint64_t teal_hash64(const struct teal_secret *s, uint64_t x) {
  x = (x ^ s->add[0]) * s->mul[0];
  x ^= x >> 32;
  x = (x ^ s->add[1]) * s->mul[1];
  x ^= x >> 29;
  return x;
}

/* Hash of an IPv6 address and one more word. */
TEAL_INLINE uint64_t teal_hash_addr(const struct teal_secret *s, const struct teal_addr *a, uint64_t more) {
  return teal_hash64(s, teal_hash64(s, teal_addr_half(a, 0) ^ more) + teal_addr_half(a, 1));
}

/* A number in [0, n) out of 32 hash bits, without division (Lemire 2016). */
TEAL_INLINE uint32_t teal_reduce(uint32_t hash, uint32_t n) { return (uint32_t)(((uint64_t)hash * n) >> 32); }

#endif
