/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Stage 1 for what nearly all packets are: TCP in the middle of a connection. Says less than teal_parse() and
 * costs less: what headers of such packets have in common is compared at once.
 */
#ifndef TEAL_UNDER_WAY_H
#define TEAL_UNDER_WAY_H

#include "teal/parse.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

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

/* What the first 32 bytes of such frames to one MAC address have in common: those bits of them that `mask` has are
 * `value`'s. Words as they lie in memory. */
struct teal_frame_like {
  uint64_t value[4], mask[4];
} __attribute__((aligned(32)));

/* Of frames to the six bytes at `mac`: untagged TCP over IPv4 without options, no fragment, or over IPv6 without extension
 * headers. */
TEAL_INLINE struct teal_frame_like teal_under_way_like(const uint8_t *mac, uint32_t family) {
  struct teal_frame_like like;
  uint8_t value[32] = {0}, mask[32] = {0};
  TEAL_COPY(value, mac, 6);
  for (int i = 0; i < 6; i++) mask[i] = 0xff;
  value[12] = family == 4 ? TEAL_ETH_IPV4 >> 8 : TEAL_ETH_IPV6 >> 8;
  value[13] = family == 4 ? TEAL_ETH_IPV4 & 0xff : TEAL_ETH_IPV6 & 0xff;
  value[14] = family == 4 ? 0x45 : 0x60; /* version, and header length or the class's upper half */
  mask[12] = mask[13] = 0xff;
  mask[14] = family == 4 ? 0xff : 0xf0;
  if (family == 4) {
    mask[20] = TEAL_IPV4_MF >> 8 | TEAL_IPV4_OFFSET >> 8; /* DF is as it likes */
    mask[21] = TEAL_IPV4_OFFSET & 0xff;
  }
  value[family == 4 ? 23 : 20] = TEAL_PROTO_TCP;
  mask[family == 4 ? 23 : 20] = 0xff;
  TEAL_COPY(like.value, value, 32);
  TEAL_COPY(like.mask, mask, 32);
  return like;
}

/* 1: the 32 bytes at `data` are like that. */
TEAL_INLINE int teal_is_like_by_words(const uint8_t *data, const struct teal_frame_like *like) {
  uint64_t differ = 0;
  for (int i = 0; i < 4; i++) differ |= (teal_load64(data + 8 * i) ^ like->value[i]) & like->mask[i];
  return differ == 0;
}
TEAL_INLINE int teal_is_like(const uint8_t *data, const struct teal_frame_like *like) {
#ifdef __AVX2__
  __m256i differ = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)data), *(const __m256i *)like->value);
  return _mm256_testz_si256(differ, *(const __m256i *)like->mask);
#else
  return teal_is_like_by_words(data, like);
#endif
}

/* The same of frames to any address, of 24 readable bytes; `family` is a constant. (The XDP program, which has no 32 bytes in
 * one register, compares less than that.) */
TEAL_INLINE int teal_is_plain(const uint8_t *data, uint32_t family) {
  uint32_t type = teal_load32(data + 12), more = teal_load32(data + 20);
  if (family == 4)
    return (type & 0xffffff) == (0x45u << 16 | teal_swap16(TEAL_ETH_IPV4)) &&
           (more & (0xff000000u | teal_swap16(TEAL_IPV4_MF | TEAL_IPV4_OFFSET))) == (uint32_t)TEAL_PROTO_TCP << 24;
  return (type & 0xf0ffff) == (0x60u << 16 | teal_swap16(TEAL_ETH_IPV6)) && (more & 0xff) == TEAL_PROTO_TCP;
}

/* The addresses of such a frame. */
TEAL_INLINE void teal_under_way_addresses(const uint8_t *data, uint32_t family, struct teal_addr *src, struct teal_addr *dst) {
  if (family == 4) {
    src->words[0] = teal_load32(data + 26);
    dst->words[0] = teal_load32(data + 30);
    for (int i = 1; i < 4; i++) src->words[i] = dst->words[i] = 0;
  } else {
    TEAL_COPY(src, data + 22, 16);
    TEAL_COPY(dst, data + 38, 16);
  }
}

/* Whether the lengths that a frame states fit each other and the `len` bytes that there are: none of three differences is
 * negative. The TCP header's length is the upper half of a byte, in words: 16 of that byte's are 4 bytes. */
TEAL_INLINE int teal_under_way_fits(const uint8_t *data, uint32_t len, uint32_t family) {
  uint32_t l3_len = teal_under_way_l3_len(data, family), l3 = (uint32_t)sizeof(struct teal_eth);
  uint32_t l4 = TEAL_UNDER_WAY_L4(family), words = data[l4 + 12];
  uint32_t behind = len - l3 - l3_len, options = words - sizeof(struct teal_tcp) * 4;
  uint32_t payload = (l3_len - (l4 - l3)) * 4 - (words & 0xf0);
  return (int32_t)(behind | options | payload) >= 0;
}

/*
 * Of the frame of `len` bytes at `data`, which is like teal_under_way_like() of its port's MAC address and `family`; that
 * is a constant. Not TEAL_NOT_UNDER_WAY: it is sound and whole, teal_parse_common() says `family` of it.
 */
TEAL_INLINE enum teal_under_way teal_is_under_way(const uint8_t *data, uint32_t len, uint32_t family) {
  uint32_t l4 = TEAL_UNDER_WAY_L4(family);
  if (TEAL_UNLIKELY(len < l4 + sizeof(struct teal_tcp)) || TEAL_UNLIKELY(!teal_under_way_fits(data, len, family)))
    return TEAL_NOT_UNDER_WAY;
  uint32_t flags = data[l4 + 13] & (TEAL_TCP_SYN | TEAL_TCP_FIN | TEAL_TCP_RST);
  if (TEAL_LIKELY(flags == 0)) return TEAL_UNDER_WAY;
  return flags == TEAL_TCP_SYN ? TEAL_BEGINS : TEAL_NOT_UNDER_WAY;
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
