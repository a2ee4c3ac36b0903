/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The XDP engine: the five stages, one packet at a time, on the flow table that the workers use. What it does not do
 * itself (verdict PUNT) it leaves untouched to a worker, through AF_XDP; what is not a service's goes to the kernel.
 *
 * Read from the end: teal_xdp() -> short_way(), or carry() -> classify -> to_backend() / to_client() -> send.
 */
#include "under_way.h"
#include "teal/parse.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* What the functions of newcomer.h want to know of the packet. */
TEAL_INLINE struct teal_newcomer *teal_introduce(struct teal_trip *t, enum teal_action action, uint64_t old,
                                                 teal_be16 client_port) {
  struct teal_scratch *scratch = teal_scratch_here();
  if (!scratch) return 0;
  struct teal_newcomer *w = &scratch->newcomer;
  w->half = t->half;
  w->service = t->service;
  w->family = t->family;
  w->proto = t->proto;
  w->action = action;
  w->port = client_port;
  w->client = t->client;
  w->insertion.key = t->key;
  w->insertion.replace = old;
  w->insertion.now = t->now;
  return w;
}

/* Last-seen and TCP state of an entry; most packets change neither. */
TEAL_INLINE void teal_touch(struct teal_trip *t, const struct teal_service *svc, uint64_t *slot, uint64_t val, uint32_t dir,
                            teal_be16 client_port) {
  if (TEAL_LIKELY(teal_is_steady(val, t->pkt.tcp_flags, t->now))) return;
  uint32_t flags = t->pkt.tcp_flags, proto = t->proto, two_way = svc->forward == TEAL_FORWARD_nat;
  int again = teal_is_retransmit(val, (uint8_t)dir, (uint8_t)flags);
  if (TEAL_LIKELY(teal_val_after(val, proto, (uint8_t)dir, (uint8_t)flags, (uint8_t)two_way, t->now) == val && !again))
    return;
  struct teal_newcomer *w = teal_introduce(t, TEAL_ACT_KEEP, 0, client_port);
  if (!w) return;
  w->pins = svc->flags & TEAL_SERVICE_AFFINITY;
  w->insertion.val = val;
  if (teal_xdp_touch(w, slot, proto | dir << 8 | flags << 16 | two_way << 24)) teal_xdp_pin(w, val);
}

/* Whether a packet to backend `number` is a worker's. Asked before the table is written: the worker does it then, and
 * a packet must not move its flow's state twice. */
TEAL_INLINE int teal_worker_sends(struct teal_trip *t, const struct teal_service *svc, uint32_t number) {
  const struct teal_backend *b = &t->view->backends[number & (TEAL_BACKENDS - 1)];
  const struct teal_hop *hop = &b->hop;
  if (TEAL_UNLIKELY(hop->state != TEAL_HOP_READY)) return hop->state == TEAL_HOP_UNRESOLVED;
  uint32_t limit = hop->mtu - (svc->forward == TEAL_FORWARD_ipip ? teal_tunnel_len(b->family) : 0);
  return t->pkt.l3_len > limit || !teal_ours_to_send(t, hop);
}

