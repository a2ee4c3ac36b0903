/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * How the program reaches shared memory: lines of the table's array, the view, one CPU's counters.
 */
#ifndef TEAL_BPF_REACH_H
#define TEAL_BPF_REACH_H

#include "maps.h"

/* Makes clang keep a packet pointer in the register whose bounds have been checked, instead of adding it up again. */
#define TEAL_KEEP(p) __asm__ volatile("" : "+r"(p))
/* Copies a 64-bit number onto itself. Linux 6.1's verifier takes what was copied, and all that comes of it in registers
 * and on the stack, for one number: what a comparison tells of one holds for the others. */
#define TEAL_IDENTIFY(n) __asm__ volatile("%0 = %0" : "+r"(n))

TEAL_INLINE struct teal_line *teal_line_at(uint32_t index) {
  return bpf_map_lookup_elem(&teal_table, &index);
}

/* teal/insert.h asks for these. */
struct teal_reach {
  uint32_t half, buckets, owner;
};

TEAL_INLINE struct teal_xdp_view *teal_view_at(uint32_t half) {
  struct teal_xdp_view *v = &teal_published.views[half & 1];
  TEAL_KEEP(v); /* or clang adds it up anew at each use */
  return v;
}

TEAL_INLINE const struct teal_secret *teal_reach_secret(const struct teal_reach *r) {
  return &teal_view_at(r->half)->secret;
}

TEAL_INLINE struct teal_bucket *teal_reach_bucket(const struct teal_reach *r, uint32_t index) {
  (void)r;
  return (struct teal_bucket *)teal_line_at(TEAL_LINE_BUCKETS + index);
}

TEAL_INLINE uint32_t *teal_reach_lock(const struct teal_reach *r, uint32_t index) {
  (void)r;
  struct teal_line *line = teal_line_at(TEAL_LINE_LOCKS + index / 16);
  return line ? (uint32_t *)line + (index & 15) : 0;
}

/* Words of the groups, then the cells: behind the buckets. */
TEAL_INLINE uint32_t *teal_settled_at(uint32_t buckets, uint32_t group) {
  struct teal_line *line = teal_line_at(TEAL_LINE_BUCKETS + buckets + group / 16);
  return line ? (uint32_t *)line + (group & 15) : 0;
}

TEAL_INLINE uint32_t *teal_reach_cells(const struct teal_reach *r, uint32_t bucket) {
  struct teal_line *line = teal_line_at(TEAL_LINE_BUCKETS + r->buckets + TEAL_GROUPS / 16 + bucket / 256);
  return line ? (uint32_t *)line + (bucket / TEAL_CELLS_A_WORD & 15) : 0;
}

TEAL_INLINE void teal_reach_pause(void) {}

TEAL_INLINE struct teal_split *teal_split_at(uint32_t group) {
  struct teal_line *line = teal_line_at(TEAL_LINE_SPLITS + group / 4);
  return line ? (struct teal_split *)line + (group & 3) : 0;
}

/* Ticks; user space writes the word, so it stands still while teald is away. */
TEAL_INLINE uint32_t teal_clock(void) {
  struct teal_line *line = teal_line_at(TEAL_LINE_TICK);
  return line ? TEAL_LOAD((uint32_t *)line) : 0;
}

TEAL_INLINE struct teal_reach teal_reach_of(const struct teal_xdp_view *v, uint32_t half) {
  struct teal_reach r = {half, v->buckets, TEAL_LOCK_XDP};
  return r;
}

TEAL_INLINE struct teal_xdp_cpu *teal_this_cpu(void) {
  uint32_t cpu = bpf_get_smp_processor_id();
  return bpf_map_lookup_elem(&teal_cpus, &cpu);
}

/* A function of its own: the verifier walks it once, and the common way stays short. */
#define TEAL_SEPARATE __attribute__((noinline))
#define TEAL_STEP TEAL_SEPARATE
#define TEAL_BUCKET_FIND teal_bucket_find
#define TEAL_BUCKET_CLAIM teal_bucket_claim
#define TEAL_LOCK_TRIES 64u
#include "teal/insert.h"

#endif
