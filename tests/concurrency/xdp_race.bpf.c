/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Three programs around the one under test: the generator makes the packets of the same new flows on both CPUs at once,
 * the checker sees where they go, and the shaker interrupts whatever runs, for a while, and may cut over meanwhile.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "teal/xdp.h"
#include "xdp_race.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct race_plan);
} plan SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, RACE_CPUS);
  __type(key, uint32_t);
  __type(value, struct race_generator);
} generators SEC(".maps");

struct { /* entries: set by user space */
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct race_seen);
} seen SEC(".maps");

struct { /* the engine's */
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct teal_line);
} teal_table SEC(".maps");

TEAL_INLINE struct race_plan *race_plan_here(void) {
  uint32_t zero = 0;
  return bpf_map_lookup_elem(&plan, &zero);
}

struct race_wait {
  uint32_t other; /* CPU */
  uint32_t unused;
  uint64_t step;
};

static long race_wait_step(uint32_t i, void *arg) {
  (void)i;
  const struct race_wait *w = arg;
  uint32_t other = w->other;
  struct race_generator *g = bpf_map_lookup_elem(&generators, &other);
  return !g || TEAL_LOAD(&g->arrived) >= w->step;
}

/* Puts the next frame of its CPU in the buffer and sends it out of the interface that it is said to have come in by. */
SEC("xdp")
int race_generate(struct xdp_md *ctx) {
  struct race_plan *p = race_plan_here();
  uint32_t cpu = bpf_get_smp_processor_id(), other = cpu ^ 1;
  struct race_generator *mine = bpf_map_lookup_elem(&generators, &cpu);
  struct race_generator *theirs = bpf_map_lookup_elem(&generators, &other);
  uint8_t *data = (uint8_t *)(long)ctx->data, *end = (uint8_t *)(long)ctx->data_end;
  if (!p || !mine || !theirs || data + RACE_FRAME > end) return XDP_ABORTED;
  uint64_t n = mine->next;
  uint64_t step = n / RACE_BATCH;
  uint32_t at = (uint32_t)(n % RACE_BATCH);
  uint32_t flow = (uint32_t)(step * RACE_STEP) + at % RACE_STEP;
  if (flow >= p->flows) return XDP_DROP;
  if (mine->calls++ % RACE_BATCH == 0) { /* a step is a batch; neither CPU begins one before the other has come to it */
    TEAL_STORE(&mine->arrived, step + 1);
    struct race_wait w = {other, 0, step + 1};
    bpf_loop(2000, race_wait_step, &w, 0);
    mine->alone = TEAL_LOAD(&theirs->arrived) < step + 1;
  }
  uint32_t client = RACE_CLIENT + flow;
  if (mine->alone) { /* the other CPU runs the thread that cuts over: a batch of flows that only this one has */
    if (mine->solo >= p->flows) return XDP_DROP;
    client = RACE_SOLO + cpu * RACE_SOLO_STEP + (uint32_t)mine->solo++;
    at = 0;
  }
  const uint32_t *from = (const uint32_t *)p->frame;
  TEAL_UNROLL for (int i = 0; i < RACE_FRAME / 4; i++) *(uint32_t *)(data + i * 4) = from[i];
  struct teal_ipv4 *ip = (struct teal_ipv4 *)(data + 14);
  struct teal_tcp *tcp = (struct teal_tcp *)(data + 34);
  ip->src = teal_swap32(client);
  tcp->flags = at < RACE_STEP ? TEAL_TCP_SYN : TEAL_TCP_ACK;
  tcp->window = (uint16_t)cpu;
  tcp->seq = TEAL_LOAD(&p->adopted);
  if (!mine->alone) TEAL_STORE(&mine->next, n + 1);
  return XDP_TX;
}

/* Where the program under test sends to. */
SEC("xdp")
int race_check(struct xdp_md *ctx) {
  struct race_plan *p = race_plan_here();
  uint8_t *data = (uint8_t *)(long)ctx->data, *end = (uint8_t *)(long)ctx->data_end;
  if (!p || data + 54 > end) return XDP_DROP;
  const struct teal_ipv4 *ip = (const struct teal_ipv4 *)(data + 14);
  const struct teal_tcp *tcp = (const struct teal_tcp *)(data + 34);
  if (*(uint16_t *)(data + 12) != teal_swap16(TEAL_ETH_IPV4) || ip->proto != TEAL_PROTO_TCP) return XDP_DROP;
  uint32_t flow = teal_swap32(ip->src) - RACE_CLIENT, cpu = tcp->window;
  uint32_t index = flow * RACE_CPUS + (cpu & 1);
  struct race_seen *s = bpf_map_lookup_elem(&seen, &index);
  if (!s || flow >= p->flows || cpu >= RACE_CPUS) return XDP_DROP;
  uint32_t backend = teal_swap32(ip->dst) & 0xff;
  if (backend == 0 || backend > RACE_BACKENDS || tcp->sport != teal_swap16(RACE_CLIENT_PORT)) s->strange++;
  if (s->packets++ == 0) {
    s->stored = TEAL_LOAD(&p->stored);
    s->stamp = tcp->seq;
    s->backend = (uint8_t)backend;
  } else if (s->backend != backend) {
    s->moved++;
  }
  return XDP_DROP;
}

struct race_pause {
  uint64_t sum;
};

static long race_pause_step(uint32_t i, void *arg) {
  struct race_pause *w = arg;
  TEAL_STORE(&w->sum, w->sum + i);
  return 0;
}

/* In a timer's interrupt. */
SEC("perf_event")
int race_shake(void *ctx) {
  (void)ctx;
  struct race_plan *p = race_plan_here();
  if (!p) return 0;
  __sync_fetch_and_add(&p->shaken, 1);
  if (TEAL_LOAD(&p->armed) == 1 && TEAL_CAS(&p->armed, 1u, 2u)) {
    uint32_t line = TEAL_LINE_SPLITS + p->group / 4;
    struct teal_line *at = bpf_map_lookup_elem(&teal_table, &line);
    if (at) {
      struct teal_split *split = (struct teal_split *)at + (p->group & 3);
      TEAL_STORE(&p->stored, (uint32_t)teal_split_generation(p->pending[1]));
      TEAL_STORE(&split->previous, p->pending[0]);
      TEAL_STORE(&split->current, p->pending[1]);
    }
    TEAL_STORE(&p->armed, 0);
  }
  struct race_pause w = {0};
  bpf_loop(bpf_get_prandom_u32() & 1023, race_pause_step, &w, 0); /* up to some microseconds */
  return 0;
}