/* Rewrites to backend `number` and sends. */
TEAL_INLINE int teal_forward(struct teal_trip *t, const struct teal_service *svc, uint32_t number) {
  const struct teal_backend *b = &t->view->backends[number & (TEAL_BACKENDS - 1)];
  const struct teal_hop *hop = &b->hop;
  if (TEAL_UNLIKELY(hop->state != TEAL_HOP_READY)) return teal_drop(t, TEAL_DROP_no_route);
  int tunnel = svc->forward == TEAL_FORWARD_ipip;
  uint8_t *ip, *l4;
  if (!teal_headers(t, &ip, &l4)) return teal_drop(t, TEAL_DROP_truncated);
  if (tunnel && !teal_hop_down(ip, t->family)) return teal_drop(t, TEAL_DROP_ttl_expired);
  uint8_t traffic_class = tunnel ? teal_traffic_class(ip, t->family) : 0;
  if (svc->forward == TEAL_FORWARD_nat) {
    if (!teal_nat_hop(ip, l4, t->family, t->proto, TEAL_SIDE_DST, &b->addr, b->port, b->sums))
      return teal_drop(t, TEAL_DROP_ttl_expired);
    struct teal_addr seen = t->client;
    if (TEAL_UNLIKELY(teal_in_filter(t->view->special, &seen)) && teal_xdp_hairpin_of(t->half, t->family, &seen)) {
      if (!teal_headers(t, &ip, &l4)) return teal_drop(t, TEAL_DROP_truncated);
      teal_nat_address(ip, l4, t->family, t->proto, TEAL_SIDE_SRC, &seen);
      teal_event(t, TEAL_EV_hairpin);
    }
  }
  if (svc->mss_clamp != 0 && (t->pkt.tcp_flags & TEAL_TCP_SYN))
    t->cpu->event[TEAL_EV_mss_clamped] +=
        (uint64_t)teal_xdp_clamp(t->ctx, t->pkt.l4, svc->mss_clamp);
  struct teal_backend_counts *bc = &t->cpu->backend[number & (TEAL_BACKENDS - 1)];
  bc->packets++;
  bc->bytes += t->frame_len;
  teal_event(t, TEAL_EV_forwarded);
  return tunnel ? teal_send_tunnel(t, b, traffic_class) : teal_send(t, hop);
}

/* Stages 3 to 5 of a client's packet. */
TEAL_INLINE int teal_to_backend(struct teal_trip *t) {
  const struct teal_service *svc = &t->view->services[t->service & (TEAL_SERVICES - 1)];
  uint32_t backend = teal_flags_settled(t->pkt.tcp_flags) ? teal_settle(t) : 0;
  if (backend != 0) {
    if (TEAL_UNLIKELY(teal_worker_sends(t, svc, backend))) return teal_punt(t);
    teal_event(t, TEAL_EV_settled);
    return teal_forward(t, svc, backend);
  }
  struct teal_reach r = teal_reach_of(t->view, t->half);
  uint64_t val = 0;
  uint64_t *slot = teal_find(&r, &t->key, &val);
  enum teal_action action = teal_decide(svc, val, t->proto, t->pkt.tcp_flags, t->now);
  if (TEAL_LIKELY(slot && action == TEAL_ACT_KEEP)) {
    backend = teal_val_backend(val);
    if (TEAL_UNLIKELY(teal_worker_sends(t, svc, backend))) return teal_punt(t);
    teal_touch(t, svc, slot, val, TEAL_TO_BACKEND, t->pkt.sport);
  } else {
    if (action == TEAL_ACT_RESET) return teal_punt(t);
    if ((svc->flags & TEAL_SERVICE_RETIRED) && action == TEAL_ACT_ENTER) return teal_kernel(t);
    struct teal_newcomer *w = teal_introduce(t, action, val, t->pkt.sport);
    if (!w) return XDP_ABORTED;
    /* Here and not in teal_xdp_choose(): one call less below that. */
    if (TEAL_UNLIKELY(svc->flags & TEAL_SERVICE_PREVIEW))
      w->previews = teal_xdp_route(t->half, t->family, &w->client, t->service, 0) != 0;
    backend = teal_xdp_choose(w);
    if (backend == 0) return XDP_DROP;
    if (teal_worker_sends(t, svc, backend)) return teal_punt(t);
    if (action != TEAL_ACT_STATELESS) {
      if (!teal_xdp_enter(w)) return teal_punt(t);
      uint32_t entered = teal_val_backend(w->insertion.val);
      /* Another packet of the flow was first, and its backend is another one. */
      if (TEAL_UNLIKELY(entered != backend) && teal_worker_sends(t, svc, entered)) return teal_punt(t);
      backend = entered;
    }
  }
  return teal_forward(t, svc, backend);
}

