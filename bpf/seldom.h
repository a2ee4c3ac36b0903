/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * What only some packets need, as functions of their own: the verifier walks each once, and the common way stays short.
 */
#ifndef TEAL_BPF_SELDOM_H
#define TEAL_BPF_SELDOM_H

#include "reach.h"
#include "teal/decide.h"
#include "teal/parse.h"
#include "teal/rewrite.h"

/* teal_route_find() and teal_clamp_mss() with bpf_loop() around their steps: the verifier walks a step once. */
struct teal_routing {
  uint32_t half, family, hop;
  struct teal_addr to;
};

static long teal_route_step(uint32_t i, void *arg) {
  struct teal_routing *w = arg;
  struct teal_xdp_view *v = teal_view_at(w->half & 1);
  if (!v || i >= TEAL_ROUTE_LENGTHS) return 1;
  const struct teal_route_length *l = &v->lengths.at[w->family == 4 ? 0 : 1][i];
  struct teal_addr net;
  for (int k = 0; k < 4; k++) net.words[k] = w->to.words[k] & l->mask.words[k];
  w->hop = teal_route_probe(v->routes, v->route_mask & (TEAL_XDP_ROUTES - 1), &v->secret, (uint8_t)w->family, &net, l->length);
  return w->hop != 0;
}

/* Index of the next hop for `to`; 0 when there is no route. */
TEAL_SEPARATE uint32_t teal_xdp_route(uint32_t half, uint32_t family, const struct teal_addr *to) {
  struct teal_xdp_view *v = teal_view_at(half & 1);
  if (!v || !to) return 0;
  struct teal_routing w = {half, family, 0, *to};
  bpf_loop(v->lengths.count[family == 4 ? 0 : 1], teal_route_step, &w, 0);
  return w.hop;
}

struct teal_clamping {
  struct xdp_md *ctx;
  uint32_t l4, header, at;
  uint16_t limit;
  int done;
};

static long teal_clamp_one(uint32_t i, void *arg) {
  (void)i;
  struct teal_clamping *w = arg;
  uint8_t *data = (uint8_t *)(long)w->ctx->data, *end = (uint8_t *)(long)w->ctx->data_end;
  uint32_t at = w->at;
  if (w->l4 > 128 || at > 60) return 1;
  uint8_t *l4 = data + w->l4;
  TEAL_KEEP(l4);
  if (l4 + sizeof(struct teal_tcp) > end) return 1;
  w->done = teal_clamp_step(l4, end, w->header, &at, w->limit);
  w->at = at;
  return w->done != 0;
}

/* For the TCP header `l4` bytes into the frame: 1 when its MSS option was lowered. */
TEAL_SEPARATE int teal_xdp_clamp(struct xdp_md *ctx, uint32_t l4, uint32_t limit) {
  uint8_t *data = (uint8_t *)(long)ctx->data, *end = (uint8_t *)(long)ctx->data_end;
  if (l4 > 128 || data + l4 + sizeof(struct teal_tcp) > end) return 0;
  uint32_t header = (uint32_t)(((struct teal_tcp *)(data + l4))->offset >> 4) * 4;
  struct teal_clamping w = {ctx, l4, header, sizeof(struct teal_tcp), (uint16_t)limit, 0};
  bpf_loop(TEAL_TCP_OPTIONS, teal_clamp_one, &w, 0);
  return w.done > 0;
}

/* Address by which backends see a client that is a backend itself: 1 and *client replaced, or 0. */
TEAL_SEPARATE int teal_xdp_hairpin_of(uint32_t half, uint32_t family, struct teal_addr *client) {
  struct teal_xdp_view *v = teal_view_at(half & 1);
  if (!v || !client) return 0;
  uint64_t key = teal_match_key(&v->secret, (uint8_t)family, client, 0, 0, TEAL_MATCH_BACKEND_ADDRESS);
  uint32_t number = teal_match_find(v->match, v->match_mask & (TEAL_XDP_MATCH - 1), &v->secret, key);
  if (number == 0 || number >= TEAL_BACKENDS || !teal_addr_equal(&v->backends[number].addr, client)) return 0;
  *client = family == 4 ? v->hairpin4 : v->hairpin6;
  if (family == 4)
    client->words[0] |= teal_swap32(number);
  else
    client->words[3] |= teal_swap32(number);
  return 1;
}

