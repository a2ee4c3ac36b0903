/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Stage 5, rewrite: addresses, ports, TTL, tunnel and Ethernet headers, with checksums kept right incrementally.
 * Headers have been parsed without complaint: what a pointer leads to is there to be written.
 */
#ifndef TEAL_REWRITE_H
#define TEAL_REWRITE_H

#include "teal/checksum.h"
#include "teal/service.h"

#define TEAL_TUNNEL_TTL 64

enum teal_side { TEAL_SIDE_SRC, TEAL_SIDE_DST };

#define TEAL_TTL_DIFF 0xfffeu /* to a checksum, of any word to itself less one (RFC 1141) */

/* Of the IPv4 header at `ip`: one less of its TTL, `addend` to its checksum (teal_csum_add()). TTL, protocol and checksum lie
 * in one word. 0, and nothing is changed, where the TTL is at its end. */
TEAL_INLINE int teal_hop_down4(uint8_t *ip, uint32_t addend) {
  uint32_t word;
  TEAL_COPY(&word, ip + 8, 4);
  if ((word & 0xff) <= 1) return 0;
  uint64_t sum = (uint64_t)word - 1 + ((uint64_t)addend << 16);
  word = (uint32_t)(sum + ((sum + 0x10000) >> 32 << 16)); /* a checksum of 0xffff is 0 */
  TEAL_COPY(ip + 8, &word, 4);
  return 1;
}

/* Takes one from the TTL or hop limit of the IP header at `ip`. 0 when the packet may not be forwarded any more; it is
 * unchanged then. */
TEAL_INLINE int teal_hop_down(uint8_t *ip, uint32_t family) {
  if (TEAL_LIKELY(family == 4)) return teal_hop_down4(ip, 0xffff - TEAL_TTL_DIFF);
  struct teal_ipv6 *v6 = (struct teal_ipv6 *)ip;
  if (v6->hop_limit <= 1) return 0;
  v6->hop_limit--;
  return 1;
}

/* Adds `diff` to the TCP or UDP checksum at the head `l4`. A UDP checksum of 0 stays 0 (RFC 768: none was made). */
TEAL_INLINE void teal_l4_csum(uint8_t *l4, uint32_t proto, uint64_t diff) {
  if (TEAL_LIKELY(proto == TEAL_PROTO_TCP)) {
    struct teal_tcp *tcp = (struct teal_tcp *)l4;
    tcp->csum = teal_csum_apply(tcp->csum, diff);
  } else {
    struct teal_udp *udp = (struct teal_udp *)l4;
    if (udp->csum != 0) udp->csum = teal_csum_apply_udp(udp->csum, diff);
  }
}

/* Puts `to` in place of the source or destination address at IP header `ip`; returns the difference it makes to a
 * checksum over the pseudo header. The IPv4 header checksum is kept right. */
TEAL_INLINE uint64_t teal_swap_address(uint8_t *ip, uint32_t family, int side, const struct teal_addr *to) {
  uint64_t diff = 0;
  if (TEAL_LIKELY(family == 4)) {
    struct teal_ipv4 *v4 = (struct teal_ipv4 *)ip;
    teal_be32 from = side == TEAL_SIDE_SRC ? v4->src : v4->dst;
    diff = teal_csum_diff32(from, to->v4);
    if (side == TEAL_SIDE_SRC)
      v4->src = to->v4;
    else
      v4->dst = to->v4;
    v4->csum = teal_csum_apply(v4->csum, diff);
    return diff;
  }
  struct teal_ipv6 *v6 = (struct teal_ipv6 *)ip;
  struct teal_addr from;
  uint8_t *at = side == TEAL_SIDE_SRC ? v6->src : v6->dst;
  TEAL_COPY(&from, at, 16);
  for (int i = 0; i < 4; i++) diff += teal_csum_diff32(from.words[i], to->words[i]);
  TEAL_COPY(at, to, 16);
  return diff;
}

/* Destination or source NAT of a TCP or UDP packet (IP header at `ip`, transport header at `l4`): address and port of
 * one side, checksums with them. */
