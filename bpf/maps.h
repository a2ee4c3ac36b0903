/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The program's memory. Every map is pinned by the loader and outlives both the program and teald; the loader sets the
 * entries of those that depend on the configuration or the machine (marked so).
 */
#ifndef TEAL_BPF_MAPS_H
#define TEAL_BPF_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "teal/xdp.h"

struct teal_maglev_table {
  uint16_t backend[TEAL_MAGLEV_SLOTS + 3]; /* padded to 8 bytes */
};

struct { /* the flow table and all that belongs to it, as teal/layout.h has it; entries: set by the loader */
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct teal_line);
} teal_table SEC(".maps");

/* libbpf makes the map that it lies in (.bss). Not static: clang would see that nobody writes it, and take it for zeros. */
struct teal_xdp_published teal_published;

struct { /* entries: possible CPUs, set by the loader */
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct teal_xdp_cpu);
} teal_cpus SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, TEAL_SIGNAL_COPIES);
  __type(key, uint32_t);
  __type(value, struct teal_xdp_signals);
} teal_signals SEC(".maps");

struct teal_maglev_map {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(key_size, sizeof(uint32_t));
  __uint(value_size, sizeof(struct teal_maglev_table));
};

struct { /* half * TEAL_XDP_MAGLEVS + service number * 2 + pool */
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 2 * TEAL_XDP_MAGLEVS);
  __type(key, uint32_t);
  __array(values, struct teal_maglev_map);
} teal_maglevs SEC(".maps");

struct { /* AF_XDP sockets: port * TEAL_XDP_QUEUES + receive queue */
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, TEAL_XDP_PORTS * TEAL_XDP_QUEUES);
  __type(key, uint32_t);
  __type(value, uint32_t);
} teal_xsks SEC(".maps");

#endif