TEAL_INLINE uint32_t teal_match(struct teal_trip *t, const struct teal_addr *addr, teal_be16 port, uint8_t proto,
                                uint8_t kind) {
  const struct teal_secret *s = &t->view->secret;
  uint64_t key = teal_match_key(s, t->family, addr, port, proto, kind);
  return teal_match_find(t->view->match, t->view->match_mask & (TEAL_XDP_MATCH - 1), s, key);
}

/* What stands for the value of a reply's entry when there is none: no entry's value. (The stack is short.) */
#define TEAL_SETTLED_REPLY 1ull /* not looked for */
#define TEAL_SHARED_REPLY 2ull  /* looked for in vain under each service of the endpoint */

/* Stages 3 to 5 of a NAT backend's reply. */
TEAL_INLINE int teal_to_client(struct teal_trip *t, uint32_t endpoint) {
  struct teal_reach r = teal_reach_of(t->view, t->half);
  uint64_t val = 0, *slot = 0;
  /* What a backend sends to the host itself is no reply; its flow's cells may be another's. The service of a settled
   * reply is the only one of its endpoint. */
  int special = teal_in_filter(t->view->special, &t->client);
  if (!(TEAL_UNLIKELY(special) && teal_in_filter(t->view->local, &t->client)) && teal_flags_settled(t->pkt.tcp_flags) &&
      teal_settle(t) == t->ref->backend)
    val = TEAL_SETTLED_REPLY;
  else
    slot = teal_find(&r, &t->key, &val);
  int shared = t->view->endpoints[endpoint & (TEAL_XDP_ENDPOINTS - 1)].count > 1;
  if (TEAL_UNLIKELY(shared) && (!slot || teal_val_backend(val) != t->ref->backend)) {
    struct teal_newcomer *w = teal_introduce(t, TEAL_ACT_KEEP, 0, t->pkt.dport);
    if (!w) return XDP_ABORTED;
    w->endpoint = endpoint;
    slot = 0;
    if (teal_xdp_find_reply(w)) {
      t->ref = &t->view->refs[w->ref & (TEAL_XDP_REFS - 1)];
      t->service = t->ref->service;
      t->key = teal_key_of(&t->view->secret, t->family, &t->client, t->pkt.dport, (uint16_t)t->service);
      slot = teal_find(&r, &t->key, &val);
      if (slot && teal_val_backend(val) != t->ref->backend) slot = 0;
    }
    if (!slot) val = TEAL_SHARED_REPLY;
  }
  /* What answers the host itself (a health check, an operator's curl) answers no client. */
  if (TEAL_UNLIKELY(slot == 0) && val != TEAL_SETTLED_REPLY && teal_match(t, &t->client, 0, 0, TEAL_MATCH_LOCAL)) return teal_kernel(t);
  const struct teal_service *svc = &t->view->services[t->service & (TEAL_SERVICES - 1)];
  if (TEAL_LIKELY(slot != 0)) {
    if (TEAL_UNLIKELY(teal_val_backend(val) != t->ref->backend)) return teal_drop(t, TEAL_DROP_reply_mismatch);
    if (TEAL_UNLIKELY(teal_val_state(val) == TEAL_FLOW_reset)) return teal_punt(t);
  }
  struct teal_addr client = t->client;
  uint32_t index = teal_route_quick(&t->view->route_default, t->family, &client, special);
  if (TEAL_UNLIKELY(index == 0)) {
    index = teal_xdp_route_first(t->half, t->family, &client, (uint32_t)special);
    if (index == 0) index = teal_xdp_route(t->half, t->family, &client, 0, TEAL_FIRST_LENGTHS);
  }
  const struct teal_hop *hop = &t->view->hops[index & (TEAL_XDP_HOPS - 1)];
  if (TEAL_UNLIKELY(hop->state != TEAL_HOP_READY))
    return hop->state == TEAL_HOP_UNRESOLVED ? teal_punt(t) : teal_drop(t, TEAL_DROP_no_route);
  /* The worker does all that follows. */
  if (TEAL_UNLIKELY(t->pkt.l3_len > hop->mtu || !teal_ours_to_send(t, hop))) return teal_punt(t);
  if (TEAL_LIKELY(slot != 0)) {
    teal_touch(t, svc, slot, val, TEAL_TO_CLIENT, t->pkt.dport);
  } else if (val == TEAL_SETTLED_REPLY) {
    teal_event(t, TEAL_EV_settled);
  } else {
    /* The backend knows best which flows are its own: one that the table lost is entered again from its reply. */
    int enters = t->proto == TEAL_PROTO_TCP && val != TEAL_SHARED_REPLY &&
                 !(t->pkt.tcp_flags & (TEAL_TCP_RST | TEAL_TCP_SYN | TEAL_TCP_FIN));
    if (enters) {
      struct teal_newcomer *w = teal_introduce(t, TEAL_ACT_RECOVER, 0, t->pkt.dport);
      if (!w) return XDP_ABORTED;
      struct teal_split *split = teal_split_at(svc->group);
      uint64_t generation = split ? teal_split_generation(TEAL_LOAD(&split->current)) : 0;
      w->insertion.val = teal_val((uint16_t)t->ref->backend, t->view->backends[t->ref->backend & (TEAL_BACKENDS - 1)].pool,
                                  generation, TEAL_FLOW_recovered, t->key.check, t->now);
      if (!teal_xdp_enter(w)) return teal_punt(t);
    }
    teal_event(t, TEAL_EV_reply_untracked);
  }
  uint8_t *ip, *l4;
  if (!teal_headers(t, &ip, &l4)) return teal_drop(t, TEAL_DROP_truncated);
  if (!teal_nat_hop(ip, l4, t->family, t->proto, TEAL_SIDE_SRC, &svc->vip, svc->port, t->ref->sums))
    return teal_drop(t, TEAL_DROP_ttl_expired);
  if (svc->mss_clamp != 0 && (t->pkt.tcp_flags & TEAL_TCP_SYN))
    t->cpu->event[TEAL_EV_mss_clamped] +=
        (uint64_t)teal_xdp_clamp(t->ctx, t->pkt.l4, svc->mss_clamp);
  if (TEAL_UNLIKELY(special)) { /* as every backend is */
    struct teal_addr seen = {};
    if (t->family == 4)
      seen.v4 = ((struct teal_ipv4 *)ip)->dst;
    else
      TEAL_COPY(&seen, ((struct teal_ipv6 *)ip)->dst, 16);
    if (!teal_addr_equal(&seen, &client))
      teal_nat_address(ip, l4, t->family, t->proto, TEAL_SIDE_DST, &client);
  }
  teal_event(t, TEAL_EV_replies);
  return teal_send(t, hop);
}

