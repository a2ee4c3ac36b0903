/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Longest prefix match for packets to clients. An edge host knows few prefixes (its subnets, their neighbours, a
 * default): a small hash probed once a prefix length in use, longest first, stays in the first-level cache, where a
 * 64 MB direct table (rte_lpm) would cost a missed line a client. docs/decisions/0003-route-table.md.
 */
#ifndef TEAL_ROUTE_H
#define TEAL_ROUTE_H

#include "teal/service.h"

#define TEAL_ROUTE_LENGTHS 129

struct teal_route_slot {
  struct teal_addr net; /* host bits 0 */
  uint32_t hop;         /* index of the next hop */
  uint8_t family;       /* 0: free */
  uint8_t length;
  uint16_t service;     /* 0: a route; else the net is one of this service's preview clients */
};

struct teal_route_length {
  struct teal_addr mask;
  uint32_t length;
  uint32_t hop; /* length 0: the default route's, which needs no probe; else 0 */
};

/* Prefix lengths in use, longest first, with their masks. */
struct teal_route_lengths {
  uint32_t count[2]; /* of IPv4, IPv6 */
  struct teal_route_length at[2][TEAL_ROUTE_LENGTHS];
};

/* Tells, without a probe, most of those that no route knows but the default. */
struct teal_route_default {
  uint64_t mask[2]; /* by family: of the shortest prefix between the default and a host, in an address's first half */
  uint32_t hop[2];  /* the default's; 0: there is none */
  uint64_t nets[TEAL_FILTER_BITS / 64]; /* filter of all such prefixes, under that mask */
};

TEAL_INLINE uint32_t teal_route_folded(const struct teal_route_default *d, uint32_t family, const struct teal_addr *a) {
  uint64_t net = a->halves[0] & d->mask[family == 4 ? 0 : 1];
  return family == 4 ? (uint32_t)net : (uint32_t)net ^ (uint32_t)(net >> 32);
}

/* The hop of who has no route but the default, and none of his own; 0: that is not known, ask teal_route_find(). */
TEAL_INLINE uint32_t teal_route_quick(const struct teal_route_default *d, uint32_t family, const struct teal_addr *a,
                                      int has_own) {
  if (has_own || teal_in_filter_folded(d->nets, teal_route_folded(d, family, a))) return 0;
  return d->hop[family == 4 ? 0 : 1];
}

TEAL_INLINE void teal_addr_mask(struct teal_addr *a, uint32_t length) {
  for (uint32_t i = 0; i < 4; i++) {
    uint32_t bits = length > i * 32 ? length - i * 32 : 0;
    if (bits < 32) a->words[i] &= bits == 0 ? 0 : teal_swap32(~0u << (32 - bits));
  }
}

/* One multiplication by a secret odd number is a universal family: enough for a table whose keys the kernel gives. */
TEAL_INLINE uint64_t teal_route_hash(const struct teal_secret *s, const struct teal_addr *net, uint32_t length,
                                     uint32_t service) {
  uint64_t x = teal_addr_half(net, 0) + teal_addr_half(net, 1) * 0x9e3779b97f4a7c15ull + ((uint64_t)service << 8 | length);
  return (x ^ x >> 32) * s->mul[0];
}

TEAL_INLINE uint32_t teal_route_probe(const struct teal_route_slot *slots, uint32_t mask, const struct teal_secret *s,
                                      uint32_t family, const struct teal_addr *net, uint32_t length, uint32_t service) {
  uint32_t at = (uint32_t)(teal_route_hash(s, net, length, service) >> 40) & mask;
  for (int i = 0; i < TEAL_MATCH_PROBES; i++) {
    const struct teal_route_slot *slot = &slots[(at + (uint32_t)i) & mask];
    if (slot->family == 0) return 0;
    if (slot->family == family && slot->length == length && slot->service == service && teal_addr_equal(&slot->net, net))
      return slot->hop;
  }
  return 0;
}

/* The first length that needs a probe for an address: one that has no route of its own skips those routes. */
TEAL_INLINE uint32_t teal_route_first(const struct teal_route_lengths *lengths, uint32_t family, int has_own) {
  return !has_own && lengths->at[family == 4 ? 0 : 1][0].length == (family == 4 ? 32 : 128);
}

/* Index of the next hop for `dst`; 0 when there is no route. With a `service`: not 0 when `dst` is one of its preview
 * clients, `lengths` being those in use for that. `slots` and `mask`: the table; `lengths`: what is in use, from `first`
 * on. */
TEAL_INLINE uint32_t teal_route_find(const struct teal_route_slot *slots, uint32_t mask,
                                     const struct teal_route_lengths *lengths, const struct teal_secret *s,
                                     uint32_t family, const struct teal_addr *dst, uint32_t service, uint32_t first) {
  uint32_t which = family == 4 ? 0 : 1;
  for (uint32_t i = first; i < TEAL_ROUTE_LENGTHS; i++) {
    if (i >= lengths->count[which]) break;
    const struct teal_route_length *l = &lengths->at[which][i];
    if (l->hop) return l->hop;
    struct teal_addr net;
    for (int w = 0; w < 4; w++) net.words[w] = dst->words[w] & l->mask.words[w];
    uint32_t hop = teal_route_probe(slots, mask, s, family, &net, l->length, service);
    if (hop) return hop;
  }
  return 0;
}

#endif