/* The reverse: a hairpin client's own address in place of the one that backends see. */
TEAL_SEPARATE int teal_xdp_hairpin_client(uint32_t half, uint32_t family, struct teal_addr *seen) {
  struct teal_xdp_view *v = teal_view_at(half & 1);
  if (!v || !seen) return 0;
  uint32_t number;
  if (family == 4) {
    uint32_t host = teal_swap32(seen->v4);
    if ((host & v->hairpin_mask4) != teal_swap32(v->hairpin4.v4)) return 0;
    number = host & ~v->hairpin_mask4;
  } else {
    for (int i = 0; i < 3; i++)
      if (seen->words[i] != v->hairpin6.words[i]) return 0;
    number = teal_swap32(seen->words[3] ^ v->hairpin6.words[3]);
  }
  if (number == 0 || number >= v->backend_count || number >= TEAL_BACKENDS) return 0;
  if (v->backends[number].family != family) return 0;
  *seen = v->backends[number].addr;
  return 1;
}

/* Writes what teal_val_after() says over `val`, and over what stands there instead as long as it is the same flow's.
 * `how`: protocol | direction << 8 | TCP flags << 16 | two-way << 24. */
TEAL_SEPARATE int teal_xdp_touch(uint64_t *slot, uint64_t val, uint32_t how, uint32_t now) {
  if (!slot) return 0;
  for (int i = 0; i < 8; i++) {
    uint64_t next = teal_val_after(val, (uint8_t)how, (uint8_t)(how >> 8), (uint8_t)(how >> 16), (uint8_t)(how >> 24), now);
    if (next == val || TEAL_CAS(slot, val, next)) return 1;
    uint64_t there = TEAL_LOAD(slot);
    if (there == 0 || ((there ^ val) & ~(15ull << 38 | TEAL_STAMP_MASK)) != 0) return 0; /* recycled or replaced */
    val = there;
  }
  return 0;
}

/* Several services on one backend address and port. */
struct teal_shared {
  uint32_t half;
  uint32_t endpoint;
  struct teal_addr client;
  teal_be16 port;   /* the client's */
  uint16_t service; /* in: the chosen one (clash), out: the found one (reply) */
  uint16_t backend; /* out (reply) */
  uint16_t family;
  uint32_t now;
  uint32_t at;      /* of the walk over the references */
  int found;
};

/* What the separate functions are given, beside the 512 bytes of stack. */
struct teal_scratch {
  struct teal_insertion insertion;
  struct teal_shared shared;
  struct teal_pkt pkt;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct teal_scratch);
} teal_scratches SEC(".maps");

TEAL_INLINE struct teal_scratch *teal_scratch_here(void) {
  uint32_t zero = 0;
  return bpf_map_lookup_elem(&teal_scratches, &zero);
}

TEAL_INLINE struct teal_flow_key teal_key_of(const struct teal_secret *s, uint32_t family, const struct teal_addr *client,
                                             teal_be16 port, uint16_t service) {
  return family == 4 ? teal_flow_key4(s, client->v4, port, service) : teal_flow_key6(s, client, port, service);
}

/* One reference of the endpoint: whether its service holds a flow of this client on this backend. */
static long teal_reply_step(uint32_t i, void *arg) {
  struct teal_shared *w = arg;
  struct teal_xdp_view *v = teal_view_at(w->half & 1);
  if (!v) return 1;
  const struct teal_endpoint *e = &v->endpoints[w->endpoint & (TEAL_XDP_ENDPOINTS - 1)];
  if (i >= e->count) return 1;
  struct teal_endpoint_ref ref = v->refs[(e->first + i) & (TEAL_XDP_REFS - 1)];
  struct teal_reach r = teal_reach_of(v, w->half);
  struct teal_flow_key key = teal_key_of(&v->secret, w->family, &w->client, w->port, ref.service);
  uint64_t val = 0;
  if (!teal_find(&r, &key, &val) || teal_val_backend(val) != ref.backend) return 0;
  w->service = ref.service;
  w->backend = ref.backend;
  w->found = 1;
  return 1;
}

