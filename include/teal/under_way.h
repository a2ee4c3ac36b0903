/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Stage 1 for what nearly all packets are: TCP in the middle of a connection. Says less than teal_parse() and
 * costs less: what differs from the ordinary is gathered by masks, and looked at once.
 */
#ifndef TEAL_UNDER_WAY_H
#define TEAL_UNDER_WAY_H

#include "teal/parse.h"

TEAL_INLINE uint16_t teal_load16(const uint8_t *p) {
  uint16_t x;
  TEAL_COPY(&x, p, 2);
  return x;
}

TEAL_INLINE uint32_t teal_load32(const uint8_t *p) {
  uint32_t x;
  TEAL_COPY(&x, p, 4);
  return x;
}

TEAL_INLINE uint64_t teal_load64(const uint8_t *p) {
  uint64_t x;
  TEAL_COPY(&x, p, 8);
  return x;
}

/* Bytes as they stand in a little-endian word. */
#define TEAL_BYTES4(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* Bytes from the frame's beginning to the TCP header of such a packet. */
#define TEAL_UNDER_WAY_L4(family) ((family) == 4 ? 34u : 54u)

/* Bytes of its IP datagram, as its header states them. */
TEAL_INLINE uint32_t teal_under_way_l3_len(const uint8_t *data, uint32_t family) {
  return family == 4 ? teal_swap16(teal_load16(data + 16)) : teal_swap16(teal_load16(data + 18)) + 40u;
}

enum teal_under_way {
  TEAL_NOT_UNDER_WAY, /* something else */
  TEAL_UNDER_WAY,     /* neither SYN, FIN nor RST */
  TEAL_BEGINS,        /* the same, but SYN */
};

/* Whether the lengths that a frame states fit each other and the `len` bytes that there are. */
TEAL_INLINE int teal_under_way_fits(const uint8_t *data, uint32_t len, uint32_t family) {
  uint32_t total = teal_under_way_l3_len(data, family) + (uint32_t)sizeof(struct teal_eth);
  uint32_t l4 = TEAL_UNDER_WAY_L4(family), header = (uint32_t)(data[l4 + 12] & 0xf0) >> 2;
  return TEAL_LIKELY(total <= len) && TEAL_LIKELY(header >= sizeof(struct teal_tcp)) && TEAL_LIKELY(l4 + header <= total);
}

/* By EtherType, version and header length: 4, 6, or 0 for what is neither IPv4 without options nor IPv6. Reads 16 bytes. */
TEAL_INLINE uint32_t teal_under_way_family(const uint8_t *data) {
  uint32_t head = teal_load32(data + 12);
  if (TEAL_LIKELY((head & TEAL_BYTES4(0xff, 0xff, 0xff, 0)) == TEAL_BYTES4(0x08, 0x00, 0x45, 0))) return 4;
  return (head & TEAL_BYTES4(0xff, 0xff, 0xf0, 0)) == TEAL_BYTES4(0x86, 0xdd, 0x60, 0) ? 6 : 0;
}

/*
 * Not 0: the frame of `len` bytes at `data` goes to the MAC address `mac` (its six bytes, as they stand in a frame, as a
 * little-endian number); it is TCP over `family`, has no tags, options (of IPv4), extension headers or fragments, is
 * sound and whole: teal_parse_common() says `family` of it. `family`: of teal_under_way_family(), 4 or 6, a constant.
 */
TEAL_INLINE enum teal_under_way teal_is_under_way(const uint8_t *data, uint32_t len, uint64_t mac, uint32_t family) {
  uint32_t l4 = TEAL_UNDER_WAY_L4(family);
  if (TEAL_UNLIKELY(len < l4 + sizeof(struct teal_tcp))) return TEAL_NOT_UNDER_WAY;
  const uint8_t *tcp = data + l4;
  uint64_t odd = (teal_load64(data) ^ mac) << 16; /* the upper two bytes are of the source */
  if (family == 4) {
    odd |= (teal_load32(data + 20) ^ TEAL_BYTES4(0, 0, 0, TEAL_PROTO_TCP)) & TEAL_BYTES4(0x3f, 0xff, 0, 0xff);
  } else {
    odd |= data[20] ^ TEAL_PROTO_TCP;
  }
  uint32_t flags = tcp[13] & (TEAL_TCP_SYN | TEAL_TCP_FIN | TEAL_TCP_RST);
  if (TEAL_UNLIKELY((odd | flags) != 0))
    return odd == 0 && flags == TEAL_TCP_SYN && teal_under_way_fits(data, len, family) ? TEAL_BEGINS : TEAL_NOT_UNDER_WAY;
  return teal_under_way_fits(data, len, family) ? TEAL_UNDER_WAY : TEAL_NOT_UNDER_WAY;
}

/* What teal_parse_common() makes of such a frame. */
TEAL_INLINE void teal_under_way_parsed(const uint8_t *data, uint32_t family, struct teal_pkt *pkt) {
  uint32_t l4 = TEAL_UNDER_WAY_L4(family);
  pkt->l3 = sizeof(struct teal_eth);
  pkt->l4 = (uint16_t)l4;
  pkt->l3_len = teal_under_way_l3_len(data, family);
  pkt->kind = TEAL_KIND_L4;
  pkt->reason = 0;
  pkt->family = (uint8_t)family;
  pkt->proto = TEAL_PROTO_TCP;
  pkt->tags = 0;
  pkt->tcp_flags = data[l4 + 13];
  pkt->sport = teal_load16(data + l4);
  pkt->dport = teal_load16(data + l4 + 2);
}

#endif
