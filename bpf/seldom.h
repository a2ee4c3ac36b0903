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
  uint32_t half, family, hop, service, from;
  struct teal_addr to;
};

static long teal_route_step(uint32_t i, void *arg) {
  struct teal_routing *w = arg;
  struct teal_xdp_view *v = teal_view_at(w->half);
  i += w->from;
  if (i >= TEAL_ROUTE_LENGTHS) return 1;
  const struct teal_route_lengths *lengths = w->service ? &v->previews : &v->lengths;
  const struct teal_route_length *l = &lengths->at[w->family == 4 ? 0 : 1][i];
  struct teal_addr net;
  for (int k = 0; k < 4; k++) net.words[k] = w->to.words[k] & l->mask.words[k];
  w->hop = teal_route_probe(v->routes, v->route_mask & (TEAL_XDP_ROUTES - 1), &v->secret, w->family, &net, l->length,
                            w->service);
  return w->hop != 0;
}

/* teal_route_find() from the length `from` on. */
TEAL_SEPARATE uint32_t teal_xdp_route(uint32_t half, uint32_t family, const struct teal_addr *to, uint32_t service,
                                      uint32_t from) {
  struct teal_xdp_view *v = teal_view_at(half);
  if (!to) return 0;
  struct teal_routing w = {half, family, 0, service, from, *to};
  const struct teal_route_lengths *lengths = service ? &v->previews : &v->lengths;
  bpf_loop(lengths->count[family == 4 ? 0 : 1], teal_route_step, &w, 0);
  return w.hop;
}

#define TEAL_FIRST_LENGTHS 3

/* A client's next hop, of whom teal_route_quick() does not know it, by the first lengths alone (neighbours, their subnets,
 * the default), without bpf_loop(). 0: teal_xdp_route() goes on. */
TEAL_SEPARATE uint32_t teal_xdp_route_first(uint32_t half, uint32_t family, const struct teal_addr *to, uint32_t special) {
  struct teal_xdp_view *v = teal_view_at(half);
  if (!to) return 0;
  uint32_t which = family == 4 ? 0 : 1;
  uint32_t first = teal_route_first(&v->lengths, family, (int)special);
  for (uint32_t i = 0; i < TEAL_FIRST_LENGTHS; i++) {
    if (i < first) continue;
    if (i >= v->lengths.count[which]) return 0;
    const struct teal_route_length *l = &v->lengths.at[which][i];
    if (l->hop) return l->hop;
    struct teal_addr net;
    for (int k = 0; k < 4; k++) net.words[k] = to->words[k] & l->mask.words[k];
    uint32_t hop = teal_route_probe(v->routes, v->route_mask & (TEAL_XDP_ROUTES - 1), &v->secret, family, &net, l->length, 0);
    if (hop) return hop;
  }
  return 0;
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
  /* Options begin after 20 bytes; but Linux 6.1's verifier must not know. It walks a step once, with what stands on the
   * stack before the first, and takes out what can never happen then: all that is done at odd offsets. */
  uint32_t less = limit - (uint32_t)sizeof(struct teal_tcp);
  TEAL_KEEP(less);
  struct teal_clamping w = {ctx, l4, header, limit - less, (uint16_t)limit, 0};
  bpf_loop(TEAL_TCP_OPTIONS, teal_clamp_one, &w, 0);
  return w.done > 0;
}

/* Address by which backends see a client that is a backend itself: 1 and *client replaced, or 0. */
TEAL_SEPARATE int teal_xdp_hairpin_of(uint32_t half, uint32_t family, struct teal_addr *client) {
  struct teal_xdp_view *v = teal_view_at(half);
  if (!client) return 0;
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
  struct teal_xdp_view *v = teal_view_at(half);
  if (!seen) return 0;
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

TEAL_INLINE struct teal_signal_counts *teal_signals_at(uint32_t service, uint64_t val) {
  uint32_t copy = bpf_get_smp_processor_id() & (TEAL_SIGNAL_COPIES - 1);
  uint32_t index = teal_signal_index(val);
  TEAL_KEEP(index); /* clang knows its range and would spare the mask, which Linux 6.1's verifier needs */
  struct teal_xdp_signals *s = bpf_map_lookup_elem(&teal_signals, &copy);
  return s ? &s->count[service & (TEAL_SERVICES - 1)][index & (2 * TEAL_SIGNAL_GENERATIONS - 1)] : 0;
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
