/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Stage 1, parse: bytes of a frame -> what the later stages need to know of it. Reads nothing at or past `end`.
 */
#ifndef TEAL_PARSE_H
#define TEAL_PARSE_H

#include "teal/counters.h"
#include "teal/net.h"

#define TEAL_MAX_EXTENSIONS 8

/* What a frame is, as far as a layer-4 balancer cares. */
enum teal_kind {
  TEAL_KIND_OTHER = 0, /* not IP, or a protocol that teal does not balance: the kernel's */
  TEAL_KIND_L4,        /* TCP or UDP with its ports at hand */
  TEAL_KIND_FRAGMENT,  /* part of an IPv4 or IPv6 datagram: ports only after reassembly */
  TEAL_KIND_ICMP_ERROR,/* ICMP or ICMPv6 error; the quoted packet starts at l4 + 8 */
  TEAL_KIND_BAD,       /* malformed: drop under `reason` */
};

/* Offsets are bytes from the start of the frame. */
struct teal_pkt {
  uint16_t l3;       /* of the IP header */
  uint16_t l4;       /* of the TCP, UDP, ICMP or fragment header */
  uint32_t l3_len;   /* bytes of the IP datagram, its header included; the frame may be longer (padding) */
  uint8_t kind;      /* enum teal_kind */
  uint8_t reason;    /* enum teal_drop, where kind is BAD */
  uint8_t family;    /* 4 or 6; 0 where kind is OTHER and the frame is not IP */
  uint8_t proto;     /* TEAL_PROTO_*, after extension headers */
  uint8_t tags;      /* VLAN tags in front of the IP header, 0 to 2 */
  uint8_t tcp_flags; /* TEAL_TCP_*; 0 for UDP */
  teal_be16 sport;
  teal_be16 dport;
};

TEAL_INLINE void teal_bad(struct teal_pkt *pkt, uint8_t reason) {
  pkt->kind = TEAL_KIND_BAD;
  pkt->reason = reason;
}

/* The transport header at pkt->l4. `l4_room` is the count of bytes from there to the datagram's end. */
TEAL_INLINE void teal_parse_l4(const uint8_t *data, const uint8_t *end, struct teal_pkt *pkt, uint32_t l4_room) {
  const uint8_t *p = data + pkt->l4;
  if (pkt->proto == TEAL_PROTO_TCP) {
    const struct teal_tcp *tcp = (const struct teal_tcp *)p;
    if (p + sizeof(*tcp) > end || l4_room < sizeof(*tcp)) return teal_bad(pkt, TEAL_DROP_truncated);
    uint32_t header = (uint32_t)(tcp->offset >> 4) * 4;
    if (header < sizeof(*tcp) || header > l4_room) return teal_bad(pkt, TEAL_DROP_bad_tcp_header);
    /* No stack sends SYN with FIN or RST; taken for a beginning or an end they would only confuse a flow's state. */
    if ((tcp->flags & TEAL_TCP_SYN) && (tcp->flags & (TEAL_TCP_FIN | TEAL_TCP_RST)))
      return teal_bad(pkt, TEAL_DROP_bad_tcp_flags);
    pkt->tcp_flags = tcp->flags;
    pkt->sport = tcp->sport;
    pkt->dport = tcp->dport;
    pkt->kind = TEAL_KIND_L4;
  } else if (pkt->proto == TEAL_PROTO_UDP) {
    const struct teal_udp *udp = (const struct teal_udp *)p;
    if (p + sizeof(*udp) > end || l4_room < sizeof(*udp)) return teal_bad(pkt, TEAL_DROP_truncated);
    uint32_t len = teal_swap16(udp->len);
    if (len < sizeof(*udp) || len > l4_room) return teal_bad(pkt, TEAL_DROP_bad_udp_header);
    pkt->sport = udp->sport;
    pkt->dport = udp->dport;
    pkt->kind = TEAL_KIND_L4;
  } else if ((pkt->family == 4 && pkt->proto == TEAL_PROTO_ICMP) ||
             (pkt->family == 6 && pkt->proto == TEAL_PROTO_ICMPV6)) {
    const struct teal_icmp *icmp = (const struct teal_icmp *)p;
    if (p + sizeof(*icmp) > end || l4_room < sizeof(*icmp)) return teal_bad(pkt, TEAL_DROP_truncated);
    uint8_t type = icmp->type;
    /* Errors: unreachable, source quench, time exceeded, parameter problem (RFC 792); types below 128 (RFC 4443). */
    int error = pkt->family == 4 ? type == 3 || type == 4 || type == 11 || type == 12 : type >= 1 && type <= 4;
    if (error) pkt->kind = TEAL_KIND_ICMP_ERROR;
  }
}

