/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The short way of what nearly all packets are: TCP in the middle of a connection, whose entry they leave as it is. What
 * turns out to be anything else goes the long way, as it came, as if nobody had looked at it before. Both ways make the
 * same of a packet, as the workers' do (src/dataplane/under_way.cc; docs/decisions/0018 and 0022).
 */
#ifndef TEAL_BPF_UNDER_WAY_H
#define TEAL_BPF_UNDER_WAY_H

#include "send.h"
#include "teal/settled.h"
#include "teal/under_way.h"

#define TEAL_GOES_LONG (-1) /* no verdict; nothing has been changed or counted */

/* Index under `key` where its first slot tells: 0, and none, where that is free. */
#define TEAL_MATCH_UNKNOWN (~0u)
TEAL_INLINE uint32_t teal_match_first(const struct teal_xdp_view *v, uint64_t key) {
  const struct teal_match_slot *slot =
      &v->match[teal_match_hash(&v->secret, key) & v->match_mask & (TEAL_XDP_MATCH - 1)];
  if (TEAL_LIKELY(slot->key == key)) return slot->index;
  return slot->key == 0 ? 0 : TEAL_MATCH_UNKNOWN;
}

/* TEAL_CELL_*, of a bucket. */
TEAL_INLINE uint32_t teal_cell_at(const struct teal_reach *r, uint32_t bucket) {
  uint32_t *word = teal_reach_cells(r, bucket);
  return word ? teal_cell_of(TEAL_LOAD(word), bucket) : TEAL_CELL_UNKNOWN;
}

/* The backend of a packet with no SYN, FIN or RST that needs no look at the table (teal/settled.h); 0: it does. */
TEAL_INLINE uint32_t teal_settle(struct teal_trip *t) {
  uint32_t number = t->service & (TEAL_SERVICES - 1), zero = 0;
  const struct teal_service *svc = &t->view->services[number];
  if (!(svc->flags & TEAL_SERVICE_SETTLES)) return 0;
  if (TEAL_UNLIKELY(teal_goes_long(t->key.hash, t->now))) return 0;
  struct teal_reach r = teal_reach_of(t->view, t->half);
  uint32_t *word = teal_settled_at(r.buckets, svc->group);
  uint32_t settled = word ? TEAL_LOAD(word) : 0;
  if (settled == 0) return 0;
  uint32_t cell = teal_cell_at(&r, teal_bucket_first(t->key.hash, r.buckets));
  if (!teal_cells_settled(cell, teal_cell_at(&r, teal_bucket_second(t->key.hash, r.buckets)))) return 0;
  uint32_t pool = (settled - 1) & 1;
  uint32_t outer = t->half * TEAL_XDP_MAGLEVS + number * 2 + pool;
  void *inner = svc->maglev[pool] ? bpf_map_lookup_elem(&teal_maglevs, &outer) : 0;
  struct teal_maglev_table *table = inner ? bpf_map_lookup_elem(inner, &zero) : 0;
  uint32_t slot = teal_maglev_slot(&t->view->secret, t->key.hash, 0, TEAL_MAGLEV_SLOTS);
  return table && slot < TEAL_MAGLEV_SLOTS ? table->backend[slot] : 0;
}

/* The backend by the packet's entry, where that stays as it is; 0: it does not, or there is none. */
TEAL_INLINE uint32_t teal_steady_in(struct teal_trip *t, uint32_t bucket) {
  struct teal_bucket *b = (struct teal_bucket *)teal_line_at(TEAL_LINE_BUCKETS + bucket);
  if (!b) return 0;
  for (int i = 0; i < TEAL_BUCKET_SLOTS; i++) {
    if (TEAL_LOAD(&b->key[i]) != t->key.key) continue;
    uint64_t val = TEAL_LOAD(&b->val[i]);
    return teal_is_steady_of(val, t->key.check, t->now) && TEAL_LOAD(&b->key[i]) == t->key.key ? teal_val_backend(val) : 0;
  }
  return 0;
}
TEAL_INLINE uint32_t teal_steady(struct teal_trip *t) {
  uint32_t backend = teal_steady_in(t, teal_bucket_first(t->key.hash, t->view->buckets));
  return TEAL_LIKELY(backend != 0) ? backend : teal_steady_in(t, teal_bucket_second(t->key.hash, t->view->buckets));
}

