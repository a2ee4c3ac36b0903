/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * What xdp_bench.bpf.c and xdp_bench.cc share.
 */
#ifndef TEAL_PERF_XDP_BENCH_H
#define TEAL_PERF_XDP_BENCH_H

#include "teal/net.h"

#define BENCH_FRAME4 64 /* bytes: Ethernet 14, IPv4 20, TCP 20, data 10; nothing is padding */
#define BENCH_FRAME6 80 /* bytes: Ethernet 14, IPv6 40, TCP 20, data 6 */
#define BENCH_PEERS 4   /* backends of a service: flow i is on backend i % 4 */

/* Written by user space before a run; `state`, `broken` and `missed` by the programs. */
struct bench_plan {
  uint64_t state;    /* of the random sequence; or the next flow, when in_order */
  uint32_t flows;    /* of uniform random order */
  uint32_t in_order; /* flow 0, 1, 2, ... instead */
  uint32_t grow;     /* bytes that the program under test puts in front of the frame */
  uint32_t rehearse; /* for the floor: the wrapper puts them in front itself, and takes them off again */
  uint32_t reply;    /* the packet is a backend's */
  uint32_t vips;     /* services: consecutive addresses from the template's on */
  uint32_t clear[2]; /* lines of the flow table that are emptied before each run; 0: none */
  uint32_t broken;   /* counted: packets that could not be restored */
  uint32_t missed;   /* counted: keys that the LRU hash did not have */
  uint32_t unused;
  uint8_t frame[BENCH_FRAME6] __attribute__((aligned(8)));
  struct bench_peer {
    struct teal_addr addr;
    uint32_t port; /* network order */
  } peers[BENCH_PEERS];
};

/* The five-tuple that the kernel's LRU hash is asked for; no padding. */
struct bench_key4 {
  uint32_t src, dst;
  uint16_t sport, dport;
  uint32_t proto;
};
struct bench_key6 {
  uint8_t src[16], dst[16];
  uint16_t sport, dport;
  uint32_t proto;
};

#define BENCH_CLIENT4 0x0a000001u /* host order: 10.0.0.1 is flow 0's client; flow i's is i after it */

TEAL_INLINE uint16_t bench_client_port(uint32_t flow) {
  return teal_swap16((uint16_t)(0x8000u | (flow & 0x3fff)));
}

/* Which of the services a flow belongs to: none of the table's hashes follows this one. */
TEAL_INLINE uint32_t bench_vip_of(uint32_t flow, uint32_t vips) {
  return (uint32_t)(((uint64_t)(flow * 2654435761u) * vips) >> 32);
}

#endif