TEAL_INLINE void teal_parse_ipv4(const uint8_t *data, const uint8_t *end, uint32_t frame_len, struct teal_pkt *pkt) {
  const uint8_t *p = data + pkt->l3;
  const struct teal_ipv4 *ip = (const struct teal_ipv4 *)p;
  if (p + sizeof(*ip) > end) return teal_bad(pkt, TEAL_DROP_truncated);
  uint32_t header = (uint32_t)(ip->version_ihl & 0x0f) * 4;
  uint32_t total = teal_swap16(ip->total_len);
  if ((ip->version_ihl >> 4) != 4 || header < sizeof(*ip) || total < header)
    return teal_bad(pkt, TEAL_DROP_bad_ip_header);
  if (total > frame_len - pkt->l3 || p + header > end) return teal_bad(pkt, TEAL_DROP_truncated);
  pkt->l3_len = total;
  pkt->proto = ip->proto;
  pkt->l4 = (uint16_t)(pkt->l3 + header);
  uint16_t frag = teal_swap16(ip->frag);
  if (frag & (TEAL_IPV4_MF | TEAL_IPV4_OFFSET)) {
    uint32_t payload = total - header;
    uint32_t last = (uint32_t)(frag & TEAL_IPV4_OFFSET) * 8 + payload;
    /* RFC 791: every fragment but the last holds a multiple of 8; nothing may reach past 65,535. */
    if (payload == 0 || last + header > 65535 || ((frag & TEAL_IPV4_MF) && (payload & 7)))
      return teal_bad(pkt, TEAL_DROP_bad_fragment);
    pkt->kind = TEAL_KIND_FRAGMENT;
    return;
  }
  teal_parse_l4(data, end, pkt, total - header);
}

TEAL_INLINE void teal_parse_ipv6(const uint8_t *data, const uint8_t *end, uint32_t frame_len, struct teal_pkt *pkt) {
  const uint8_t *p = data + pkt->l3;
  const struct teal_ipv6 *ip = (const struct teal_ipv6 *)p;
  if (p + sizeof(*ip) > end) return teal_bad(pkt, TEAL_DROP_truncated);
  if ((*p >> 4) != 6) return teal_bad(pkt, TEAL_DROP_bad_ip_header);
  uint32_t total = (uint32_t)teal_swap16(ip->payload_len) + sizeof(*ip);
  if (total > frame_len - pkt->l3) return teal_bad(pkt, TEAL_DROP_truncated);
  pkt->l3_len = total;
  uint8_t next = ip->next;
  uint32_t at = sizeof(*ip); /* bytes from the IP header to the header that `next` names */
  for (int i = 0; i <= TEAL_MAX_EXTENSIONS; i++) {
    int skip = next == TEAL_PROTO_HOPOPTS || next == TEAL_PROTO_ROUTING || next == TEAL_PROTO_DSTOPTS ||
               next == TEAL_PROTO_AH;
    if (!skip) break;
    if (i == TEAL_MAX_EXTENSIONS) return teal_bad(pkt, TEAL_DROP_too_many_extensions);
    const uint8_t *e = p + at;
    const struct teal_ipv6_ext *ext = (const struct teal_ipv6_ext *)e;
    if (e + sizeof(*ext) > end || at + sizeof(*ext) > total) return teal_bad(pkt, TEAL_DROP_truncated);
    at += next == TEAL_PROTO_AH ? ((uint32_t)ext->len + 2) * 4 : ((uint32_t)ext->len + 1) * 8;
    if (at > total || at > 4096) return teal_bad(pkt, TEAL_DROP_truncated);
    next = ext->next;
  }
  pkt->proto = next;
  pkt->l4 = (uint16_t)(pkt->l3 + at);
  if (next == TEAL_PROTO_FRAGMENT) {
    const uint8_t *f = p + at;
    const struct teal_ipv6_frag *frag = (const struct teal_ipv6_frag *)f;
    if (f + sizeof(*frag) > end || at + sizeof(*frag) > total) return teal_bad(pkt, TEAL_DROP_truncated);
    uint16_t offset = teal_swap16(frag->offset_more);
    uint32_t payload = total - at - (uint32_t)sizeof(*frag);
    if (payload == 0 || (uint32_t)(offset & 0xfff8) + payload > 65535 || ((offset & 1) && (payload & 7)))
      return teal_bad(pkt, TEAL_DROP_bad_fragment);
    pkt->kind = TEAL_KIND_FRAGMENT;
    return;
  }
  teal_parse_l4(data, end, pkt, total - at);
}

/*
 * Parses any frame that starts at `data`. `end` is one past the last byte that may be read (the first segment of a
 * scattered frame); `frame_len` is the length of the whole frame in bytes. Fills every field of *pkt.
 */