TEAL_INLINE int teal_addresses(struct teal_trip *t, struct teal_addr *src, struct teal_addr *dst) {
  uint8_t *data = (uint8_t *)(long)t->ctx->data, *end = (uint8_t *)(long)t->ctx->data_end;
  uint64_t l3 = t->pkt.l3;
  TEAL_KEEP(l3);
  if (l3 > 22) return 0;
  uint8_t *p = data + l3;
  TEAL_KEEP(p);
  __builtin_memset(src, 0, sizeof(*src));
  __builtin_memset(dst, 0, sizeof(*dst));
  if (t->family == 4) {
    if (p + sizeof(struct teal_ipv4) > end) return 0;
    src->v4 = ((struct teal_ipv4 *)p)->src;
    dst->v4 = ((struct teal_ipv4 *)p)->dst;
  } else {
    if (p + sizeof(struct teal_ipv6) > end) return 0;
    TEAL_COPY(src, ((struct teal_ipv6 *)p)->src, 16);
    TEAL_COPY(dst, ((struct teal_ipv6 *)p)->dst, 16);
  }
  return 1;
}

/* Fragments and ICMP errors: a worker's, when an address says that they may be about a service. */
TEAL_INLINE int teal_unusual(struct teal_trip *t, const struct teal_addr *src, const struct teal_addr *dst) {
  if (teal_match(t, dst, 0, 0, TEAL_MATCH_VIP_ADDRESS) || teal_match(t, src, 0, 0, TEAL_MATCH_BACKEND_ADDRESS))
    return teal_punt(t);
  if (t->pkt.kind != TEAL_KIND_ICMP_ERROR) return teal_kernel(t);
  /* From anywhere on the way to a backend, to a client: only what it quotes tells. */
  uint8_t *data = (uint8_t *)(long)t->ctx->data, *end = (uint8_t *)(long)t->ctx->data_end;
  uint64_t l4 = t->pkt.l4;
  TEAL_KEEP(l4);
  if (l4 > 4200) return teal_kernel(t);
  uint8_t *quoted = data + l4 + sizeof(struct teal_icmp);
  TEAL_KEEP(quoted);
  struct teal_addr to = {};
  if (t->family == 4) {
    if (quoted + sizeof(struct teal_ipv4) > end) return teal_kernel(t);
    to.v4 = ((struct teal_ipv4 *)quoted)->dst;
  } else {
    if (quoted + sizeof(struct teal_ipv6) > end) return teal_kernel(t);
    TEAL_COPY(&to, ((struct teal_ipv6 *)quoted)->dst, 16);
  }
  return teal_match(t, &to, 0, 0, TEAL_MATCH_BACKEND_ADDRESS) ? teal_punt(t) : teal_kernel(t);
}