TEAL_INLINE void teal_nat(uint8_t *ip, uint8_t *l4, uint32_t family, uint32_t proto, int side,
                          const struct teal_addr *addr, teal_be16 port) {
  uint64_t diff = teal_swap_address(ip, family, side, addr);
  struct teal_udp *ports = (struct teal_udp *)l4; /* TCP and UDP begin with the same two ports */
  if (side == TEAL_SIDE_SRC) {
    diff += teal_csum_diff16(ports->sport, port);
    ports->sport = port;
  } else {
    diff += teal_csum_diff16(ports->dport, port);
    ports->dport = port;
  }
  teal_l4_csum(l4, proto, diff);
}

/* What teal_nat_hop() adds to the checksums when these addresses and ports change. */
TEAL_INLINE struct teal_nat_sums teal_nat_sums_of(uint32_t family, const struct teal_addr *from, teal_be16 from_port,
                                                  const struct teal_addr *to, teal_be16 to_port) {
  struct teal_nat_sums sums;
  uint64_t diff = 0;
  for (uint32_t i = 0; i < (family == 4 ? 1u : 4u); i++) diff += teal_csum_diff32(from->words[i], to->words[i]);
  sums.ip = teal_csum_addend(diff + TEAL_TTL_DIFF);
  sums.l4 = teal_csum_addend(diff + teal_csum_diff16(from_port, to_port));
  return sums;
}

/* teal_hop_down() and teal_nat() in one, where the packet's address and port on that side are those that `sums` were made
 * of. 0 when the packet may not be forwarded any more; it is unchanged then. */
TEAL_INLINE int teal_nat_hop(uint8_t *ip, uint8_t *l4, uint32_t family, uint32_t proto, int side,
                             const struct teal_addr *addr, teal_be16 port, struct teal_nat_sums sums) {
  if (TEAL_LIKELY(family == 4)) {
    struct teal_ipv4 *v4 = (struct teal_ipv4 *)ip;
    if (!teal_hop_down4(ip, sums.ip)) return 0;
    if (side == TEAL_SIDE_SRC)
      v4->src = addr->v4;
    else
      v4->dst = addr->v4;
  } else {
    struct teal_ipv6 *v6 = (struct teal_ipv6 *)ip;
    if (v6->hop_limit <= 1) return 0;
    v6->hop_limit--;
    TEAL_COPY(side == TEAL_SIDE_SRC ? v6->src : v6->dst, addr, 16);
  }
  struct teal_udp *ports = (struct teal_udp *)l4;
  if (side == TEAL_SIDE_SRC)
    ports->sport = port;
  else
    ports->dport = port;
  if (TEAL_LIKELY(proto == TEAL_PROTO_TCP)) {
    struct teal_tcp *tcp = (struct teal_tcp *)l4;
    tcp->csum = teal_csum_add(tcp->csum, sums.l4);
  } else {
    teal_l4_csum(l4, proto, (uint16_t)~sums.l4);
  }
  return 1;
}

/* Only the address of one side, ports as they are (hairpin). */
TEAL_INLINE void teal_nat_address(uint8_t *ip, uint8_t *l4, uint32_t family, uint32_t proto, int side,
                                  const struct teal_addr *addr) {
  teal_l4_csum(l4, proto, teal_swap_address(ip, family, side, addr));
}

/* One step over the TCP options of the header at `l4`, `header` bytes long: *at is the offset of an option, and of the
 * next one afterwards. 1: it was an MSS above `limit` and is `limit` now; 0: go on; -1: there is nothing more to find. */
TEAL_INLINE int teal_clamp_step(uint8_t *l4, const uint8_t *end, uint32_t header, uint32_t *at, uint16_t limit) {
  uint8_t *o = l4 + *at;
  if (*at + 2 > header || o + 2 > end || o[0] == 0) return -1;
  if (o[0] == 1) {
    (*at)++;
    return 0;
  }
  if (o[1] < 2) return -1;
  if (o[0] != 2) {
    *at += o[1];
    return 0;
  }
  if (o[1] != 4 || *at + 4 > header || o + 4 > end) return -1;
  uint16_t mss = (uint16_t)(o[2] << 8 | o[3]);
  if (mss <= limit) return -1;
  /* The two bytes may lie across two checksum words: sum what stands at even offsets before and after. */
  uint64_t diff;
  if ((*at & 1) == 0) {
    diff = teal_csum_diff16(teal_swap16(mss), teal_swap16(limit));
  } else {
    diff = teal_csum_diff16((uint16_t)(o[2] << 8), (uint16_t)((limit >> 8) << 8)) +
           teal_csum_diff16(o[3], (uint16_t)(limit & 0xff));
  }
  o[2] = (uint8_t)(limit >> 8);
  o[3] = (uint8_t)limit;
  struct teal_tcp *tcp = (struct teal_tcp *)l4;
  tcp->csum = teal_csum_apply(tcp->csum, diff);
  return 1;
}

