/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Stage 4, decide: what becomes of a packet to a service, from the lookup's result alone.
 */
#ifndef TEAL_DECIDE_H
#define TEAL_DECIDE_H

#include "teal/service.h"
#include "teal/split.h"

enum teal_action {
  TEAL_ACT_KEEP,      /* the entry's backend; write its state and stamp */
  TEAL_ACT_ENTER,     /* begins a flow: decide by the current split, enter it (replacing an entry that is over) */
  TEAL_ACT_RECOVER,   /* in the middle of a flow without an entry: previous split while draining, else current; enter it */
  TEAL_ACT_STATELESS, /* as RECOVER, but not worth an entry (RST) */
  TEAL_ACT_RESET,     /* the operator reset the flow: answer with RSTs */
};

/* Whether an entry has outlived its timeout although the sweeper has not come by. */
TEAL_INLINE int teal_flow_expired(const struct teal_service *svc, uint64_t val, uint32_t now) {
  return teal_val_age(val, now) > svc->timeout[teal_state_timeout(teal_val_state(val))];
}

/* `val`: the entry's value, 0 when there is none. */
TEAL_INLINE enum teal_action teal_decide(const struct teal_service *svc, uint64_t val, uint32_t proto, uint8_t flags,
                                         uint32_t now) {
  int begins = proto == TEAL_PROTO_UDP || (flags & (TEAL_TCP_SYN | TEAL_TCP_ACK | TEAL_TCP_RST)) == TEAL_TCP_SYN;
  if (TEAL_LIKELY(val != 0)) {
    if (TEAL_LIKELY(proto == TEAL_PROTO_TCP && !begins))
      return TEAL_UNLIKELY(teal_val_state(val) == TEAL_FLOW_reset) ? TEAL_ACT_RESET : TEAL_ACT_KEEP;
    if (proto == TEAL_PROTO_TCP && teal_state_is_over(teal_val_state(val))) return TEAL_ACT_ENTER;
    return teal_flow_expired(svc, val, now) ? TEAL_ACT_ENTER : TEAL_ACT_KEEP;
  }
  if (begins) return TEAL_ACT_ENTER;
  return (flags & TEAL_TCP_RST) ? TEAL_ACT_STATELESS : TEAL_ACT_RECOVER;
}

/* The split that decides: a flow that begins now, or one that this host should have known. */
TEAL_INLINE uint64_t teal_deciding_split(enum teal_action action, uint64_t current, uint64_t previous) {
  return action != TEAL_ACT_ENTER && teal_split_draining(current) ? previous : current;
}

/* What a split's point is drawn from. */
TEAL_INLINE uint64_t teal_point_basis(const struct teal_secret *s, const struct teal_service *svc,
                                      const struct teal_addr *client, uint64_t flow_key) {
  if (svc->flags & TEAL_SERVICE_BY_FLOW) return flow_key;
  return svc->family == 4 ? client->v4 : teal_hash_addr(s, client, 0);
}

/* The pool of a flow by a split; most send all to one. */
TEAL_INLINE int teal_split_pool(const struct teal_secret *s, const struct teal_service *svc,
                                const struct teal_addr *client, uint64_t flow_key, uint64_t split) {
  uint32_t share = teal_split_share(split);
  if (TEAL_LIKELY(share == 0)) return TEAL_BLUE;
  if (TEAL_LIKELY(share >= TEAL_SPLIT_ALL)) return TEAL_GREEN;
  return teal_pool_of(split, teal_point(s, teal_point_basis(s, svc, client, flow_key)));
}

/* The state that a flow is entered in. */
TEAL_INLINE uint8_t teal_first_state(enum teal_action action, uint32_t proto) {
  if (proto == TEAL_PROTO_UDP) return TEAL_FLOW_udp_new;
  return action == TEAL_ACT_ENTER ? TEAL_FLOW_syn : TEAL_FLOW_recovered;
}

#endif
