/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * A flow in sixteen bytes: its key, its value, and how its state follows the packets.
 *
 *   key  IPv4: client address 32 | client port 16 | affinity 1 | service 15, exact
 *        IPv6: keyed hash 48                      | affinity 1 | service 15; 13 more bits of the hash are the value's
 *        check bits
 *   val  backend 16 | pool 1 | generation 5 | state 4 | data seen 1 | check 13 | last-seen stamp 24
 *
 * Neither is ever 0 in a live entry: service numbers begin at 1 and so do states. The check bits belong to the key in
 * both families: a reader that would pair one key with another's value sees it by them.
 */
#ifndef TEAL_FLOW_H
#define TEAL_FLOW_H

#include "teal/hash.h"
#include "teal/signals.h"

/* The clock counts fine ticks of 1/4096 s in 32 bits (`now`, everywhere). A stamp is 24 bits of it: in ticks of 1/16 s,
 * wrapping after 12 days, so that no timeout may exceed six; or, while a handshake is under way, in fine ticks, so that its
 * duration can be told. Those wrap after 68 minutes: no half-open timeout may exceed 34. */
#define TEAL_TICKS_PER_S 16
#define TEAL_FINE_SHIFT 8
#define TEAL_STAMP_MASK 0xffffffu
#define TEAL_CHECK_MASK 0x1fffu
#define TEAL_VAL_DATA (1ull << 37)     /* the backend has sent data; in DSR the client, after the handshake */
#define TEAL_VAL_MOVES (15ull << 38 | TEAL_VAL_DATA | TEAL_STAMP_MASK) /* what packets change of an entry */
#define TEAL_REFRESH_TICKS 16 /* last-seen is rewritten once a second, not at each packet */

/* X(name): numbers are part of the shared layout. */
#define TEAL_FLOW_STATES(X)                                                                \
  X(none)                                                                                  \
  X(syn)         /* SYN of the client seen */                                              \
  X(syn_ack)     /* SYN-ACK of the backend seen (NAT) */                                   \
  X(established)                                                                           \
  X(fin_client)  /* FIN of the client seen; the backend may go on (NAT) */                 \
  X(fin_backend) /* FIN of the backend seen; the client may go on (NAT) */                 \
  X(closing)     /* both FINs seen; in DSR the client's */                                 \
  X(closed)      /* RST seen */                                                            \
  X(udp_new)     /* one direction seen once */                                             \
  X(udp)                                                                                   \
  X(recovered)   /* entered from a packet that does not begin a flow, not confirmed yet */ \
  X(reset)       /* the operator reset it: its next packet is answered by RSTs */          \
  X(affinity)    /* no flow: a client's pool, under its prefix */

enum teal_flow_state {
#define X(name) TEAL_FLOW_##name,
  TEAL_FLOW_STATES(X)
#undef X
      TEAL_FLOW_STATE_COUNT
};

enum teal_dir { TEAL_TO_BACKEND = 0, TEAL_TO_CLIENT = 1 };

struct teal_flow_key {
  uint64_t key;   /* the key word */
  uint64_t hash;  /* places it: buckets and lock */
  uint16_t check; /* 13 bits */
};

/* The key of a flow: client address (bytes as on the wire), client port (network order) and service number. */
TEAL_INLINE struct teal_flow_key teal_flow_key4(const struct teal_secret *s, teal_be32 client, teal_be16 port,
                                                uint16_t service) {
  struct teal_flow_key k;
  k.key = (uint64_t)client << 32 | (uint64_t)port << 16 | service;
  k.hash = teal_hash64(s, k.key);
  k.check = (uint16_t)((k.hash >> 18) & TEAL_CHECK_MASK);
  return k;
}

TEAL_INLINE struct teal_flow_key teal_flow_key6(const struct teal_secret *s, const struct teal_addr *client,
                                                teal_be16 port, uint16_t service) {
  struct teal_flow_key k;
  uint64_t h = teal_hash_addr(s, client, (uint64_t)port << 16 | service);
  k.key = (h & ~0xffffull) | service;
  k.hash = teal_hash64(s, k.key);
  k.check = (uint16_t)(h & TEAL_CHECK_MASK);
  return k;
}