/* Where the frame of the packet begins; 0: it is not so long. */
TEAL_INLINE uint8_t *teal_frame(const struct teal_trip *t, uint32_t bytes) {
  uint8_t *data = (uint8_t *)(long)t->ctx->data, *end = (uint8_t *)(long)t->ctx->data_end;
  return data + bytes <= end ? data : 0;
}

/* Whether the frame is for this port: its destination, and the address that teald says is the port's. */
TEAL_INLINE int teal_is_ours(const struct teal_xdp_port *port, const uint8_t *data) {
  return *(const uint32_t *)data == *(const uint32_t *)port->mac &&
         *(const uint16_t *)(data + 4) == *(const uint16_t *)(port->mac + 4);
}

/* Whether a hop is one that the short way can send by: plain, ours, the packet not too long. */
TEAL_INLINE int teal_takes(struct teal_trip *t, const struct teal_hop *hop, uint32_t l3_len) {
  return l3_len <= hop->mtu && teal_ours_to_send(t, hop);
}

/* The packet is this way's: from here on it is forwarded or dropped. `settled`: found without the table. */
TEAL_INLINE void teal_stays_short(struct teal_trip *t, uint32_t settled) {
  t->cpu->event[TEAL_EV_rx_packets]++;
  t->cpu->event[TEAL_EV_rx_bytes] += t->frame_len;
  t->cpu->event[TEAL_EV_settled] += settled;
}

TEAL_INLINE void teal_count_forwarded(struct teal_trip *t, uint32_t number) {
  struct teal_backend_counts *bc = &t->cpu->backend[number & (TEAL_BACKENDS - 1)];
  bc->packets++;
  bc->bytes += t->frame_len;
  teal_event(t, TEAL_EV_forwarded);
}

/* Puts the header of a tunnel over `outer` in front of a packet of `family` and `l3_len` bytes, and sends it; both are
 * constants. `start`: the first word of an IPv4 packet, `traffic_class` that of any other. */
TEAL_INLINE int teal_enter_tunnel(struct teal_trip *t, const struct teal_backend *b, uint32_t family, uint32_t outer,
                                  uint32_t start, uint8_t traffic_class, uint32_t l3_len) {
  const uint32_t head = teal_tunnel_len(outer), front = sizeof(struct teal_eth);
  uint32_t excess = t->frame_len - front - l3_len;
  /* Ethernet padding must not travel inside the tunnel. */
  if (TEAL_UNLIKELY(excess != 0) && bpf_xdp_adjust_tail(t->ctx, -(int)excess) != 0)
    return teal_drop(t, TEAL_DROP_no_room);
  if (TEAL_UNLIKELY(bpf_xdp_adjust_head(t->ctx, -(int)head) != 0)) return teal_drop(t, TEAL_DROP_no_room);
  uint8_t *data = teal_frame(t, front + head);
  if (!data) return teal_drop(t, TEAL_DROP_truncated);
  if (family == 4 && outer == 4)
    teal_write_tunnel4_as(data + front, &b->tunnel4, start);
  else if (outer == 4)
    teal_write_tunnel4(data + front, &b->tunnel4, family, traffic_class, l3_len);
  else
    teal_write_tunnel6(data + front, b, family, traffic_class, l3_len);
  teal_write_eth_plain(data, &b->hop, outer == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6);
  return teal_leave(t, &b->hop, front + head + l3_len);
}

