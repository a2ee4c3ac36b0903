// SPDX-License-Identifier: Apache-2.0
// Packets of teal's own making: "too big" to the sender, and RST to both ends of a flow that the operator reset. They
// leave by the way their cause came: its Ethernet addresses swapped, its tags kept.
#include <rte_cycles.h>

#include <algorithm>
#include <cstring>

#include "dataplane/pipeline.h"

namespace teal::dataplane {
namespace {

uint64_t sum_words(const uint8_t* p, uint32_t len) {
  uint64_t sum = 0;
  for (; len >= 2; p += 2, len -= 2) {
    uint16_t w;
    std::memcpy(&w, p, 2);
    sum += w;
  }
  if (len) sum += *p;
  return sum;
}

// Sum of the pseudo header of a TCP segment or ICMPv6 message of `len` bytes.
uint64_t pseudo(const uint8_t* ip, uint8_t family, uint8_t proto, uint32_t len) {
  const uint64_t addresses = family == 4 ? sum_words(ip + 12, 8) : sum_words(ip + 8, 32);
  return addresses + teal_swap16(proto) + teal_swap16(static_cast<uint16_t>(len));
}

}  // namespace

// Sends `m` (an IP packet behind room for the cause's link header, which is copied with the addresses swapped).
void Pipeline::bounce(rte_mbuf* m, const Item& item) {
  const uint8_t* from = rte_pktmbuf_mtod(item.m, const uint8_t*);
  uint8_t* to = rte_pktmbuf_mtod(m, uint8_t*);
  std::memcpy(to, from, item.pkt.l3);
  std::memcpy(to, from + 6, 6);
  std::memcpy(to + 6, from, 6);
  sink_.send(port_, m);
}

// ICMP Fragmentation Needed (RFC 792, RFC 1191) or ICMPv6 Packet Too Big (RFC 4443), from the address that the packet
// was sent to. At most 1,000 a second a worker.
void Pipeline::too_big(Item& item, uint32_t mtu) {
  const uint64_t hz = rte_get_tsc_hz();
  if (tsc_ - icmp_refill_tsc_ >= hz / 100) {
    icmp_refill_tsc_ = tsc_;
    icmp_tokens_ = std::min<uint64_t>(icmp_tokens_ + 10, 50);
  }
  const uint8_t* data = rte_pktmbuf_mtod(item.m, const uint8_t*);
  const uint8_t* cause = data + item.pkt.l3;
  const bool v4 = item.pkt.family == 4;
  rte_mbuf* m = icmp_tokens_ == 0 ? nullptr : rte_pktmbuf_alloc(shared_.pools.direct);
  if (m == nullptr) {
    counters_.event[TEAL_EV_icmp_suppressed]++;
    return sink_.drop(item.m, TEAL_DROP_too_big);
  }
  icmp_tokens_--;
  // RFC 1812: as much as fits in 576 bytes; RFC 4443: in 1,280.
  const uint32_t head = v4 ? 20 : 40;
  const uint32_t have = item.m->data_len - item.pkt.l3;
  const uint32_t quote = std::min({have, item.pkt.l3_len, (v4 ? 576u : 1280u) - head - 8});
  auto* frame =
      reinterpret_cast<uint8_t*>(rte_pktmbuf_append(m, static_cast<uint16_t>(item.pkt.l3 + head + 8 + quote)));
  if (frame == nullptr) {
    rte_pktmbuf_free(m);
    return sink_.drop(item.m, TEAL_DROP_no_room);
  }
  uint8_t* ip = frame + item.pkt.l3;
  uint8_t* icmp = ip + head;
  std::memcpy(icmp + 8, cause, quote);
  std::memset(icmp, 0, 8);
  if (v4) {
    teal_ipv4 h{};
    const auto* in = reinterpret_cast<const teal_ipv4*>(cause);
    h.version_ihl = 0x45;
    h.total_len = teal_swap16(static_cast<uint16_t>(head + 8 + quote));
    h.ttl = 64;
    h.proto = TEAL_PROTO_ICMP;
    h.src = in->dst;
    h.dst = in->src;
    h.csum = teal_csum_ipv4(&h);
    std::memcpy(ip, &h, sizeof(h));
    icmp[0] = 3;
    icmp[1] = 4;
    const uint16_t be_mtu = teal_swap16(static_cast<uint16_t>(mtu));
    std::memcpy(icmp + 6, &be_mtu, 2);
    const uint16_t csum = static_cast<uint16_t>(~teal_csum_fold(sum_words(icmp, 8 + quote)));
    std::memcpy(icmp + 2, &csum, 2);
  } else {
    teal_ipv6 h{};
    const auto* in = reinterpret_cast<const teal_ipv6*>(cause);
    h.version_class_label = teal_swap32(6u << 28);
    h.payload_len = teal_swap16(static_cast<uint16_t>(8 + quote));
    h.next = TEAL_PROTO_ICMPV6;
    h.hop_limit = 64;
    std::memcpy(h.src, in->dst, 16);
    std::memcpy(h.dst, in->src, 16);
    std::memcpy(ip, &h, sizeof(h));
    icmp[0] = 2;
    const uint32_t be_mtu = teal_swap32(mtu);
    std::memcpy(icmp + 4, &be_mtu, 4);
    const uint64_t sum = pseudo(ip, 6, TEAL_PROTO_ICMPV6, 8 + quote) + sum_words(icmp, 8 + quote);
    const uint16_t csum = static_cast<uint16_t>(~teal_csum_fold(sum));
    std::memcpy(icmp + 2, &csum, 2);
  }
  bounce(m, item);
  counters_.event[TEAL_EV_icmp_sent]++;
  sink_.drop(item.m, TEAL_DROP_too_big);
}

// Answers a packet of a reset flow: its sender gets a RST as from the other end, the other end one as from the sender,
// each with the sequence number that its receiver expects next (RFC 9293, section 3.10.7.1; RFC 5961).
void Pipeline::reset_both(Item& item, const teal_service& service, uint16_t backend) {
  uint8_t* data = rte_pktmbuf_mtod(item.m, uint8_t*);
  auto* tcp = reinterpret_cast<teal_tcp*>(data + item.pkt.l4);
  if (item.pkt.tcp_flags & TEAL_TCP_RST) return sink_.drop(item.m, TEAL_DROP_reset_flow);
  const uint32_t head = item.pkt.family == 4 ? 20 : 40;

  if (rte_mbuf* m = rte_pktmbuf_alloc(shared_.pools.direct); m != nullptr) {
    auto* frame = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(m, static_cast<uint16_t>(item.pkt.l3 + head + 20)));
    uint8_t* ip = frame + item.pkt.l3;
    if (item.pkt.family == 4) {
      const auto* in = reinterpret_cast<const teal_ipv4*>(data + item.pkt.l3);
      teal_ipv4 h{};
      h.version_ihl = 0x45;
      h.total_len = teal_swap16(40);
      h.frag = teal_swap16(TEAL_IPV4_DF);
      h.ttl = 64;
      h.proto = TEAL_PROTO_TCP;
      h.src = in->dst;
      h.dst = in->src;
      h.csum = teal_csum_ipv4(&h);
      std::memcpy(ip, &h, sizeof(h));
    } else {
      const auto* in = reinterpret_cast<const teal_ipv6*>(data + item.pkt.l3);
      teal_ipv6 h{};
      h.version_class_label = teal_swap32(6u << 28);
      h.payload_len = teal_swap16(20);
      h.next = TEAL_PROTO_TCP;
      h.hop_limit = 64;
      std::memcpy(h.src, in->dst, 16);
      std::memcpy(h.dst, in->src, 16);
      std::memcpy(ip, &h, sizeof(h));
    }
    teal_tcp rst{};
    rst.sport = tcp->dport;
    rst.dport = tcp->sport;
    rst.offset = 5 << 4;
    rst.flags = TEAL_TCP_RST;
    if (item.pkt.tcp_flags & TEAL_TCP_ACK) {
      rst.seq = tcp->ack;
    } else {
      const uint32_t payload = item.pkt.l3_len - (item.pkt.l4 - item.pkt.l3) - (tcp->offset >> 4) * 4u;
      const uint32_t more =
          (item.pkt.tcp_flags & TEAL_TCP_SYN ? 1u : 0u) + (item.pkt.tcp_flags & TEAL_TCP_FIN ? 1u : 0u);
      rst.ack = teal_swap32(teal_swap32(tcp->seq) + payload + more);
      rst.flags |= TEAL_TCP_ACK;
    }
    uint8_t* at = ip + head;
    std::memcpy(at, &rst, sizeof(rst));
    const uint16_t csum =
        static_cast<uint16_t>(~teal_csum_fold(pseudo(ip, item.pkt.family, TEAL_PROTO_TCP, 20) + sum_words(at, 20)));
    std::memcpy(at + 16, &csum, 2);
    bounce(m, item);
    counters_.event[TEAL_EV_rst_sent]++;
  }