TEAL_INLINE int teal_state_is_fine(uint8_t state) { return state == TEAL_FLOW_syn || state == TEAL_FLOW_syn_ack; }

TEAL_INLINE uint32_t teal_stamp(uint8_t state, uint32_t now) {
  return (teal_state_is_fine(state) ? now : now >> TEAL_FINE_SHIFT) & TEAL_STAMP_MASK;
}

/* Of a flow met in its middle data has been seen, by somebody: its reset is no early one. */
TEAL_INLINE uint64_t teal_val(uint16_t backend, uint8_t pool, uint64_t generation, uint8_t state, uint16_t check,
                              uint32_t now) {
  return (uint64_t)backend << 48 | (uint64_t)(pool & 1) << 47 | (generation & 31) << 42 | (uint64_t)(state & 15) << 38 |
         (state == TEAL_FLOW_recovered ? TEAL_VAL_DATA : 0) | (uint64_t)(check & TEAL_CHECK_MASK) << 24 |
         teal_stamp(state, now);
}

TEAL_INLINE uint16_t teal_val_backend(uint64_t v) { return (uint16_t)(v >> 48); }
TEAL_INLINE uint8_t teal_val_pool(uint64_t v) { return (uint8_t)(v >> 47 & 1); }
TEAL_INLINE uint8_t teal_val_generation(uint64_t v) { return (uint8_t)(v >> 42 & 31); }
TEAL_INLINE uint8_t teal_val_state(uint64_t v) { return (uint8_t)(v >> 38 & 15); }
TEAL_INLINE uint16_t teal_val_check(uint64_t v) { return (uint16_t)(v >> 24 & TEAL_CHECK_MASK); }
TEAL_INLINE uint32_t teal_val_stamp(uint64_t v) { return (uint32_t)v & TEAL_STAMP_MASK; }
TEAL_INLINE uint16_t teal_key_service(uint64_t key) { return (uint16_t)(key & 0x7fff); }
#define TEAL_KEY_AFFINITY 0x8000u /* beside the service's number: the key is no flow's */

/* Fine ticks since the stamp of a half-open entry. A stamp ahead of `now` by up to half the range (written by a worker
 * whose clock read was younger) counts as 0. */
TEAL_INLINE uint32_t teal_val_fine_age(uint64_t v, uint32_t now) {
  uint32_t age = (now - teal_val_stamp(v)) & TEAL_STAMP_MASK;
  return age > TEAL_STAMP_MASK / 2 ? 0 : age;
}

/* Ticks since the entry was last seen (half-open: since it came to its state). */
TEAL_INLINE uint32_t teal_val_age(uint64_t v, uint32_t now) {
  if (teal_state_is_fine(teal_val_state(v))) return teal_val_fine_age(v, now) >> TEAL_FINE_SHIFT;
  return teal_val_fine_age(v, now >> TEAL_FINE_SHIFT);
}

/* Which of the configured timeouts a state lives by. */
enum teal_timeout {
  TEAL_TIMEOUT_half_open,
  TEAL_TIMEOUT_established,
  TEAL_TIMEOUT_closing,
  TEAL_TIMEOUT_udp,
  TEAL_TIMEOUT_affinity,
  TEAL_TIMEOUTS
};

TEAL_INLINE uint8_t teal_state_timeout(uint8_t state) {
  switch (state) {
    case TEAL_FLOW_syn:
    case TEAL_FLOW_syn_ack: return TEAL_TIMEOUT_half_open;
    case TEAL_FLOW_closing:
    case TEAL_FLOW_closed: return TEAL_TIMEOUT_closing;
    case TEAL_FLOW_udp_new:
    case TEAL_FLOW_udp: return TEAL_TIMEOUT_udp;
    case TEAL_FLOW_affinity: return TEAL_TIMEOUT_affinity;
    /* reset among them: the entry must be there when the flow's next packet comes, however late */
    default: return TEAL_TIMEOUT_established;
  }
}

/* A SYN that meets such an entry begins a new flow. */
TEAL_INLINE int teal_state_is_over(uint8_t state) {
  return state == TEAL_FLOW_closing || state == TEAL_FLOW_closed || state == TEAL_FLOW_reset;
}