TEAL_INLINE void teal_parse_any(const uint8_t *data, const uint8_t *end, uint32_t frame_len, struct teal_pkt *pkt) {
  pkt->l3 = sizeof(struct teal_eth);
  pkt->l4 = 0;
  pkt->l3_len = 0;
  pkt->kind = TEAL_KIND_OTHER;
  pkt->reason = 0;
  pkt->family = 0;
  pkt->proto = 0;
  pkt->tags = 0;
  pkt->tcp_flags = 0;
  pkt->sport = 0;
  pkt->dport = 0;
  const struct teal_eth *eth = (const struct teal_eth *)data;
  if (data + sizeof(*eth) > end) return teal_bad(pkt, TEAL_DROP_truncated);
  teal_be16 type = eth->type;
  for (int i = 0; i < 3; i++) {
    if (TEAL_LIKELY(type != teal_swap16(TEAL_ETH_VLAN) && type != teal_swap16(TEAL_ETH_QINQ))) break;
    if (i == 2) return teal_bad(pkt, TEAL_DROP_too_many_tags);
    const uint8_t *v = data + pkt->l3;
    if (v + sizeof(struct teal_vlan) > end) return teal_bad(pkt, TEAL_DROP_truncated);
    type = ((const struct teal_vlan *)v)->type;
    pkt->l3 = (uint16_t)(pkt->l3 + sizeof(struct teal_vlan));
    pkt->tags++;
  }
  if (type == teal_swap16(TEAL_ETH_IPV4)) {
    pkt->family = 4;
    teal_parse_ipv4(data, end, frame_len, pkt);
  } else if (type == teal_swap16(TEAL_ETH_IPV6)) {
    pkt->family = 6;
    teal_parse_ipv6(data, end, frame_len, pkt);
  }
}

/* The end of teal_parse_common(): the transport header `head` bytes behind `ip`, of which 20 bytes may be read. `total`:
 * bytes of the datagram. */
TEAL_INLINE int teal_parse_common_l4(const uint8_t *ip, const uint8_t *end, uint8_t family, uint32_t head, uint32_t total,
                                     uint8_t proto, struct teal_pkt *pkt) {
  const struct teal_tcp *tcp = (const struct teal_tcp *)(ip + head);
  if (total > (uint32_t)(end - ip)) return 0;
  if (TEAL_LIKELY(proto == TEAL_PROTO_TCP)) {
    uint32_t header = (uint32_t)(tcp->offset >> 4) * 4;
    if (header < sizeof(*tcp) || head + header > total) return 0;
    if ((tcp->flags & TEAL_TCP_SYN) && (tcp->flags & (TEAL_TCP_FIN | TEAL_TCP_RST))) return 0;
    pkt->tcp_flags = tcp->flags;
  } else {
    uint32_t len = teal_swap16(((const struct teal_udp *)tcp)->len);
    if (proto != TEAL_PROTO_UDP || len < sizeof(struct teal_udp) || head + len > total) return 0;
    pkt->tcp_flags = 0;
  }
  pkt->l3 = sizeof(struct teal_eth);
  pkt->l4 = (uint16_t)(sizeof(struct teal_eth) + head);
  pkt->l3_len = total;
  pkt->kind = TEAL_KIND_L4;
  pkt->reason = 0;
  pkt->family = family;
  pkt->proto = proto;
  pkt->tags = 0;
  pkt->sport = tcp->sport; /* TCP and UDP begin with the same two ports */
  pkt->dport = tcp->dport;
  return family;
}

/*
 * The frame that nearly all are: TCP or UDP, no tags, no options, sound, and whole between `data` and `end`. Its family: *pkt
 * is what teal_parse_any() would make of it. 0: it is another, or a bad one (or UDP of so few bytes, unpadded, that a TCP
 * header would not fit); *pkt is not filled.
 */
TEAL_INLINE int teal_parse_common(const uint8_t *data, const uint8_t *end, struct teal_pkt *pkt) {
  const struct teal_eth *eth = (const struct teal_eth *)data;
  const uint8_t *ip = data + sizeof(*eth);
  if (ip + sizeof(struct teal_ipv4) + sizeof(struct teal_tcp) > end) return 0;
  if (TEAL_LIKELY(eth->type == teal_swap16(TEAL_ETH_IPV4))) {
    const struct teal_ipv4 *v4 = (const struct teal_ipv4 *)ip;
    if (v4->version_ihl != 0x45 || (v4->frag & teal_swap16(TEAL_IPV4_MF | TEAL_IPV4_OFFSET))) return 0;
    return teal_parse_common_l4(ip, end, 4, sizeof(*v4), teal_swap16(v4->total_len), v4->proto, pkt);
  }
  const struct teal_ipv6 *v6 = (const struct teal_ipv6 *)ip;
  if (eth->type != teal_swap16(TEAL_ETH_IPV6) || ip + sizeof(*v6) + sizeof(struct teal_tcp) > end) return 0;
  if ((*ip >> 4) != 6) return 0;
  return teal_parse_common_l4(ip, end, 6, sizeof(*v6), (uint32_t)teal_swap16(v6->payload_len) + (uint32_t)sizeof(*v6),
                              v6->next, pkt);
}

/* Either of the two. */
TEAL_INLINE void teal_parse(const uint8_t *data, const uint8_t *end, uint32_t frame_len, struct teal_pkt *pkt) {
  if (TEAL_LIKELY(teal_parse_common(data, end, pkt))) return;
  teal_parse_any(data, end, frame_len, pkt);
}

#endif
