/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Services, backends and next hops as both engines read them, and stage 2, match service. All of it is immutable once
 * published: a change publishes new arrays. Written by the control thread, read by workers and the XDP program.
 */
#ifndef TEAL_SERVICE_H
#define TEAL_SERVICE_H

#include "teal/flow.h"
#include "teal/net.h"

enum teal_forward { TEAL_FORWARD_nat = 0, TEAL_FORWARD_l2dsr = 1, TEAL_FORWARD_ipip = 2 };

enum teal_service_flags {
  TEAL_SERVICE_BY_FLOW = 1,  /* split_by: flow */
  TEAL_SERVICE_RETIRED = 2,  /* no longer configured: existing flows only */
  TEAL_SERVICE_SHARED = 4,   /* one of its backends serves another service on the same address and port */
  TEAL_SERVICE_PREVIEW = 8,  /* chosen clients' new flows go to the preview pool */
  TEAL_SERVICE_PREVIEW_GREEN = 16, /* which is green; else blue */
  TEAL_SERVICE_AFFINITY = 32,
  TEAL_SERVICE_SETTLES = 64, /* its connections may go without the table (teal/settled.h) */
};

struct teal_service {
  struct teal_addr vip;
  teal_be16 port;
  uint8_t proto;
  uint8_t family;       /* 4 or 6 */
  uint8_t forward;      /* enum teal_forward */
  uint8_t flags;        /* enum teal_service_flags */
  uint16_t mss_clamp;   /* bytes; 0: none */
  uint32_t group;       /* index of its split */
  uint32_t maglev[2];   /* by pool: index of its table; 0: no backend takes new flows */
  uint32_t timeout[TEAL_TIMEOUTS]; /* ticks */
  uint8_t affinity4;    /* prefix length, bits: clients of one prefix share an affinity entry */
  uint8_t affinity6;
  uint16_t unused;
  uint32_t unused2;
};
TEAL_STATIC_ASSERT(sizeof(struct teal_service) == 64, "a service is one cache line");

enum teal_hop_state {
  TEAL_HOP_NO_ROUTE = 0,
  TEAL_HOP_READY = 1,
  TEAL_HOP_UNRESOLVED = 2, /* a route, but no MAC address yet */
};

/* Where a frame leaves: Ethernet addresses, tags and port. */
struct teal_hop {
  uint8_t dst[6];
  uint8_t src[6];
  uint16_t port; /* engine's port number */
  uint16_t mtu;  /* bytes of the IP packet */
  uint8_t state; /* enum teal_hop_state */
  uint8_t tags;  /* VLAN tags to send, 0 to 2 */
  struct teal_vlan_tag {
    teal_be16 tpid;
    teal_be16 tci;
  } vlan[2];     /* outer first */
};
TEAL_STATIC_ASSERT(sizeof(struct teal_hop) == 26, "no holes in a next hop");

/* What NAT of one side adds to checksums (teal_csum_add()): the same for all packets between a service and one of its
 * backends. */
struct teal_nat_sums {
  uint16_t ip; /* of the addresses, and of a TTL one lower (IPv4; the header checksum) */
  uint16_t l4; /* of addresses and ports (TCP, UDP) */
};

/* A tunnel over IPv4. */
struct teal_tunnel4 {
  teal_be32 src, dst; /* as they lie in the outer header */
  uint16_t sum;       /* of what its headers have in common (teal_tunnel4_of()) */
};

/* How packets under way are sent to a backend, by both engines. */
enum teal_way {
  TEAL_WAY_LONG = 0, /* not by the short way: no MAC address is known, or frames have tags */
  TEAL_WAY_NAT,
  TEAL_WAY_L2DSR,
  TEAL_WAY_TUNNEL4, /* over IPv4 */
  TEAL_WAY_TUNNEL6,
};

struct teal_backend {
  struct teal_addr addr;
  union {
    struct teal_addr tunnel_source; /* ipip over IPv6: outer source */
    struct teal_tunnel4 tunnel4;    /* ipip over IPv4 */
    struct teal_nat_sums sums;      /* nat: the service's VIP and port become addr and port */
  };
  struct teal_hop hop;
  teal_be16 port;
  uint8_t family;                 /* 0: this number is free */
  uint8_t pool;
  uint8_t way;                    /* enum teal_way, so that a packet asks one thing */
  uint8_t unused;
};
TEAL_STATIC_ASSERT(sizeof(struct teal_backend) == 64, "a backend is one cache line");

/* An address and port that backends answer from: how a NAT reply finds its service. */
struct teal_endpoint {
  struct teal_addr addr;
  teal_be16 port;
  uint8_t proto;
  uint8_t family;
  uint32_t first; /* of its `count` references: one a service that uses it */
  uint32_t count;
  uint32_t unused;
};

struct teal_endpoint_ref {
  uint16_t service;
  uint16_t backend;
  struct teal_nat_sums sums; /* of replies: the backend's address and port become the service's */
};

enum teal_match_kind {
  TEAL_MATCH_NONE = 0,
  TEAL_MATCH_VIP = 1,          /* destination address, port and protocol are a service's */
  TEAL_MATCH_ENDPOINT = 2,     /* source address, port and protocol are a NAT backend's */
  TEAL_MATCH_VIP_ADDRESS = 3,  /* an address that some service has (fragments carry no port) */
  TEAL_MATCH_BACKEND_ADDRESS = 4, /* an address that some NAT backend has; index: a backend number */
  TEAL_MATCH_LOCAL = 5,        /* an address of the host itself */
};