/* Stages 1 and 2. */
TEAL_INLINE int teal_carry(struct teal_trip *t) {
  uint8_t *data = (uint8_t *)(long)t->ctx->data, *end = (uint8_t *)(long)t->ctx->data_end;
  struct teal_pkt *pkt = &t->pkt;
  t->frame_len = (uint32_t)(end - data);
  if (TEAL_UNLIKELY(t->frame_len > TEAL_FRAME_USUAL) || TEAL_UNLIKELY(!teal_parse_common(data, end, pkt))) {
    struct teal_scratch *scratch = teal_scratch_here();
    if (!scratch) return XDP_ABORTED;
    t->frame_len = teal_xdp_parse(t->ctx, &scratch->pkt);
    *pkt = scratch->pkt;
  }
  uint64_t family = pkt->family, proto = pkt->proto;
  TEAL_IDENTIFY(family);
  TEAL_IDENTIFY(proto);
  t->family = (uint32_t)family;
  t->proto = (uint32_t)proto;
  t->cpu->event[TEAL_EV_rx_packets]++;
  t->cpu->event[TEAL_EV_rx_bytes] += t->frame_len;
  if (TEAL_UNLIKELY(pkt->kind == TEAL_KIND_BAD)) return teal_drop(t, pkt->reason);
  if (data + sizeof(struct teal_eth) > end) return XDP_ABORTED; /* parse has seen to it; the verifier has not */
  if (!teal_is_ours(teal_port_at(t->port), data)) {
    if (data[0] & 1) return teal_kernel(t);
    return teal_drop(t, TEAL_DROP_not_our_mac);
  }
  if (pkt->kind == TEAL_KIND_OTHER) return teal_kernel(t);
  struct teal_addr dst, *src = &t->client; /* a reply's client is dst; the stack is short */
  if (!teal_addresses(t, src, &dst)) return XDP_ABORTED;
  if (TEAL_UNLIKELY(pkt->kind != TEAL_KIND_L4)) return teal_unusual(t, src, &dst);

  int plain = pkt->l4 - pkt->l3 == (t->family == 4 ? (int)sizeof(struct teal_ipv4) : (int)sizeof(struct teal_ipv6));
  uint32_t s = teal_match(t, &dst, pkt->dport, t->proto, TEAL_MATCH_VIP);
  if (s != 0 && teal_addr_equal(&t->view->services[s & (TEAL_SERVICES - 1)].vip, &dst)) {
    if (TEAL_UNLIKELY(teal_martian(t->family, src))) return teal_drop(t, TEAL_DROP_martian_source);
    if (TEAL_UNLIKELY(!plain)) return teal_punt(t); /* IP options, extension headers */
    t->service = s;
    t->key = teal_key_of(&t->view->secret, t->family, src, pkt->sport, (uint16_t)s);
    return teal_to_backend(t);
  }
  uint32_t e = teal_match(t, src, pkt->sport, t->proto, TEAL_MATCH_ENDPOINT);
  /* A bare SYN out of a service's port opens a connection of the backend's own; it answers nobody. */
  int opens = t->proto == TEAL_PROTO_TCP && (pkt->tcp_flags & (TEAL_TCP_SYN | TEAL_TCP_ACK)) == TEAL_TCP_SYN;
  if (e == 0 || opens || !teal_addr_equal(&t->view->endpoints[e & (TEAL_XDP_ENDPOINTS - 1)].addr, src))
    return teal_kernel(t);
  if (TEAL_UNLIKELY(!plain)) return teal_punt(t);
  const struct teal_endpoint *at = &t->view->endpoints[e & (TEAL_XDP_ENDPOINTS - 1)];
  if (TEAL_UNLIKELY(teal_in_hairpin_net(t->family, &dst, &t->view->hairpin4, t->view->hairpin_mask4, &t->view->hairpin6))) {
    struct teal_addr seen = dst; /* so that `dst` itself may lie in registers */
    teal_xdp_hairpin_client(t->half, t->family, &seen);
    dst = seen;
  }
  t->ref = &t->view->refs[at->first & (TEAL_XDP_REFS - 1)];
  t->client = dst;
  t->service = t->ref->service;
  t->key = teal_key_of(&t->view->secret, t->family, &dst, pkt->dport, (uint16_t)t->service);
  return teal_to_client(t, e);
}