/* Entries that may give way when the table is full: handshakes not complete, flows that are over, affinity. */
TEAL_INLINE int teal_state_gives_way(uint8_t state) {
  return state == TEAL_FLOW_syn || state == TEAL_FLOW_syn_ack || state == TEAL_FLOW_udp_new ||
         state == TEAL_FLOW_closing || state == TEAL_FLOW_closed || state == TEAL_FLOW_recovered ||
         state == TEAL_FLOW_affinity;
}

/* The state after a TCP packet with `flags` in direction `dir`. `two_way`: teal sees both directions (NAT). A SYN that
 * begins a new flow is not asked here (RFC 9293, figure 5, seen from the middle). */
TEAL_INLINE uint8_t teal_tcp_next(uint8_t state, uint8_t dir, uint8_t flags, uint8_t two_way) {
  if (state == TEAL_FLOW_reset || state == TEAL_FLOW_closing || state == TEAL_FLOW_closed) return state;
  if (flags & TEAL_TCP_RST) return TEAL_FLOW_closed;
  if (flags & TEAL_TCP_FIN) {
    if (!two_way) return TEAL_FLOW_closing;
    if (dir == TEAL_TO_BACKEND) return state == TEAL_FLOW_fin_backend ? TEAL_FLOW_closing : TEAL_FLOW_fin_client;
    return state == TEAL_FLOW_fin_client ? TEAL_FLOW_closing : TEAL_FLOW_fin_backend;
  }
  if (dir == TEAL_TO_CLIENT) {
    if (state == TEAL_FLOW_syn && (flags & TEAL_TCP_SYN)) return TEAL_FLOW_syn_ack;
    if (state == TEAL_FLOW_recovered && !(flags & TEAL_TCP_SYN)) return TEAL_FLOW_established;
    return state;
  }
  if (flags & TEAL_TCP_SYN) return state;
  if (state == TEAL_FLOW_syn_ack) return TEAL_FLOW_established;
  if (!two_way && (state == TEAL_FLOW_syn || state == TEAL_FLOW_recovered)) return TEAL_FLOW_established;
  return state;
}

TEAL_INLINE uint8_t teal_udp_next(uint8_t state, uint8_t dir, uint8_t two_way) {
  if (state == TEAL_FLOW_udp_new && (dir == TEAL_TO_CLIENT || !two_way)) return TEAL_FLOW_udp;
  return state;
}

/* The value after a packet: state moved on, data noted, last-seen refreshed. Equal to `v` when there is nothing to write. A
 * half-open entry keeps its stamp while it stays in its state: its handshake is timed from there. */
TEAL_INLINE uint64_t teal_val_after(uint64_t v, uint32_t proto, uint8_t dir, uint8_t flags, uint8_t two_way,
                                    uint32_t now) {
  uint8_t state = teal_val_state(v);
  uint8_t next = proto == TEAL_PROTO_TCP ? teal_tcp_next(state, dir, flags, two_way) : teal_udp_next(state, dir, two_way);
  /* A segment with data that ends a write carries PSH (RFC 9293, section 3.9.1.2): near enough, without its length. */
  int open = state == TEAL_FLOW_established || state == TEAL_FLOW_fin_client;
  uint64_t data = (flags & TEAL_TCP_PSH) && open && (dir == TEAL_TO_CLIENT || !two_way) ? TEAL_VAL_DATA : 0;
  if (TEAL_LIKELY(next == state && (v & data) == data) &&
      (teal_state_is_fine(state) || TEAL_LIKELY(teal_val_age(v, now) < TEAL_REFRESH_TICKS)))
    return v;
  return (v & ~(15ull << 38 | TEAL_STAMP_MASK)) | data | (uint64_t)next << 38 | teal_stamp(next, now);
}

/* What nearly every packet is: neither SYN, FIN nor RST, on an established connection that has carried data and whose entry
 * was refreshed a moment ago. 1: teal_decide() would keep the entry, and teal_val_after() leave it as it is. */
