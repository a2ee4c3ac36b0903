/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Wire formats, as they stand on the wire; every multi-byte field is in network byte order. Ours, because the
 * kernel's and DPDK's definitions clash when one file needs both.
 */
#ifndef TEAL_NET_H
#define TEAL_NET_H

#include "teal/types.h"

#define TEAL_ETH_IPV4 0x0800
#define TEAL_ETH_ARP 0x0806
#define TEAL_ETH_IPV6 0x86dd
#define TEAL_ETH_VLAN 0x8100 /* IEEE 802.1Q */
#define TEAL_ETH_QINQ 0x88a8 /* IEEE 802.1ad */

#define TEAL_PROTO_HOPOPTS 0
#define TEAL_PROTO_ICMP 1
#define TEAL_PROTO_IPIP 4
#define TEAL_PROTO_TCP 6
#define TEAL_PROTO_UDP 17
#define TEAL_PROTO_IPV6 41
#define TEAL_PROTO_ROUTING 43
#define TEAL_PROTO_FRAGMENT 44
#define TEAL_PROTO_AH 51
#define TEAL_PROTO_ICMPV6 58
#define TEAL_PROTO_NONE 59
#define TEAL_PROTO_DSTOPTS 60

#define TEAL_TCP_FIN 0x01
#define TEAL_TCP_SYN 0x02
#define TEAL_TCP_RST 0x04
#define TEAL_TCP_PSH 0x08
#define TEAL_TCP_ACK 0x10

#define TEAL_IPV4_DF 0x4000
#define TEAL_IPV4_MF 0x2000
#define TEAL_IPV4_OFFSET 0x1fff

struct teal_eth {
  uint8_t dst[6];
  uint8_t src[6];
  teal_be16 type;
} TEAL_PACKED;

struct teal_vlan {
  teal_be16 tci; /* PCP 3 | DEI 1 | VID 12 */
  teal_be16 type;
} TEAL_PACKED;

struct teal_ipv4 { /* RFC 791 */
  uint8_t version_ihl;
  uint8_t tos;
  teal_be16 total_len;
  teal_be16 id;
  teal_be16 frag;
  uint8_t ttl;
  uint8_t proto;
  uint16_t csum;
  teal_be32 src;
  teal_be32 dst;
} TEAL_PACKED;

struct teal_ipv6 { /* RFC 8200 */
  teal_be32 version_class_label;
  teal_be16 payload_len;
  uint8_t next;
  uint8_t hop_limit;
  uint8_t src[16];
  uint8_t dst[16];
} TEAL_PACKED;

struct teal_ipv6_ext { /* the common head of hop-by-hop, routing and destination options; len in 8 octets, not counting the first */
  uint8_t next;
  uint8_t len;
} TEAL_PACKED;

struct teal_ipv6_frag {
  uint8_t next;
  uint8_t reserved;
  teal_be16 offset_more;
  teal_be32 id;
} TEAL_PACKED;

struct teal_tcp { /* RFC 9293 */
  teal_be16 sport;
  teal_be16 dport;
  teal_be32 seq;
  teal_be32 ack;
  uint8_t offset; /* header length in 4-byte words, in the high nibble */
  uint8_t flags;
  teal_be16 window;
  uint16_t csum;
  teal_be16 urgent;
} TEAL_PACKED;

struct teal_udp { /* RFC 768 */
  teal_be16 sport;
  teal_be16 dport;
  teal_be16 len;
  uint16_t csum; /* 0: the sender made none (IPv4 only) */
} TEAL_PACKED;

struct teal_icmp { /* RFC 792, RFC 4443 */
  uint8_t type;
  uint8_t code;
  uint16_t csum;
  teal_be32 rest;
} TEAL_PACKED;

TEAL_STATIC_ASSERT(sizeof(struct teal_eth) == 14, "Ethernet header");
TEAL_STATIC_ASSERT(sizeof(struct teal_ipv4) == 20, "IPv4 header");
TEAL_STATIC_ASSERT(sizeof(struct teal_ipv6) == 40, "IPv6 header");
TEAL_STATIC_ASSERT(sizeof(struct teal_tcp) == 20, "TCP header");
TEAL_STATIC_ASSERT(sizeof(struct teal_udp) == 8, "UDP header");

/* An address of either family in 16 bytes. IPv4 is held in the first four, the rest zero; the family stands beside it. */
struct teal_addr {
  union {
    uint8_t bytes[16];
    uint32_t words[4];
    uint64_t halves[2];
    teal_be32 v4;
  };
};

/* One half of an address, its first word in the upper bits: what hashes are made of. */
TEAL_INLINE uint64_t teal_addr_half(const struct teal_addr *a, int which) {
  return a->halves[which] << 32 | a->halves[which] >> 32;
}

#endif