/* All of stage 5 of a packet through a tunnel. */
TEAL_INLINE int teal_tunnel_under_way(struct teal_trip *t, uint8_t *data, uint32_t number, uint32_t family, uint32_t outer,
                                      uint32_t settled) {
  const struct teal_backend *b = &t->view->backends[number & (TEAL_BACKENDS - 1)];
  uint8_t *ip = data + sizeof(struct teal_eth);
  uint32_t start = teal_swap32(teal_load32(ip));
  uint32_t l3_len = family == 4 ? start & 0xffff : teal_under_way_l3_len(data, family);
  if (TEAL_UNLIKELY(!teal_takes(t, &b->hop, l3_len + teal_tunnel_len(outer)))) return TEAL_GOES_LONG;
  if (TEAL_UNLIKELY(!teal_hop_down(ip, family))) return TEAL_GOES_LONG;
  uint8_t traffic_class = teal_traffic_class(ip, family);
  teal_stays_short(t, settled);
  teal_count_forwarded(t, number);
  return teal_enter_tunnel(t, b, family, outer, start, traffic_class, l3_len);
}

/* Stage 5 of a client's packet to backend `number`. */
TEAL_INLINE int teal_forward_under_way(struct teal_trip *t, uint8_t *data, uint32_t number, uint32_t family,
                                       uint32_t settled) {
  const struct teal_backend *b = &t->view->backends[number & (TEAL_BACKENDS - 1)];
  const struct teal_hop *hop = &b->hop;
  uint8_t *ip = data + sizeof(struct teal_eth);
  if (b->way == TEAL_WAY_TUNNEL4) return teal_tunnel_under_way(t, data, number, family, 4, settled);
  if (b->way == TEAL_WAY_TUNNEL6) return teal_tunnel_under_way(t, data, number, family, 6, settled);
  if (TEAL_UNLIKELY(b->way == TEAL_WAY_LONG) || TEAL_UNLIKELY(!teal_takes(t, hop, teal_under_way_l3_len(data, family))))
    return TEAL_GOES_LONG;
  if (b->way == TEAL_WAY_NAT) {
    if (TEAL_UNLIKELY(teal_in_filter(t->view->special, &t->client))) return TEAL_GOES_LONG; /* perhaps a backend */
    if (TEAL_UNLIKELY(!teal_nat_hop(ip, data + TEAL_UNDER_WAY_L4(family), family, TEAL_PROTO_TCP, TEAL_SIDE_DST, &b->addr,
                                    b->port, b->sums)))
      return TEAL_GOES_LONG;
  }
  teal_write_macs_plain(data, hop);
  teal_stays_short(t, settled);
  teal_count_forwarded(t, number);
  return teal_leave(t, hop, t->frame_len);
}

/* The same of a backend's reply. */
TEAL_INLINE int teal_reply_under_way(struct teal_trip *t, uint8_t *data, uint32_t family, uint32_t settled) {
  uint32_t index = teal_route_quick(&t->view->route_default, family, &t->client, 0);
  const struct teal_hop *hop = &t->view->hops[index & (TEAL_XDP_HOPS - 1)];
  const struct teal_service *svc = &t->view->services[t->service & (TEAL_SERVICES - 1)];
  if (TEAL_UNLIKELY(index == 0) || TEAL_UNLIKELY(!teal_hop_plain(hop)) ||
      TEAL_UNLIKELY(!teal_takes(t, hop, teal_under_way_l3_len(data, family))))
    return TEAL_GOES_LONG;
  if (TEAL_UNLIKELY(!teal_nat_hop(data + sizeof(struct teal_eth), data + TEAL_UNDER_WAY_L4(family), family, TEAL_PROTO_TCP,
                                  TEAL_SIDE_SRC, &svc->vip, svc->port, t->ref->sums)))
    return TEAL_GOES_LONG;
  teal_write_macs_plain(data, hop);
  teal_stays_short(t, settled);
  teal_event(t, TEAL_EV_replies);
  return teal_leave(t, hop, t->frame_len);
}

