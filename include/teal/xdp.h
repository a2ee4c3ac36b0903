/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * What the XDP program and its loader share beside the flow table: what is published to it, and the counters. Each is the
 * value of a BPF array that user space maps; what teald writes and what the program writes never share a line.
 */
#ifndef TEAL_XDP_H
#define TEAL_XDP_H

#include "teal/counters.h"
#include "teal/layout.h"
#include "teal/route.h"

#define TEAL_XDP_VERSION 9     /* of everything in this file: a program of another version is not fed this one's views */
#define TEAL_XDP_PORTS 32u
#define TEAL_XDP_PORT_SLOTS 256u
#define TEAL_XDP_QUEUES 64u    /* receive queues a port */
#define TEAL_XDP_MATCH 524288u /* slots, a power of two */
#define TEAL_XDP_ENDPOINTS 65536u
#define TEAL_XDP_REFS 65536u
#define TEAL_XDP_ROUTES 65536u /* slots, a power of two */
#define TEAL_XDP_HOPS 32768u
#define TEAL_XDP_MAGLEVS (2u * TEAL_SERVICES) /* outer slots a half: service number * 2 + pool */
#define TEAL_MAGLEV_SLOTS 65537u
#define TEAL_LOCK_XDP 0xffffffffu /* stands in the lock words that the program holds; no teald's instance */

/* A line of the flow table's array: the file of layout.h, 64 bytes at a time. */
struct teal_line {
  uint64_t word[8];
} __attribute__((aligned(64)));

#define TEAL_LINE_HEAD 0u
#define TEAL_LINE_TICK 2u
#define TEAL_LINE_LOCKS ((uint32_t)(TEAL_AT_LOCKS / 64))
#define TEAL_LINE_SPLITS ((uint32_t)(TEAL_AT_SPLITS / 64))
#define TEAL_LINE_BUCKETS ((uint32_t)(TEAL_AT_BUCKETS / 64))
TEAL_STATIC_ASSERT(TEAL_AT_LOCKS % 64 == 0 && TEAL_AT_SPLITS % 64 == 0 && TEAL_AT_BUCKETS % 64 == 0, "whole lines");
TEAL_STATIC_ASSERT(__builtin_offsetof(struct teal_head, tick) == TEAL_LINE_TICK * 64, "the clock's line");

/* A published view. There are two: teald fills the one that no program reads, then turns control.half. */
struct teal_xdp_view {
  struct teal_secret secret;
  uint32_t buckets;
  uint32_t match_mask;
  uint32_t route_mask;
  uint32_t backend_count;
  uint32_t hairpin_mask4; /* host order; ~0: none */
  uint32_t unused;
  struct teal_addr hairpin4, hairpin6;
  uint64_t local[TEAL_FILTER_BITS / 64]; /* these two as model::View has them */
  uint64_t special[TEAL_FILTER_BITS / 64];
  struct teal_route_default route_default;
  struct teal_route_lengths lengths;
  struct teal_route_lengths previews;
  struct teal_service services[TEAL_SERVICES] __attribute__((aligned(64)));
  struct teal_backend backends[TEAL_BACKENDS];
  struct teal_match_slot match[TEAL_XDP_MATCH];
  struct teal_endpoint endpoints[TEAL_XDP_ENDPOINTS];
  struct teal_endpoint_ref refs[TEAL_XDP_REFS];
  struct teal_route_slot routes[TEAL_XDP_ROUTES];
  struct teal_hop hops[TEAL_XDP_HOPS];
};

enum teal_xdp_port_kind {
  TEAL_PORT_NONE = 0,
  TEAL_PORT_XDP = 1,
  TEAL_PORT_DPDK = 2, /* packets to it go by a worker */
};

struct teal_xdp_port { /* by engine's port number */
  uint32_t ifindex;
  uint8_t mac[6];
  uint8_t tags; /* VLAN tags that its traffic carries, taken off towards the kernel */
  uint8_t kind; /* enum teal_xdp_port_kind */
};

struct teal_xdp_control {
  uint32_t version; /* TEAL_XDP_VERSION */
  uint32_t half;    /* the view that programs read */
  struct teal_xdp_port ports[TEAL_XDP_PORTS];
  struct teal_xdp_port_slot {
    uint32_t ifindex; /* 0: free */
    uint32_t port;
  } slots[TEAL_XDP_PORT_SLOTS];
};

/* Written by teald. The program's .bss: what lies there it reaches without a lookup, as its own variable. */
struct teal_xdp_published {
  struct teal_xdp_control control;
  struct teal_xdp_view views[2] __attribute__((aligned(64)));
};

TEAL_INLINE uint32_t teal_xdp_port_hash(uint32_t ifindex) { return (ifindex * 0x9e3779b1u) >> 24; }

/* Of one CPU; written by the program that runs on it. `turn` is odd while one runs: what a publisher waits for. */
struct teal_xdp_cpu {
  uint64_t turn;
  uint64_t drop[TEAL_DROP_COUNT];
  uint64_t event[TEAL_EV_COUNT];
  struct teal_service_counts service[TEAL_SERVICES] __attribute__((aligned(64)));
  struct teal_backend_counts backend[TEAL_BACKENDS];
} __attribute__((aligned(64)));

/* Signals of all services, TEAL_SIGNAL_COPIES of them: CPUs that share one add to it atomically, once or twice a
 * connection. */
#define TEAL_SIGNAL_COPIES 4u
struct teal_xdp_signals {
  struct teal_signal_counts count[TEAL_SERVICES][2 * TEAL_SIGNAL_GENERATIONS];
};

#endif
