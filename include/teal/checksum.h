/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The Internet checksum (RFC 1071), updated incrementally (RFC 1624, eqn. 3: HC' = ~(~HC + ~m + m')).
 * Sums are taken over 16-bit words as they lie in memory; one's complement addition does not mind the byte order.
 */
#ifndef TEAL_CHECKSUM_H
#define TEAL_CHECKSUM_H

#include "teal/net.h"

/* Folds a sum of words to 16 bits, here one of 32 bits. A number that is added to itself with its halves exchanged has their
 * sum in the upper half, the carry brought back. */
TEAL_INLINE uint16_t teal_csum_fold32(uint32_t sum) { return (uint16_t)((sum + (sum << 16 | sum >> 16)) >> 16); }
/* The same of a sum of up to 2^16 words of 32 bits. */
TEAL_INLINE uint16_t teal_csum_fold(uint64_t sum) {
  return teal_csum_fold32((uint32_t)((sum + (sum << 32 | sum >> 32)) >> 32));
}

/* The difference to a sum when `from` becomes `to`; differences add up. */
TEAL_INLINE uint64_t teal_csum_diff16(uint16_t from, uint16_t to) { return (from ^ 0xffffull) + to; }
TEAL_INLINE uint64_t teal_csum_diff32(uint32_t from, uint32_t to) { return (uint64_t)(uint32_t)~from + to; }

/* The new checksum field of a header whose words changed by `diff`. Never 0xffff for a non-zero sum (RFC 1624). */
TEAL_INLINE uint16_t teal_csum_apply(uint16_t csum, uint64_t diff) {
  return (uint16_t)~teal_csum_fold((csum ^ 0xffffull) + diff);
}

/* The same in two steps, for a difference (not 0) that many packets have in common: what it adds to their checksum fields, 0
 * to 0xfffe; and a field with that added (RFC 1141, eqn. 3, of any difference). */
TEAL_INLINE uint16_t teal_csum_addend(uint64_t diff) { return (uint16_t)~teal_csum_fold(diff); }
TEAL_INLINE uint16_t teal_csum_add(uint16_t csum, uint32_t addend) {
  uint32_t s = csum + addend;
  return (uint16_t)(s + ((s + 1) >> 16)); /* 0xffff is 0 */
}

/* As above for UDP, where 0 on the wire means "none": a computed 0 is sent as 0xffff (RFC 768). */
TEAL_INLINE uint16_t teal_csum_apply_udp(uint16_t csum, uint64_t diff) {
  uint16_t next = teal_csum_apply(csum, diff);
  return next == 0 ? 0xffff : next;
}

/* The header checksum of an IPv4 header without options whose csum field is 0. */
TEAL_INLINE uint16_t teal_csum_ipv4(const struct teal_ipv4 *ip) {
  uint32_t w[5];
  uint64_t sum = 0;
  TEAL_COPY(w, ip, 20);
  for (int i = 0; i < 5; i++) sum += w[i];
  return (uint16_t)~teal_csum_fold(sum);
}

#endif
