/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The wrapper that BPF_PROG_TEST_RUN repeats: it restores the packet (bytes and length), gives it the next flow's client,
 * and tail-calls the program under test; and the programs that teal_xdp is compared with.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "xdp_bench.h"
#include "teal/xdp.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, uint32_t);
} subject SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct bench_plan);
} plan SEC(".maps");

struct { /* the engine's */
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct teal_line);
} teal_table SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1);
  __type(key, struct bench_key4);
  __type(value, uint64_t);
} lru4 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1);
  __type(key, struct bench_key6);
  __type(value, uint64_t);
} lru6 SEC(".maps");

TEAL_INLINE struct bench_plan *bench_plan_here(void) {
  uint32_t zero = 0;
  return bpf_map_lookup_elem(&plan, &zero);
}

TEAL_INLINE void bench_empty(uint32_t index) {
  struct teal_line *line = bpf_map_lookup_elem(&teal_table, &index);
  if (!line) return;
  TEAL_UNROLL for (int i = 0; i < 8; i++) line->word[i] = 0;
}

/* Brings the frame back to `len` bytes: what the last run put in front of it or took off its end. */
TEAL_INLINE int bench_restore(struct xdp_md *ctx, const struct bench_plan *p, uint32_t len) {
  uint32_t now = (uint32_t)(ctx->data_end - ctx->data);
  if (now == len) return 1;
  if (p->grow != 0 && bpf_xdp_adjust_head(ctx, (int)p->grow) != 0) return 0;
  now = (uint32_t)(ctx->data_end - ctx->data);
  return now == len || bpf_xdp_adjust_tail(ctx, (int)len - (int)now) == 0;
}

TEAL_INLINE uint32_t bench_next(struct bench_plan *p) {
  if (p->in_order) return (uint32_t)p->state++;
  p->state = p->state * 6364136223846793005ull + 1442695040888963407ull; /* Knuth's MMIX */
  return (uint32_t)((p->state >> 32) * p->flows >> 32);
}

TEAL_INLINE int bench_wrap(struct xdp_md *ctx, uint32_t len, int family) {
  struct bench_plan *p = bench_plan_here();
  if (!p) return XDP_ABORTED;
  if (p->rehearse && (bpf_xdp_adjust_head(ctx, -(int)p->grow) != 0 || bpf_xdp_adjust_head(ctx, (int)p->grow) != 0))
    p->broken++;
  if (!bench_restore(ctx, p, len)) p->broken++;
  uint8_t *data = (uint8_t *)(long)ctx->data, *end = (uint8_t *)(long)ctx->data_end;
  if (data + len > end) return XDP_ABORTED;
  const uint64_t *frame = (const uint64_t *)p->frame;
  TEAL_UNROLL for (uint32_t i = 0; i < len / 8; i++) *(uint64_t *)(data + i * 8) = frame[i];
  if (p->clear[0]) {
    bench_empty(p->clear[0]);
    bench_empty(p->clear[1]);
  }
  uint32_t flow = bench_next(p);
  const struct bench_peer *peer = &p->peers[flow % BENCH_PEERS];
  uint16_t port = bench_client_port(flow);
  if (family == 4) {
    struct teal_ipv4 *ip = (struct teal_ipv4 *)(data + 14);
    struct teal_tcp *tcp = (struct teal_tcp *)(data + 34);
    uint32_t client = teal_swap32(BENCH_CLIENT4 + flow);
    if (p->reply) {
      ip->src = peer->addr.v4;
      tcp->sport = (uint16_t)peer->port;
      ip->dst = client;
      tcp->dport = port;
    } else {
      ip->src = client;
      tcp->sport = port;
      ip->dst += teal_swap32(bench_vip_of(flow, p->vips)); /* the template's last two bytes are 0 where there are many */
    }
  } else {
    struct teal_ipv6 *ip = (struct teal_ipv6 *)(data + 14);
    struct teal_tcp *tcp = (struct teal_tcp *)(data + 54);
    uint32_t client = teal_swap32(flow);
    if (p->reply) {
      TEAL_COPY(ip->dst, ip->src, 12); /* the template has the clients' prefix there */
      *(uint32_t *)(ip->dst + 12) = client;
      tcp->dport = port;
      TEAL_COPY(ip->src, &peer->addr, 16);
      tcp->sport = (uint16_t)peer->port;
    } else {
      *(uint32_t *)(ip->src + 12) = client;
      tcp->sport = port;
    }
  }
  bpf_tail_call_static(ctx, &subject, 0);
  return XDP_ABORTED;
}

SEC("xdp.frags")
int bench_wrap4(struct xdp_md *ctx) { return bench_wrap(ctx, BENCH_FRAME4, 4); }

SEC("xdp.frags")
int bench_wrap6(struct xdp_md *ctx) { return bench_wrap(ctx, BENCH_FRAME6, 6); }

SEC("xdp.frags")
int bench_stub(struct xdp_md *ctx) {
  (void)ctx;
  return XDP_TX;
}

TEAL_INLINE int bench_found(const uint64_t *value) {
  struct bench_plan *p = bench_plan_here();
  if (!value && p) p->missed++;
  return XDP_TX;
}

SEC("xdp.frags")
int bench_lru4(struct xdp_md *ctx) {
  uint8_t *data = (uint8_t *)(long)ctx->data, *end = (uint8_t *)(long)ctx->data_end;
  if (data + 54 > end) return XDP_DROP;
  const struct teal_ipv4 *ip = (const struct teal_ipv4 *)(data + 14);
  const struct teal_tcp *tcp = (const struct teal_tcp *)(data + 34);
  struct bench_key4 key = {ip->src, ip->dst, tcp->sport, tcp->dport, ip->proto};
  return bench_found(bpf_map_lookup_elem(&lru4, &key));
}

SEC("xdp.frags")
int bench_lru6(struct xdp_md *ctx) {
  uint8_t *data = (uint8_t *)(long)ctx->data, *end = (uint8_t *)(long)ctx->data_end;
  if (data + 74 > end) return XDP_DROP;
  const struct teal_ipv6 *ip = (const struct teal_ipv6 *)(data + 14);
  const struct teal_tcp *tcp = (const struct teal_tcp *)(data + 54);
  struct bench_key6 key;
  TEAL_COPY(key.src, ip->src, 16);
  TEAL_COPY(key.dst, ip->dst, 16);
  key.sport = tcp->sport;
  key.dport = tcp->dport;
  key.proto = ip->next;
  return bench_found(bpf_map_lookup_elem(&lru6, &key));
}
