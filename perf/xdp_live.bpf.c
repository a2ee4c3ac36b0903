/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Live frames for the program on the other end of a veth pair: the generator makes the next flow's packet and sends it, the
 * counter takes what comes back; and the least that could stand in teal's place.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "xdp_bench.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct live_plan {
  uint64_t state;  /* of the random sequence; the generator's */
  uint32_t flows;
  uint32_t unused;
  uint64_t back;   /* frames that came back; the counter's */
  uint8_t frame[BENCH_FRAME4] __attribute__((aligned(8)));
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct live_plan);
} plan SEC(".maps");

TEAL_INLINE struct live_plan *live_plan_here(void) {
  uint32_t zero = 0;
  return bpf_map_lookup_elem(&plan, &zero);
}

SEC("xdp")
int live_generate(struct xdp_md *ctx) {
  struct live_plan *p = live_plan_here();
  uint8_t *data = (uint8_t *)(long)ctx->data, *end = (uint8_t *)(long)ctx->data_end;
  if (!p || data + BENCH_FRAME4 > end) return XDP_ABORTED;
  const uint64_t *frame = (const uint64_t *)p->frame;
  TEAL_UNROLL for (uint32_t i = 0; i < BENCH_FRAME4 / 8; i++) *(uint64_t *)(data + i * 8) = frame[i];
  p->state = p->state * 6364136223846793005ull + 1442695040888963407ull; /* Knuth's MMIX */
  uint32_t flow = (uint32_t)((p->state >> 32) * p->flows >> 32);
  ((struct teal_ipv4 *)(data + 14))->src = teal_swap32(BENCH_CLIENT4 + flow);
  ((struct teal_tcp *)(data + 34))->sport = bench_client_port(flow);
  return XDP_TX;
}

SEC("xdp.frags")
int live_bare(struct xdp_md *ctx) {
  (void)ctx;
  return XDP_TX;
}

SEC("xdp")
int live_count(struct xdp_md *ctx) {
  struct live_plan *p = live_plan_here();
  uint8_t *data = (uint8_t *)(long)ctx->data, *end = (uint8_t *)(long)ctx->data_end;
  if (!p || data + 34 > end) return XDP_DROP;
  if (*(uint16_t *)(data + 12) == teal_swap16(TEAL_ETH_IPV4) && data[23] == TEAL_PROTO_TCP) __sync_fetch_and_add(&p->back, 1);
  return XDP_DROP;
}