  // The packet itself becomes the other RST: no options, no payload, and then the ordinary rewrite.
  const uint32_t l4_at = static_cast<uint32_t>(item.pkt.l4 - item.pkt.l3);
  const uint32_t length = l4_at + 20;
  if (item.m->nb_segs > 1) return sink_.drop(item.m, TEAL_DROP_reset_flow);
  rte_pktmbuf_trim(item.m, static_cast<uint16_t>(item.m->pkt_len - item.pkt.l3 - length));
  item.pkt.l3_len = length;
  if (item.pkt.family == 4) {
    auto* ip = reinterpret_cast<teal_ipv4*>(data + item.pkt.l3);
    const uint16_t from = ip->total_len;
    ip->total_len = teal_swap16(static_cast<uint16_t>(length));
    ip->csum = teal_csum_apply(ip->csum, teal_csum_diff16(from, ip->total_len));
  } else {
    reinterpret_cast<teal_ipv6*>(data + item.pkt.l3)->payload_len = teal_swap16(static_cast<uint16_t>(length - 40));
  }
  tcp->offset = 5 << 4;
  tcp->flags = TEAL_TCP_RST;
  tcp->ack = 0;
  tcp->window = 0;
  tcp->urgent = 0;
  tcp->csum = 0;
  tcp->csum = static_cast<uint16_t>(~teal_csum_fold(pseudo(data + item.pkt.l3, item.pkt.family, TEAL_PROTO_TCP, 20) +
                                                    sum_words(data + item.pkt.l4, 20)));
  item.pkt.tcp_flags = TEAL_TCP_RST;
  counters_.drop[TEAL_DROP_reset_flow]++;
  counters_.event[TEAL_EV_rst_sent]++;
  if (item.dir == TEAL_TO_BACKEND) return forward(item, service, backend);
  const teal_hop& hop = client_hop(item);
  if (hop.state != TEAL_HOP_READY || !teal_hop_down(data + item.pkt.l3, item.pkt.family))
    return rte_pktmbuf_free(item.m);
  teal_nat(data + item.pkt.l3, data + item.pkt.l4, item.pkt.family, item.pkt.proto, TEAL_SIDE_SRC, &service.vip,
           service.port);
  const teal_addr seen = address_of(data, item.pkt, TEAL_SIDE_DST);
  if (!teal_addr_equal(&seen, &item.client))
    teal_nat_address(data + item.pkt.l3, data + item.pkt.l4, item.pkt.family, item.pkt.proto, TEAL_SIDE_DST,
                     &item.client);
  emit(item, hop, nullptr);
}

}  // namespace teal::dataplane
