/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * A packet whose flow has no entry, or not the one that its endpoint's first service would have: choosing a backend,
 * entering the flow, several services on one backend address.
 */
#ifndef TEAL_BPF_NEWCOMER_H
#define TEAL_BPF_NEWCOMER_H

#include "seldom.h"
#include "teal/affinity.h"

/* What these functions are given and give back; it lies in the scratch, for the stack has 512 bytes only. */
struct teal_newcomer {
  uint32_t half;
  uint32_t service;
  uint32_t family;
  uint32_t proto;
  uint32_t action; /* enum teal_action */
  teal_be16 port;  /* the client's */
  uint16_t unused;
  struct teal_addr client;
  struct teal_insertion insertion; /* val: what is to be entered, and afterwards what decides */
  uint32_t endpoint;
  uint32_t ref; /* of a reply, once found: its reference */
  uint32_t found;
  uint32_t pins;     /* the service has affinity */
  uint32_t previews; /* the client is one of the service's preview clients; set for services that have such */
};

struct teal_scratch {
  struct teal_newcomer newcomer;
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
  (void)arg;
  struct teal_scratch *scratch = teal_scratch_here();
  if (!scratch) return 1;
  struct teal_newcomer *w = &scratch->newcomer;
  struct teal_xdp_view *v = teal_view_at(w->half);
  const struct teal_endpoint *e = &v->endpoints[w->endpoint & (TEAL_XDP_ENDPOINTS - 1)];
  if (i >= e->count) return 1;
  struct teal_endpoint_ref ref = v->refs[(e->first + i) & (TEAL_XDP_REFS - 1)];
  struct teal_reach r = teal_reach_of(v, w->half);
  struct teal_flow_key key = teal_key_of(&v->secret, w->family, &w->client, w->port, ref.service);
  uint64_t val = 0;
  if (!teal_find(&r, &key, &val) || teal_val_backend(val) != ref.backend) return 0;
  w->ref = e->first + i;
  w->found = 1;
  return 1;
}

/* Whether a reply's flow is another service's than the endpoint's first: 1 and ref set. */
TEAL_SEPARATE int teal_xdp_find_reply(struct teal_newcomer *w) {
  if (!w) return 0;
  uint32_t half = w->half;
  struct teal_xdp_view *v = teal_view_at(half);
  w->found = 0;
  bpf_loop(v->endpoints[w->endpoint & (TEAL_XDP_ENDPOINTS - 1)].count, teal_reply_step, &half, 0);
  return w->found;
}

static long teal_clash_step(uint32_t i, void *arg) {
  (void)arg;
  struct teal_scratch *scratch = teal_scratch_here();
  if (!scratch) return 1;
  struct teal_newcomer *w = &scratch->newcomer;
  struct teal_xdp_view *v = teal_view_at(w->half);
  const struct teal_endpoint *e = &v->endpoints[w->endpoint & (TEAL_XDP_ENDPOINTS - 1)];
  if (i >= e->count) return 1;
  struct teal_endpoint_ref ref = v->refs[(e->first + i) & (TEAL_XDP_REFS - 1)];
  if (ref.service == w->service || ref.service >= TEAL_SERVICES) return 0;
  struct teal_reach r = teal_reach_of(v, w->half);
  struct teal_flow_key key = teal_key_of(&v->secret, w->family, &w->client, w->port, ref.service);
  uint64_t val = 0;
  if (!teal_find(&r, &key, &val) || teal_val_backend(val) != ref.backend) return 0;
  if (teal_state_is_over(teal_val_state(val)) || teal_flow_expired(&v->services[ref.service], val, w->insertion.now)) return 0;
  w->found = 1;
  return 1;
}

/* Whether the client's address and port already are a flow of another service on `backend`'s address and port. */
TEAL_SEPARATE int teal_xdp_clashes(struct teal_newcomer *w, uint32_t backend) {
  if (!w) return 0;
  uint32_t half = w->half;
  struct teal_xdp_view *v = teal_view_at(half);
  if (w->service >= TEAL_SERVICES) return 0;
  const struct teal_backend *b = &v->backends[backend & (TEAL_BACKENDS - 1)];
  struct teal_addr addr = b->addr;
  uint64_t key = teal_match_key(&v->secret, b->family, &addr, b->port, v->services[w->service].proto, TEAL_MATCH_ENDPOINT);
  uint32_t e = teal_match_find(v->match, v->match_mask & (TEAL_XDP_MATCH - 1), &v->secret, key);
  if (e == 0) return 0;
  w->endpoint = e;
  w->found = 0;
  bpf_loop(v->endpoints[e & (TEAL_XDP_ENDPOINTS - 1)].count, teal_clash_step, &half, 0);
  return w->found;
}

