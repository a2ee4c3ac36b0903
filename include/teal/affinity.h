/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Affinity and preview: what may decide a new flow's pool before the split does.
 *
 * A client's affinity is an entry of the flow table under the client's prefix, with backend 0 and the pool that its first
 * complete connection is on; later connections follow it until the client has been away for the time-out.
 */
#ifndef TEAL_AFFINITY_H
#define TEAL_AFFINITY_H

#include "teal/decide.h"
#include "teal/route.h"

/* The key of the client's affinity. No flow has it, one from port 0 neither: legal in UDP, and anybody can send it. */
TEAL_INLINE struct teal_flow_key teal_affinity_key(const struct teal_secret *s, const struct teal_service *svc,
                                                   const struct teal_addr *client, uint16_t service) {
  struct teal_addr net = *client;
  teal_addr_mask(&net, svc->family == 4 ? svc->affinity4 : svc->affinity6);
  uint16_t kind = (uint16_t)(service | TEAL_KEY_AFFINITY);
  return svc->family == 4 ? teal_flow_key4(s, net.v4, 0, kind) : teal_flow_key6(s, &net, 0, kind);
}

/* Whether what was entered by `val` still speaks for its client under the split word `split`. */
TEAL_INLINE int teal_affinity_counts(uint64_t val, uint64_t split) {
  return !(split & TEAL_SPLIT_IGNORE_AFFINITY) || teal_val_generation(val) == (teal_split_generation(split) & 31);
}

/* Whether the affinity entry `val` still binds under the split word `split`. */
TEAL_INLINE int teal_affinity_binds(const struct teal_service *svc, uint64_t val, uint64_t split, uint32_t now) {
  if (val == 0 || teal_val_state(val) != TEAL_FLOW_affinity) return 0;
  return teal_affinity_counts(val, split) && !teal_flow_expired(svc, val, now);
}

/* Whether a flow in this state pins its client, or keeps it pinned: its handshake is complete. */
TEAL_INLINE int teal_state_pins(uint8_t state) {
  return state == TEAL_FLOW_established || state == TEAL_FLOW_fin_client || state == TEAL_FLOW_fin_backend ||
         state == TEAL_FLOW_closing || state == TEAL_FLOW_udp;
}

/* The affinity entry that a flow's value makes. */
TEAL_INLINE uint64_t teal_affinity_val(uint64_t flow, uint16_t check, uint32_t now) {
  return teal_val(0, teal_val_pool(flow), teal_val_generation(flow), TEAL_FLOW_affinity, check, now);
}

/* The pool that previews see. */
TEAL_INLINE uint32_t teal_preview_pool(const struct teal_service *svc) {
  return svc->flags & TEAL_SERVICE_PREVIEW_GREEN ? TEAL_GREEN : TEAL_BLUE;
}

#endif
