/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The program with a memory of its own for splits, looked up again once in 1,024 new flows: what teal-xdp-race must find.
 */
#include "reach.h"

struct teal_stale {
  struct teal_split split;
  uint64_t used;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct teal_stale);
} teal_stales SEC(".maps");

TEAL_INLINE struct teal_split *teal_stale_split(uint32_t group) {
  uint32_t zero = 0;
  struct teal_stale *mine = bpf_map_lookup_elem(&teal_stales, &zero);
  struct teal_split *real = teal_split_at(group);
  if (!mine || !real) return 0;
  if (mine->used++ % 1024 == 0) mine->split = *real;
  return &mine->split;
}

#define teal_split_at(group) teal_stale_split(group)

#include "../../bpf/teal.bpf.c"