/* Writes or refreshes the affinity that the flow of value `flow` gives its client. */
TEAL_SEPARATE int teal_xdp_pin(struct teal_newcomer *w, uint64_t flow) {
  if (!w) return 0;
  struct teal_xdp_view *v = teal_view_at(w->half);
  const struct teal_service *svc = &v->services[w->service & (TEAL_SERVICES - 1)];
  struct teal_split *split = teal_split_at(svc->group);
  if (!split) return 0;
  uint64_t word = TEAL_LOAD(&split->current);
  if (!teal_affinity_counts(flow, word)) return 0;
  struct teal_insertion *n = &w->insertion;
  struct teal_reach r = teal_reach_of(v, w->half);
  n->key = teal_affinity_key(&v->secret, svc, &w->client, (uint16_t)w->service);
  n->val = teal_affinity_val(flow, n->key.check, n->now);
  n->replace = 0;
  uint64_t val = 0;
  uint64_t *slot = teal_find(&r, &n->key, &val);
  if (!slot) return teal_insert(&r, n);
  if (teal_affinity_binds(svc, val, word, n->now)) {
    if (teal_val_pool(val) != teal_val_pool(flow)) return 0; /* the first connection's pool stays */
    n->val = (val & ~(uint64_t)TEAL_STAMP_MASK) | teal_stamp(TEAL_FLOW_affinity, n->now);
  }
  return TEAL_CAS(slot, val, n->val);
}

/* One try to write what teal_val_after() says over w->insertion.val: 1 written or nothing to write, 0 try again over what
 * stands there (insertion.val now). `how`: protocol | direction << 8 | TCP flags << 16 | two-way << 24. */
TEAL_SEPARATE int teal_xdp_touch_once(struct teal_newcomer *w, uint64_t *slot, uint32_t how) {
  if (!slot || !w) return 1;
  uint64_t val = w->insertion.val;
  uint64_t next = teal_val_after(val, (uint8_t)how, (uint8_t)(how >> 8), (uint8_t)(how >> 16), (uint8_t)(how >> 24),
                                 w->insertion.now);
  w->insertion.replace = next;
  if (next == val || TEAL_CAS(slot, val, next)) return 1;
  uint64_t there = TEAL_LOAD(slot);
  w->insertion.replace = val;
  if (there == 0 || ((there ^ val) & ~TEAL_VAL_MOVES) != 0) return 1; /* recycled or replaced: nothing to write */
  w->insertion.val = there;
  return 0;
}

/* Moves an entry on by a packet, counts what that says of the backend. 1 when the client's affinity is to be kept. A SYN
 * that meets a half-open entry writes nothing and is counted. */
TEAL_SEPARATE int teal_xdp_touch(struct teal_newcomer *w, uint64_t *slot, uint32_t how) {
  if (!slot || !w) return 0;
  for (int i = 0; i < 4; i++)
    if (teal_xdp_touch_once(w, slot, how)) break;
  uint64_t was = w->insertion.val, is = w->insertion.replace;
  /* No longer plain: its packets must find it from now on. */
  if (teal_val_state(was) == TEAL_FLOW_established && teal_val_state(is) != TEAL_FLOW_established) {
    struct teal_xdp_view *v = teal_view_at(w->half);
    struct teal_reach r = {w->half, v->buckets, TEAL_LOCK_XDP};
    teal_attend_both(&r, w->insertion.key.hash);
  }
  uint8_t dir = (uint8_t)(how >> 8), flags = (uint8_t)(how >> 16), two_way = (uint8_t)(how >> 24);
  struct teal_signal_counts *c = teal_signals_at(w->service, was);
  if (!c || (uint8_t)how != TEAL_PROTO_TCP) return w->pins && teal_state_pins(teal_val_state(is));
  if (is == was && teal_is_retransmit(was, dir, flags)) TEAL_COUNT(&c->syn_retransmits);
  teal_signal_count(c, teal_signals_of(was, is, dir, two_way), teal_val_fine_age(was, w->insertion.now));
  return w->pins && teal_state_pins(teal_val_state(is));
}

/* The pool that a client's affinity or a preview says; the split's else. */
TEAL_INLINE uint32_t teal_xdp_pool(struct teal_newcomer *w, struct teal_xdp_view *v, const struct teal_service *svc,
                                   uint64_t word, uint32_t pool) {
  if (w->action != TEAL_ACT_ENTER) return pool;
  if ((svc->flags & TEAL_SERVICE_PREVIEW) && w->previews) return teal_preview_pool(svc);
  if (!(svc->flags & TEAL_SERVICE_AFFINITY)) return pool;
  struct teal_reach r = teal_reach_of(v, w->half);
  struct teal_flow_key key = teal_affinity_key(&v->secret, svc, &w->client, (uint16_t)w->service);
  uint64_t val = 0;
  if (!teal_find(&r, &key, &val) || !teal_affinity_binds(svc, val, word, w->insertion.now)) return pool;
  return svc->maglev[teal_val_pool(val) & 1] ? teal_val_pool(val) : pool;
}

