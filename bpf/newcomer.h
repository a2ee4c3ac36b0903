/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * A packet whose flow has no entry, or not the one that its endpoint's first service would have: choosing a backend,
 * entering the flow, several services on one backend address.
 */
#ifndef TEAL_BPF_NEWCOMER_H
#define TEAL_BPF_NEWCOMER_H

#include "seldom.h"
#include "teal/decide.h"

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
  uint32_t backend; /* of a reply, once found */
  uint32_t found;
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
TEAL_SEPARATE int teal_xdp_find_reply(struct teal_newcomer *w) {
  if (!w) return 0;
  uint32_t half = w->half;
  struct teal_xdp_view *v = teal_view_at(half & 1);
  if (!v) return 0;
  w->found = 0;
  bpf_loop(v->endpoints[w->endpoint & (TEAL_XDP_ENDPOINTS - 1)].count, teal_reply_step, &half, 0);
  return w->found;
}

static long teal_clash_step(uint32_t i, void *arg) {
  (void)arg;
  struct teal_scratch *scratch = teal_scratch_here();
  if (!scratch) return 1;
  struct teal_newcomer *w = &scratch->newcomer;
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
  if (teal_state_is_over(teal_val_state(val)) || teal_flow_expired(&v->services[ref.service], val, w->insertion.now)) return 0;
  w->found = 1;
  return 1;
}

/* Whether the client's address and port already are a flow of another service on `backend`'s address and port. */
TEAL_SEPARATE int teal_xdp_clashes(struct teal_newcomer *w, uint32_t backend) {
  if (!w) return 0;
  uint32_t half = w->half;
  struct teal_xdp_view *v = teal_view_at(half & 1);
  if (!v || w->service >= TEAL_SERVICES) return 0;
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

/* The backend of a flow without an entry, by split, then Maglev; insertion.val is its entry. 0: none, dropped and
 * counted. */
TEAL_SEPARATE uint32_t teal_xdp_choose(struct teal_newcomer *w) {
  if (!w) return 0;
  struct teal_xdp_view *v = teal_view_at(w->half & 1);
  struct teal_xdp_cpu *cpu = teal_this_cpu();
  if (!v || !cpu) return 0;
  const struct teal_service *svc = &v->services[w->service & (TEAL_SERVICES - 1)];
  struct teal_split *split = teal_split_at(svc->group);
  if (!split) return 0;
  const struct teal_secret *s = &v->secret;
  uint64_t key = w->insertion.key.key;
  uint64_t current = TEAL_LOAD(&split->current);
  uint64_t word = teal_deciding_split(w->action, current, TEAL_LOAD(&split->previous));
  uint32_t pool = (uint32_t)teal_pool_of(word, teal_point(s, teal_point_basis(s, svc, &w->client, key)));
  uint32_t outer = (w->half & 1) * TEAL_XDP_MAGLEVS + (w->service & (TEAL_SERVICES - 1)) * 2 + (pool & 1), zero = 0;
  void *inner = svc->maglev[pool & 1] ? bpf_map_lookup_elem(&teal_maglevs, &outer) : 0;
  struct teal_maglev_table *table = inner ? bpf_map_lookup_elem(inner, &zero) : 0;
  if (!table) {
    cpu->drop[TEAL_DROP_no_backend]++;
    return 0;
  }
  int shared = (svc->flags & TEAL_SERVICE_SHARED) && w->action == TEAL_ACT_ENTER;
  for (uint32_t i = 0; i < 64; i++) {
    uint32_t slot = teal_maglev_slot(s, key, i, TEAL_MAGLEV_SLOTS);
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
  struct teal_xdp_view *v = teal_view_at(w->half & 1);
  struct teal_xdp_cpu *cpu = teal_this_cpu();
  if (!v || !cpu) return 0;
  struct teal_reach r = teal_reach_of(v, w->half);
  struct teal_service_counts *sc = &cpu->service[w->service & (TEAL_SERVICES - 1)];
  struct teal_insertion *n = &w->insertion;
  uint64_t old = n->replace, wanted = n->val;
  n->displaced = 0;
  n->evicted = 0;
  int result = teal_insert(&r, n);
  cpu->event[TEAL_EV_flows_displaced] += n->displaced;
  cpu->event[TEAL_EV_flows_evicted] += n->evicted;
  if (result == TEAL_INSERT_BUSY) return 0;
  if (result == TEAL_INSERT_NO_ROOM) {
    cpu->event[TEAL_EV_flows_untracked]++;
    sc->untracked++;
    return 1;
  }
  if (result == TEAL_INSERT_FOUND) return 1;
  if (result == TEAL_INSERT_REPLACED && !teal_state_is_over(teal_val_state(old)) &&
      !teal_flow_expired(&v->services[w->service & (TEAL_SERVICES - 1)], old, n->now) &&
      teal_val_backend(old) != teal_val_backend(wanted)) {
    cpu->event[TEAL_EV_flows_moved]++;
    sc->moved++;
  }
  cpu->event[TEAL_EV_flows_new]++;
  sc->new_flows[teal_val_pool(wanted) & 1]++;
  if (w->action == TEAL_ACT_RECOVER) {
    cpu->event[TEAL_EV_flows_recovered]++;
    sc->recovered++;
  }
  return 1;
}

#endif
