/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * ICMP and ICMPv6 errors: the packet they quote, and its translation inside and out (RFC 5508, section 4.2).
 */
#ifndef TEAL_QUOTE_H
#define TEAL_QUOTE_H

#include "teal/parse.h"
#include "teal/rewrite.h"

/* The quoted packet. Offsets from the start of the frame. */
struct teal_quote {
  uint16_t l3;
  uint16_t l4;
  uint8_t proto;
  uint8_t whole_l4; /* the quote reaches over the checksum of its TCP or UDP header */
  teal_be16 sport;
  teal_be16 dport;
  struct teal_addr src;
  struct teal_addr dst;
};

/* 1: parsed; 0: not of TCP or UDP, or a later fragment (no ports); -1: cut short or impossible. */
TEAL_INLINE int teal_parse_quote(const uint8_t *data, const uint8_t *end, const struct teal_pkt *pkt,
                                 struct teal_quote *q) {
  uint32_t l3 = (uint32_t)pkt->l4 + sizeof(struct teal_icmp);
  const uint8_t *p = data + l3;
  /* Bytes of the message from there on: what pads the frame behind it is not quoted, nor under its checksum. */
  uint32_t room = pkt->l3_len - (l3 - pkt->l3);
  uint32_t at;
  __builtin_memset(q, 0, sizeof(*q));
  q->l3 = (uint16_t)l3;
  if (pkt->family == 4) {
    const struct teal_ipv4 *ip = (const struct teal_ipv4 *)p;
    if (p + sizeof(*ip) > end || room < sizeof(*ip)) return -1;
    at = (uint32_t)(ip->version_ihl & 0x0f) * 4;
    if ((ip->version_ihl >> 4) != 4 || at < sizeof(*ip)) return -1;
    if (ip->frag & teal_swap16(TEAL_IPV4_OFFSET)) return 0;
    q->proto = ip->proto;
    q->src.v4 = ip->src;
    q->dst.v4 = ip->dst;
  } else {
    const struct teal_ipv6 *ip = (const struct teal_ipv6 *)p;
    if (p + sizeof(*ip) > end || room < sizeof(*ip)) return -1;
    if ((*p >> 4) != 6) return -1;
    at = sizeof(*ip);
    uint8_t next = ip->next;
    for (int i = 0; i < TEAL_MAX_EXTENSIONS; i++) {
      if (next != TEAL_PROTO_HOPOPTS && next != TEAL_PROTO_ROUTING && next != TEAL_PROTO_DSTOPTS) break;
      const uint8_t *e = p + at;
      if (e + 2 > end) return -1;
      at += ((uint32_t)e[1] + 1) * 8;
      next = e[0];
    }
    q->proto = next;
    __builtin_memcpy(&q->src, ip->src, 16);
    __builtin_memcpy(&q->dst, ip->dst, 16);
  }
  if (q->proto != TEAL_PROTO_TCP && q->proto != TEAL_PROTO_UDP) return 0;
  const uint8_t *l4 = p + at;
  if (l4 + 8 > end || at + 8 > room) return -1; /* RFC 792: at least 8 bytes of it */
  const struct teal_udp *ports = (const struct teal_udp *)l4;
  q->l4 = (uint16_t)(l3 + at);
  q->sport = ports->sport;
  q->dport = ports->dport;
  q->whole_l4 = q->proto == TEAL_PROTO_UDP ||
                (l4 + sizeof(struct teal_tcp) <= end && at + sizeof(struct teal_tcp) <= room);
  return 1;
}

/* Rewrites the error: `inner_side` of the quoted packet becomes addr:port, `outer_side` of the packet itself `outer`.
 * All checksums are kept right: the quoted headers', the ICMP one, the outer IPv4 header's. */
TEAL_INLINE void teal_nat_quote(uint8_t *data, const struct teal_pkt *pkt, const struct teal_quote *q, int inner_side,
                                const struct teal_addr *addr, teal_be16 port, int outer_side,
                                const struct teal_addr *outer) {
  uint64_t icmp_diff = 0;
  uint8_t *inner = data + q->l3;
  struct teal_ipv4 *in4 = (struct teal_ipv4 *)inner;
  uint16_t ip_csum = pkt->family == 4 ? in4->csum : 0;
  uint64_t diff = teal_swap_address(inner, pkt->family, inner_side, addr);
  icmp_diff += diff;
  if (pkt->family == 4) icmp_diff += teal_csum_diff16(ip_csum, in4->csum);

  struct teal_udp *ports = (struct teal_udp *)(data + q->l4);
  teal_be16 from = inner_side == TEAL_SIDE_SRC ? ports->sport : ports->dport;
  if (inner_side == TEAL_SIDE_SRC)
    ports->sport = port;
  else
    ports->dport = port;
  uint64_t port_diff = teal_csum_diff16(from, port);
  icmp_diff += port_diff;
  if (q->whole_l4) {
    uint8_t *at = data + q->l4 + (q->proto == TEAL_PROTO_TCP ? 16 : 6);
    uint16_t before, after;
    __builtin_memcpy(&before, at, 2);
    teal_l4_csum(data + q->l4, q->proto, diff + port_diff);
    __builtin_memcpy(&after, at, 2);
    icmp_diff += teal_csum_diff16(before, after);
  }
  uint64_t outer_diff = teal_swap_address(data + pkt->l3, pkt->family, outer_side, outer);
  if (pkt->family == 6) icmp_diff += outer_diff; /* ICMPv6 sums its pseudo header (RFC 4443, section 2.3) */
  struct teal_icmp *icmp = (struct teal_icmp *)(data + pkt->l4);
  icmp->csum = teal_csum_apply(icmp->csum, icmp_diff);
}

#endif