TEAL_INLINE int teal_port_of(const struct teal_xdp_control *c, uint32_t ifindex) {
  uint32_t at = teal_xdp_port_hash(ifindex);
  for (int i = 0; i < 8; i++) {
    const struct teal_xdp_port_slot *slot = &c->slots[(at + (uint32_t)i) & (TEAL_XDP_PORT_SLOTS - 1)];
    if (slot->ifindex == ifindex) return (int)slot->port;
    if (slot->ifindex == 0) return -1;
  }
  return -1;
}

SEC("xdp.frags")
int teal_xdp(struct xdp_md *ctx) {
  const struct teal_xdp_control *control = &teal_published.control;
  struct teal_trip t;
  t.ctx = ctx;
  t.cpu = teal_this_cpu();
  if (!t.cpu) return XDP_PASS;
  TEAL_STORE(&t.cpu->turn, t.cpu->turn + 1);
  int verdict = XDP_PASS;
  t.half = TEAL_LOAD(&control->half) & 1;
  t.view = teal_view_at(t.half);
  int port = teal_port_of(control, ctx->ingress_ifindex);
  if (port >= 0) {
    t.port = (uint32_t)port;
    t.now = teal_clock();
    verdict = teal_short_way(&t);
    if (verdict == TEAL_GOES_LONG) verdict = teal_carry(&t);
  }
  TEAL_STORE(&t.cpu->turn, t.cpu->turn + 1);
  return verdict;
}

/* A publisher visits a CPU with this: an interrupt there, after which every store of before is seen there and every
 * `turn` that was begun there is seen here. */
SEC("raw_tp")
int teal_visit(void *ctx) {
  (void)ctx;
  return 0;
}