/* All stages, of a frame of `family`, a constant. */
TEAL_INLINE int teal_carry_under_way(struct teal_trip *t, uint32_t family) {
  uint8_t *data = teal_frame(t, TEAL_UNDER_WAY_L4(family) + (uint32_t)sizeof(struct teal_tcp));
  if (TEAL_UNLIKELY(!data)) return TEAL_GOES_LONG;
  /* First, since those have the long way before them. */
  if (TEAL_UNLIKELY(!teal_flags_settled(data[TEAL_UNDER_WAY_L4(family) + 13]))) return TEAL_GOES_LONG;
  t->frame_len = (uint32_t)((uint8_t *)(long)t->ctx->data_end - data);
  if (TEAL_UNLIKELY(t->frame_len > TEAL_FRAME_USUAL) || TEAL_UNLIKELY(!teal_is_ours(teal_port_at(t->port), data)) ||
      TEAL_UNLIKELY(!teal_is_plain(data, family)) || TEAL_UNLIKELY(!teal_under_way_fits(data, t->frame_len, family)))
    return TEAL_GOES_LONG;
  const struct teal_xdp_view *v = t->view;
  struct teal_addr src, dst;
  teal_under_way_addresses(data, family, &src, &dst);
  const uint8_t *l4 = data + TEAL_UNDER_WAY_L4(family);
  teal_be16 sport = teal_load16(l4), dport = teal_load16(l4 + 2);
  uint32_t s = teal_match_first(v, teal_match_key(&v->secret, family, &dst, dport, TEAL_PROTO_TCP, TEAL_MATCH_VIP));
  if (s != 0) {
    if (TEAL_UNLIKELY(s == TEAL_MATCH_UNKNOWN) || TEAL_UNLIKELY(teal_martian(family, &src))) return TEAL_GOES_LONG;
    if (family == 6 && TEAL_UNLIKELY(!teal_addr_equal(&v->services[s & (TEAL_SERVICES - 1)].vip, &dst)))
      return TEAL_GOES_LONG;
    t->service = s;
    t->client = src;
    t->key = teal_key_of(&v->secret, family, &src, sport, (uint16_t)s);
    uint32_t settled = teal_settle(t), backend = settled ? settled : teal_steady(t);
    if (TEAL_UNLIKELY(backend == 0)) return TEAL_GOES_LONG;
    return teal_forward_under_way(t, data, backend, family, settled != 0);
  }
  uint32_t e = teal_match_first(v, teal_match_key(&v->secret, family, &src, sport, TEAL_PROTO_TCP, TEAL_MATCH_ENDPOINT));
  if (TEAL_UNLIKELY(e == TEAL_MATCH_UNKNOWN)) return TEAL_GOES_LONG;
  if (TEAL_UNLIKELY(e == 0)) { /* not ours */
    teal_stays_short(t, 0);
    t->pkt.tags = 0;
    return teal_kernel(t);
  }
  const struct teal_endpoint *at = &v->endpoints[e & (TEAL_XDP_ENDPOINTS - 1)];
  if (family == 6 && TEAL_UNLIKELY(!teal_addr_equal(&at->addr, &src))) return TEAL_GOES_LONG;
  /* Clients that are backends, have a route of their own, or are the host itself. */
  if (TEAL_UNLIKELY(teal_in_filter(v->special, &dst)) ||
      TEAL_UNLIKELY(teal_in_hairpin_net(family, &dst, &v->hairpin4, v->hairpin_mask4, &v->hairpin6)))
    return TEAL_GOES_LONG;
  t->ref = &v->refs[at->first & (TEAL_XDP_REFS - 1)];
  t->client = dst;
  t->service = t->ref->service;
  t->key = teal_key_of(&v->secret, family, &dst, dport, (uint16_t)t->service);
  uint32_t settled = teal_settle(t), backend = settled ? settled : teal_steady(t);
  if (TEAL_UNLIKELY(backend != t->ref->backend)) return TEAL_GOES_LONG;
  return teal_reply_under_way(t, data, family, settled != 0);
}

/* The verdict on a packet under way, or TEAL_GOES_LONG. */
TEAL_INLINE int teal_short_way(struct teal_trip *t) {
  uint8_t *data = teal_frame(t, sizeof(struct teal_eth));
  if (TEAL_UNLIKELY(!data)) return TEAL_GOES_LONG;
  teal_be16 type = ((struct teal_eth *)data)->type;
  if (TEAL_LIKELY(type == teal_swap16(TEAL_ETH_IPV4))) return teal_carry_under_way(t, 4);
  return type == teal_swap16(TEAL_ETH_IPV6) ? teal_carry_under_way(t, 6) : TEAL_GOES_LONG;
}

#endif