/* Lowers the MSS option of a SYN, TCP header at `l4`, to `limit` bytes (RFC 9293, section 3.7.1). 1 when it did. `end` as
 * for teal_parse. */
#define TEAL_TCP_OPTIONS 40 /* bytes of them, and so at most as many */
TEAL_INLINE int teal_clamp_mss(uint8_t *l4, const uint8_t *end, uint16_t limit) {
  uint32_t header = (uint32_t)(((struct teal_tcp *)l4)->offset >> 4) * 4;
  uint32_t at = sizeof(struct teal_tcp);
  for (int i = 0; i < TEAL_TCP_OPTIONS; i++) {
    int done = teal_clamp_step(l4, end, header, &at, limit);
    if (done) return done > 0;
  }
  return 0;
}

/* Bytes of the Ethernet header that leads to a hop. */
TEAL_INLINE uint32_t teal_eth_len(const struct teal_hop *hop) { return (uint32_t)sizeof(struct teal_eth) + 4u * hop->tags; }

/* Writes the Ethernet header of `hop` at `p`, as far as the EtherType; returns where that belongs. */
TEAL_INLINE uint8_t *teal_write_macs(uint8_t *p, const struct teal_hop *hop) {
  TEAL_COPY(p, hop->dst, 12); /* dst and src lie side by side in both */
  p += 12;
  for (uint32_t i = 0; i < 2; i++) {
    if (TEAL_LIKELY(i >= hop->tags)) break;
    TEAL_COPY(p, &hop->vlan[i], 4);
    p += 4;
  }
  return p;
}

/* Whether a hop's MAC address is known, and its frames have no tags. */
TEAL_INLINE int teal_hop_plain(const struct teal_hop *hop) { return hop->state == TEAL_HOP_READY && hop->tags == 0; }

/* The same two for such a hop. */
TEAL_INLINE void teal_write_macs_plain(uint8_t *p, const struct teal_hop *hop) { TEAL_COPY(p, hop->dst, 12); }
TEAL_INLINE void teal_write_eth_plain(uint8_t *p, const struct teal_hop *hop, uint16_t ethertype) {
  teal_be16 type = teal_swap16(ethertype);
  TEAL_COPY(p, hop->dst, 12);
  TEAL_COPY(p + 12, &type, 2);
}

/* Writes the Ethernet header of `hop`, teal_eth_len() bytes, at `p`. */
TEAL_INLINE void teal_write_eth(uint8_t *p, const struct teal_hop *hop, uint16_t ethertype) {
  teal_be16 type = teal_swap16(ethertype);
  TEAL_COPY(teal_write_macs(p, hop), &type, 2);
}

/* Bytes of the outer header of a tunnel to a backend of `family`. */
TEAL_INLINE uint32_t teal_tunnel_len(uint32_t family) {
  return family == 4 ? (uint32_t)sizeof(struct teal_ipv4) : (uint32_t)sizeof(struct teal_ipv6);
}

/* The outer IPv4 header but for what differs, in words as they lie in memory: version and length; DF; TTL. The
 * identification is 0, which it may be where DF is set (RFC 6864, section 4.1). */
#define TEAL_TUNNEL4_A 0x45u
#define TEAL_TUNNEL4_B ((uint32_t)teal_swap16(TEAL_IPV4_DF) << 16)
#define TEAL_TUNNEL4_C(inner_family) (TEAL_TUNNEL_TTL | ((inner_family) == 4 ? TEAL_PROTO_IPIP : TEAL_PROTO_IPV6) << 8)