/* The backend of a flow without an entry, by preview, affinity, split, then Maglev; insertion.val is its entry. 0: none, dropped and
 * counted. */
TEAL_SEPARATE uint32_t teal_xdp_choose(struct teal_newcomer *w) {
  if (!w) return 0;
  struct teal_xdp_view *v = teal_view_at(w->half);
  struct teal_xdp_cpu *cpu = teal_this_cpu();
  if (!cpu) return 0;
  const struct teal_service *svc = &v->services[w->service & (TEAL_SERVICES - 1)];
  struct teal_split *split = teal_split_at(svc->group);
  if (!split) return 0;
  const struct teal_secret *s = &v->secret;
  uint64_t key = w->insertion.key.key;
  uint64_t current = TEAL_LOAD(&split->current);
  uint64_t word = teal_deciding_split(w->action, current, TEAL_LOAD(&split->previous));
  uint32_t pool = (uint32_t)teal_split_pool(s, svc, &w->client, key, word);
  if (svc->flags & (TEAL_SERVICE_PREVIEW | TEAL_SERVICE_AFFINITY)) pool = teal_xdp_pool(w, v, svc, word, pool);
  uint32_t outer = (w->half & 1) * TEAL_XDP_MAGLEVS + (w->service & (TEAL_SERVICES - 1)) * 2 + (pool & 1), zero = 0;
  void *inner = svc->maglev[pool & 1] ? bpf_map_lookup_elem(&teal_maglevs, &outer) : 0;
  struct teal_maglev_table *table = inner ? bpf_map_lookup_elem(inner, &zero) : 0;
  if (!table) {
    cpu->drop[TEAL_DROP_no_backend]++;
    return 0;
  }
  int shared = (svc->flags & TEAL_SERVICE_SHARED) && w->action == TEAL_ACT_ENTER;
  for (uint32_t i = 0; i < 64; i++) {
    uint32_t slot = teal_maglev_slot(s, w->insertion.key.hash, i, TEAL_MAGLEV_SLOTS);
    uint32_t backend = slot < TEAL_MAGLEV_SLOTS ? table->backend[slot] : 0;
    if (TEAL_UNLIKELY(shared) && teal_xdp_clashes(w, backend)) continue;
    w->insertion.val = teal_val((uint16_t)backend, (uint8_t)pool, teal_split_generation(word),
                                teal_first_state(w->action, w->proto), w->insertion.key.check, w->insertion.now);
    return backend;
  }
  cpu->drop[TEAL_DROP_reply_clash]++;
  return 0;
}

/* Enters insertion.val; afterwards it is what decides. 0 when the key's lock stayed taken. */
TEAL_SEPARATE int teal_xdp_enter(struct teal_newcomer *w) {
  if (!w) return 0;
  struct teal_xdp_view *v = teal_view_at(w->half);
  struct teal_xdp_cpu *cpu = teal_this_cpu();
  if (!cpu) return 0;
  struct teal_reach r = teal_reach_of(v, w->half);
  struct teal_insertion *n = &w->insertion;
  n->displaced = 0;
  n->evicted = 0;
  int result = teal_insert(&r, n);
  cpu->event[TEAL_EV_flows_displaced] += n->displaced;
  cpu->event[TEAL_EV_flows_evicted] += n->evicted;
  struct teal_service_counts *sc = &cpu->service[w->service & (TEAL_SERVICES - 1)];
  if (result == TEAL_INSERT_BUSY) return 0;
  if (result == TEAL_INSERT_NO_ROOM) {
    cpu->event[TEAL_EV_flows_untracked]++;
    sc->untracked++;
    return 1;
  }
  if (result == TEAL_INSERT_FOUND) return 1;
  /* Where it was entered, n->val is as it came. */
  uint64_t old = n->replace, wanted = n->val;
  if (result == TEAL_INSERT_REPLACED && !teal_state_is_over(teal_val_state(old)) &&
      !teal_flow_expired(&v->services[w->service & (TEAL_SERVICES - 1)], old, n->now) &&
      teal_val_backend(old) != teal_val_backend(wanted)) {
    cpu->event[TEAL_EV_flows_moved]++;
    sc->moved++;
  }
  struct teal_signal_counts *signals = teal_signals_at(w->service, wanted);
  if (signals && w->action == TEAL_ACT_ENTER) TEAL_COUNT(&signals->begun);
  cpu->event[TEAL_EV_flows_new]++;
  sc->new_flows[teal_val_pool(wanted) & 1]++;
  if (w->action == TEAL_ACT_RECOVER) {
    cpu->event[TEAL_EV_flows_recovered]++;
    sc->recovered++;
  }
  return 1;
}

#endif