TEAL_INLINE int teal_is_steady(uint64_t val, uint32_t flags, uint32_t now) {
  return (flags & (TEAL_TCP_SYN | TEAL_TCP_FIN | TEAL_TCP_RST)) == 0 &&
         (val & (15ull << 38 | TEAL_VAL_DATA)) == ((uint64_t)TEAL_FLOW_established << 38 | TEAL_VAL_DATA) &&
         (((now >> TEAL_FINE_SHIFT) - (uint32_t)val) & (TEAL_STAMP_MASK & ~(TEAL_REFRESH_TICKS - 1u))) == 0;
}
/* The same of packets with none of these flags, and whether the check bits are the key's. */
TEAL_INLINE int teal_is_steady_of(uint64_t val, uint16_t check, uint32_t now) {
  uint64_t want = (uint64_t)TEAL_FLOW_established << 38 | TEAL_VAL_DATA | (uint64_t)check << 24;
  uint32_t age = ((now >> TEAL_FINE_SHIFT) - (uint32_t)val) & (TEAL_STAMP_MASK & ~(TEAL_REFRESH_TICKS - 1u));
  return (((val ^ want) & (15ull << 38 | TEAL_VAL_DATA | (uint64_t)TEAL_CHECK_MASK << 24)) | age) == 0;
}
TEAL_STATIC_ASSERT((TEAL_REFRESH_TICKS & (TEAL_REFRESH_TICKS - 1)) == 0, "its bits are a mask");

/* A SYN of the client that meets its flow's half-open entry. */
TEAL_INLINE int teal_is_retransmit(uint64_t val, uint8_t dir, uint8_t flags) {
  return (flags & TEAL_TCP_SYN) && dir == TEAL_TO_BACKEND && teal_state_is_fine(teal_val_state(val));
}

/* What a change of a TCP entry from `was` to `is` by one packet says of its backend; bits of enum teal_signal. Resets count
 * that come from the backend; in DSR, where nobody sees those, the client's. */
enum teal_signal {
  TEAL_SIGNAL_handshake = 1,
  TEAL_SIGNAL_timed = 2, /* teal_val_fine_age(was) is a handshake's time */
  TEAL_SIGNAL_refused = 4,
  TEAL_SIGNAL_early_reset = 8,
  TEAL_SIGNAL_reset = 16,
};

TEAL_INLINE uint32_t teal_signals_of(uint64_t was, uint64_t is, uint8_t dir, uint8_t two_way) {
  uint8_t from = teal_val_state(was), to = teal_val_state(is);
  uint32_t signals = 0;
  if (from == to) return 0;
  if (teal_state_is_fine(from) && to == TEAL_FLOW_established) signals |= TEAL_SIGNAL_handshake;
  if (from == TEAL_FLOW_syn && to == (two_way ? TEAL_FLOW_syn_ack : TEAL_FLOW_established)) signals |= TEAL_SIGNAL_timed;
  if (to == TEAL_FLOW_closed && (dir == TEAL_TO_CLIENT || !two_way))
    signals |= teal_state_is_fine(from) ? TEAL_SIGNAL_refused : was & TEAL_VAL_DATA ? TEAL_SIGNAL_reset : TEAL_SIGNAL_early_reset;
  return signals;
}

TEAL_INLINE void teal_signal_count(struct teal_signal_counts *c, uint32_t signals, uint32_t fine_ticks) {
  if (signals & TEAL_SIGNAL_handshake) TEAL_COUNT(&c->handshakes);
  if (signals & TEAL_SIGNAL_timed) TEAL_COUNT(&c->handshake[teal_handshake_bucket(fine_ticks) & (TEAL_HANDSHAKE_BUCKETS - 1)]);
  if (signals & TEAL_SIGNAL_refused) TEAL_COUNT(&c->refused);
  if (signals & TEAL_SIGNAL_early_reset) TEAL_COUNT(&c->early_resets);
  if (signals & TEAL_SIGNAL_reset) TEAL_COUNT(&c->resets);
}

/* Where a flow's signals are counted: by pool and the generation it was entered under. */
TEAL_INLINE uint32_t teal_signal_index(uint64_t v) {
  return (uint32_t)teal_val_pool(v) * TEAL_SIGNAL_GENERATIONS + (teal_val_generation(v) & (TEAL_SIGNAL_GENERATIONS - 1));
}

#endif