/* Addresses in network order; `sum` is of all but the first word, of an IPv4 packet inside. */
TEAL_INLINE struct teal_tunnel4 teal_tunnel4_of(teal_be32 src, teal_be32 dst) {
  struct teal_tunnel4 t = {src, dst, 0};
  t.sum = teal_csum_fold((uint64_t)TEAL_TUNNEL4_B + TEAL_TUNNEL4_C(4) + src + dst);
  return t;
}

/* Writes the outer header (RFC 2003, RFC 4213) whose first word is `a` and which holds a packet of `inner_family` at
 * `outer`. DF is set: an outer fragment would be reassembled by the backend at the cost that teal is there to spare it. */
TEAL_INLINE void teal_write_tunnel4_from(uint8_t *outer, const struct teal_tunnel4 *to, uint32_t inner_family, uint32_t a) {
  uint32_t b = TEAL_TUNNEL4_B, c = TEAL_TUNNEL4_C(inner_family);
  uint32_t sum = to->sum + (uint32_t)(uint16_t)a + (a >> 16) + (c - TEAL_TUNNEL4_C(4));
  c |= ~(sum + (sum << 16 | sum >> 16)) & 0xffff0000u; /* teal_csum_fold32(), where it lies */
  TEAL_COPY(outer, &a, 4);
  TEAL_COPY(outer + 4, &b, 4);
  TEAL_COPY(outer + 8, &c, 4);
  TEAL_COPY(outer + 12, to, 8); /* both addresses */
}

/* The same of a packet of `inner_len` bytes. DSCP and ECN are the inner packet's (RFC 6040, normal mode). */
TEAL_INLINE void teal_write_tunnel4(uint8_t *outer, const struct teal_tunnel4 *to, uint32_t inner_family,
                                    uint8_t traffic_class, uint32_t inner_len) {
  uint32_t total = teal_swap16((uint16_t)(inner_len + sizeof(struct teal_ipv4)));
  teal_write_tunnel4_from(outer, to, inner_family, TEAL_TUNNEL4_A | (uint32_t)traffic_class << 8 | total << 16);
}

/* The same of an IPv4 packet without options, by its first word, exchanged: its header begins as the outer one does. */
TEAL_INLINE void teal_write_tunnel4_as(uint8_t *outer, const struct teal_tunnel4 *to, uint32_t start) {
  teal_write_tunnel4_from(outer, to, 4, teal_swap32(start + (uint32_t)sizeof(struct teal_ipv4)));
}

/* Over IPv6 (RFC 2473). */
TEAL_INLINE void teal_write_tunnel6(uint8_t *outer, const struct teal_backend *backend, uint32_t inner_family,
                                    uint8_t traffic_class, uint32_t inner_len) {
  struct teal_ipv6 *ip = (struct teal_ipv6 *)outer;
  ip->version_class_label = teal_swap32(6u << 28 | (uint32_t)traffic_class << 20);
  ip->payload_len = teal_swap16((uint16_t)inner_len);
  ip->next = inner_family == 4 ? TEAL_PROTO_IPIP : TEAL_PROTO_IPV6;
  ip->hop_limit = TEAL_TUNNEL_TTL;
  TEAL_COPY(ip->src, &backend->tunnel_source, 16);
  TEAL_COPY(ip->dst, &backend->addr, 16);
}

/* By the backend's family. */
TEAL_INLINE void teal_write_tunnel(uint8_t *outer, const struct teal_backend *backend, uint32_t inner_family,
                                   uint8_t traffic_class, uint32_t inner_len) {
  if (TEAL_LIKELY(backend->family == 4))
    teal_write_tunnel4(outer, &backend->tunnel4, inner_family, traffic_class, inner_len);
  else
    teal_write_tunnel6(outer, backend, inner_family, traffic_class, inner_len);
}

TEAL_INLINE uint8_t teal_traffic_class(const uint8_t *ip, uint32_t family) {
  if (family == 4) return ((const struct teal_ipv4 *)ip)->tos;
  return (uint8_t)(ip[0] << 4 | ip[1] >> 4);
}

#endif