struct teal_match_slot {
  uint64_t key;   /* 0: free */
  uint32_t index; /* of the service, endpoint or backend */
  uint32_t unused;
};

/* Key of a match: exact for IPv4, 56 bits of keyed hash for IPv6 (compare the address at the index afterwards). */
TEAL_INLINE uint64_t teal_match_key(const struct teal_secret *s, uint32_t family, const struct teal_addr *addr,
                                    teal_be16 port, uint32_t proto, uint8_t kind) {
  if (family == 4)
    return (uint64_t)addr->v4 << 32 | (uint64_t)port << 16 | (uint64_t)proto << 8 | kind;
  /* Two products side by side, then one that spreads what they have over the upper bits; teal_hash_addr() has four in a
   * row. A difference in the upper half of a factor is one in the upper half of its product: hence the exchanged halves. */
  uint64_t a = (teal_addr_half(addr, 0) ^ s->add[0]) * s->mul[0];
  uint64_t b = ((teal_addr_half(addr, 1) ^ s->add[1]) + ((uint64_t)port << 16 | (uint64_t)proto << 8 | kind)) * s->mul[1];
  uint64_t x = a ^ (b << 32 | b >> 32);
  return (((x ^ x >> 32) * s->mul[0]) & ~0xffull) | 0x40 | kind;
}

TEAL_INLINE int teal_addr_equal(const struct teal_addr *a, const struct teal_addr *b) {
  return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

/* Bit of an address in a filter of TEAL_FILTER_BITS: of its four words, taken together by xor. */
#define TEAL_FILTER_BITS 4096u
TEAL_INLINE uint32_t teal_filter_bit(uint32_t folded) { return folded * 0x9e3779b1u >> 20; /* 12 bits */ }
TEAL_INLINE uint32_t teal_addr_folded(const struct teal_addr *a) {
  uint64_t both = a->halves[0] ^ a->halves[1];
  return (uint32_t)both ^ (uint32_t)(both >> 32);
}

TEAL_INLINE void teal_filter_add_folded(uint64_t *filter, uint32_t folded) {
  uint32_t bit = teal_filter_bit(folded);
  filter[bit / 64 & 63] |= 1ull << (bit % 64);
}
TEAL_INLINE void teal_filter_add(uint64_t *filter, const struct teal_addr *a) {
  teal_filter_add_folded(filter, teal_addr_folded(a));
}

/* 0: the address is not among those that the filter was made of; 1: it may be. */
TEAL_INLINE int teal_in_filter_folded(const uint64_t *filter, uint32_t folded) {
  uint32_t bit = teal_filter_bit(folded);
  return (int)(filter[bit / 64 & 63] >> (bit % 64) & 1);
}
TEAL_INLINE int teal_in_filter(const uint64_t *filter, const struct teal_addr *a) {
  return teal_in_filter_folded(filter, teal_addr_folded(a));
}

/* Whether an address may be one under which backends see a client that is a backend itself. `mask4`: host order. (By words,
 * as in teal_martian(): over halves, clang 14's BPF target crashes in its live variable analysis.) */
TEAL_INLINE int teal_in_hairpin_net(uint32_t family, const struct teal_addr *a, const struct teal_addr *net4,
                                    uint32_t mask4, const struct teal_addr *net6) {
  if (family == 4) return (teal_swap32(a->v4) & mask4) == teal_swap32(net4->v4);
  return a->words[0] == net6->words[0] && a->words[1] == net6->words[1] && a->words[2] == net6->words[2];
}

#define TEAL_MATCH_PROBES 8 /* no chain is longer: who builds the table makes it large enough */

/* One multiplication by a secret odd number: enough for a table whose keys the configuration gives. */
TEAL_INLINE uint32_t teal_match_hash(const struct teal_secret *s, uint64_t key) {
  return (uint32_t)(((key ^ key >> 32) * s->mul[0]) >> 40);
}

/* Index under `key`, or 0 (indexes begin at 1). `mask`: slots - 1, a power of two less one. */
TEAL_INLINE uint32_t teal_match_find(const struct teal_match_slot *slots, uint32_t mask, const struct teal_secret *s,
                                     uint64_t key) {
  uint32_t at = teal_match_hash(s, key) & mask;
  for (int i = 0; i < TEAL_MATCH_PROBES; i++) {
    const struct teal_match_slot *slot = &slots[(at + (uint32_t)i) & mask];
    if (slot->key == key) return slot->index;
    if (slot->key == 0) return 0;
  }
  return 0;
}

/* Sources that no client can have (RFC 6890): unspecified, loopback, multicast, reserved. */
TEAL_INLINE int teal_martian(uint32_t family, const struct teal_addr *a) {
  if (family == 4) {
    uint32_t top = a->v4 & 0xff;
    return top - 1 >= 223 || top == 127; /* 0 wraps round */
  }
  if (a->bytes[0] == 0xff) return 1;
  return a->words[0] == 0 && a->words[1] == 0 && a->words[2] == 0 && (teal_swap32(a->words[3]) <= 1);
}

#endif