/* Whether a reply's flow is another service's than the endpoint's first: 1 and service, backend set. */
TEAL_SEPARATE int teal_xdp_find_reply(struct teal_shared *w) {
  if (!w) return 0;
  struct teal_xdp_view *v = teal_view_at(w->half & 1);
  if (!v) return 0;
  struct teal_shared mine = *w;
  mine.found = 0;
  bpf_loop(v->endpoints[w->endpoint & (TEAL_XDP_ENDPOINTS - 1)].count, teal_reply_step, &mine, 0);
  w->service = mine.service;
  w->backend = mine.backend;
  return mine.found;
}

static long teal_clash_step(uint32_t i, void *arg) {
  struct teal_shared *w = arg;
  struct teal_xdp_view *v = teal_view_at(w->half & 1);
  if (!v) return 1;
  const struct teal_endpoint *e = &v->endpoints[w->endpoint & (TEAL_XDP_ENDPOINTS - 1)];
  if (i >= e->count) return 1;
  struct teal_endpoint_ref ref = v->refs[(e->first + i) & (TEAL_XDP_REFS - 1)];
  if (ref.service == w->service || ref.service >= TEAL_SERVICES) return 0;
  struct teal_reach r = teal_reach_of(v, w->half);
  struct teal_flow_key key = teal_key_of(&v->secret, w->family, &w->client, w->port, ref.service);
  uint64_t val = 0;
  if (!teal_find(&r, &key, &val) || teal_val_backend(val) != ref.backend) return 0;
  if (teal_state_is_over(teal_val_state(val)) || teal_flow_expired(&v->services[ref.service], val, w->now)) return 0;
  w->found = 1;
  return 1;
}

/* Whether the client's address and port already are a flow of another service on `backend`'s address and port. */
TEAL_SEPARATE int teal_xdp_clashes(struct teal_shared *w, uint32_t backend) {
  if (!w) return 0;
  struct teal_xdp_view *v = teal_view_at(w->half & 1);
  if (!v || w->service >= TEAL_SERVICES) return 0;
  const struct teal_backend *b = &v->backends[backend & (TEAL_BACKENDS - 1)];
  struct teal_addr addr = b->addr;
  uint64_t key = teal_match_key(&v->secret, b->family, &addr, b->port, v->services[w->service].proto, TEAL_MATCH_ENDPOINT);
  uint32_t e = teal_match_find(v->match, v->match_mask & (TEAL_XDP_MATCH - 1), &v->secret, key);
  if (e == 0) return 0;
  struct teal_shared mine = *w;
  mine.endpoint = e;
  mine.found = 0;
  bpf_loop(v->endpoints[e & (TEAL_XDP_ENDPOINTS - 1)].count, teal_clash_step, &mine, 0);
  return mine.found;
}

/* teal_parse_any() of the frame; its length in bytes, all fragments of a scattered one. */
TEAL_SEPARATE uint32_t teal_xdp_parse(struct xdp_md *ctx, struct teal_pkt *pkt) {
  const uint8_t *data = (const uint8_t *)(long)ctx->data, *end = (const uint8_t *)(long)ctx->data_end;
  if (!pkt) return 0;
  /* What a scattered frame's fragments hold is not looked at: parsed as if there were enough of it, then measured. */
  teal_parse_any(data, end, 1u << 17, pkt);
  uint32_t len = (uint32_t)bpf_xdp_get_buff_len(ctx);
  if ((uint32_t)pkt->l3 + pkt->l3_len > len) teal_bad(pkt, TEAL_DROP_truncated);
  return len;
}

#endif
