// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline.h"

#include <rte_cycles.h>
#include <rte_prefetch.h>

#include <cstring>
#include <stdexcept>

// One function, without calls: each would cost more than what it does. Other files call the same code by its plain
// name.
#define TEAL_HOT [[gnu::always_inline]] inline

namespace teal::dataplane {

Pipeline::Pipeline(const Shared& shared, Counters& counters, Sink& sink)
    : shared_(shared), counters_(counters), sink_(sink), secret_(shared_.head->secret), table_(*shared_.table) {
  // 1,024 datagrams at a time, each of at most RTE_LIBRTE_IP_FRAG_MAX_FRAG pieces, for up to a second.
  fragments_ = rte_ip_frag_table_create(1024, 4, 4096, rte_get_tsc_hz(), SOCKET_ID_ANY);
  death_row_ = static_cast<rte_ip_frag_death_row*>(std::calloc(1, sizeof(rte_ip_frag_death_row)));
  for (size_t i = 0; i < likes_.size(); i++)
    likes_[i] = {teal_under_way_like(shared_.ports[i].mac.data(), 4),
                 teal_under_way_like(shared_.ports[i].mac.data(), 6)};
  if (fragments_ == nullptr || death_row_ == nullptr) throw std::runtime_error("no memory for the reassembly table");
}

Pipeline::~Pipeline() {
  for (unsigned i = 0; i < held_count_; i++) rte_pktmbuf_free(held_[i].m);
  rte_ip_frag_free_death_row(death_row_, 0);
  rte_ip_frag_table_destroy(fragments_);
  std::free(death_row_);
}

// Stages 1 and 2 of a packet that is not under way, or of no service that it could be under way to. True when it goes
// on.
bool Pipeline::other(Item& item) {
  const uint8_t* data = item.data;
  item.whole = false;
  item.under_way = 0;
  await_table(item);
  const int family = teal_parse_common(data, data + item.m->data_len, &item.pkt);
  bool goes_on = false;
  if (TEAL_LIKELY(family == 4 && is_for_us(data))) {
    goes_on = match<4>(item, data + sizeof(teal_eth));
  } else if (family == 6 && is_for_us(data)) {
    goes_on = match<6>(item, data + sizeof(teal_eth));
  } else {
    if (family == 0) teal_parse_any(data, data + item.m->data_len, item.m->pkt_len, &item.pkt);
    goes_on = classify(item);
  }
  if (TEAL_UNLIKELY(!goes_on)) return false;
  item.steady = teal_flags_settled(item.pkt.tcp_flags);
  // What a backend sends to the host itself is no reply; its flow's cells may be another's.
  if (item.steady && !(item.dir == TEAL_TO_CLIENT && item.special && teal_in_filter(view_->local, &item.client)))
    seek_settled(item);
  if (item.pkt.tcp_flags & TEAL_TCP_SYN) beginning_[beginning_count_++] = &item;
  return true;
}

[[gnu::noinline]] bool Pipeline::classify(Item& item) {
  const uint8_t* data = rte_pktmbuf_mtod(item.m, const uint8_t*);
  if (item.pkt.kind != TEAL_KIND_L4 || !is_for_us(data)) {
    not_ordinary(item);
    return false;
  }
  return item.pkt.family == 4 ? match<4>(item, data + item.pkt.l3) : match<6>(item, data + item.pkt.l3);
}
void Pipeline::emit(Item& item, const teal_hop& hop, const teal_backend* tunnel) {
  leave(item, hop, tunnel);
}

// Stage 2 of TCP or UDP in the IP packet at `ip`. True when it is of a service and goes on; otherwise it has been dealt
// with.
template <uint8_t family>
TEAL_HOT bool Pipeline::match(Item& item, const uint8_t* ip) {
  const teal_pkt& pkt = item.pkt;
  const teal_addr dst = address_at<family>(ip, TEAL_SIDE_DST);
  const teal_addr src = address_at<family>(ip, TEAL_SIDE_SRC);
  uint64_t key = teal_match_key(&secret_, family, &dst, pkt.dport, pkt.proto, TEAL_MATCH_VIP);
  if (const uint32_t s = teal_match_find(view_->match, view_->match_mask, &secret_, key);
      s != 0 && (family == 4 || teal_addr_equal(&view_->services[s].vip, &dst))) {
    if (TEAL_UNLIKELY(teal_martian(family, &src))) {
      sink_.drop(item.m, TEAL_DROP_martian_source);
      return false;
    }
    item.service = static_cast<uint16_t>(s);
    item.dir = TEAL_TO_BACKEND;
    item.client = src;
    item.key = family == 4 ? teal_flow_key4(&secret_, src.v4, pkt.sport, item.service)
                           : teal_flow_key6(&secret_, &src, pkt.sport, item.service);
    item.first = teal_bucket_first(item.key.hash, table_.bucket_count());
    return true;
  }
  key = teal_match_key(&secret_, family, &src, pkt.sport, pkt.proto, TEAL_MATCH_ENDPOINT);
  const uint32_t e = teal_match_find(view_->match, view_->match_mask, &secret_, key);
  // A bare SYN out of a service's port opens a connection of the backend's own; it answers nobody.
  const bool opens = pkt.proto == TEAL_PROTO_TCP && (pkt.tcp_flags & (TEAL_TCP_SYN | TEAL_TCP_ACK)) == TEAL_TCP_SYN;
  if (e == 0 || opens || (family == 6 && !teal_addr_equal(&view_->endpoints[e].addr, &src))) {
    kernel(item.m, pkt);
    return false;
  }
  item.dir = TEAL_TO_CLIENT;
  item.endpoint = e;
  item.client = dst;
  item.hairpin = TEAL_UNLIKELY(in_hairpin_net(family, dst)) && hairpin_client(family, dst, &item.client);
  item.special = item.hairpin || teal_in_filter(view_->special, &dst);
  const teal_endpoint_ref& ref = view_->refs[view_->endpoints[e].first];
  item.service = ref.service;
  item.backend = ref.backend;
  item.key = family == 4 ? teal_flow_key4(&secret_, item.client.v4, pkt.dport, item.service)
                         : teal_flow_key6(&secret_, &item.client, pkt.dport, item.service);
  item.first = teal_bucket_first(item.key.hash, table_.bucket_count());
  return true;
}

// What is malformed, not for this host's ears, or nothing that a service begins with.
[[gnu::noinline]] void Pipeline::not_ordinary(Item& item) {
  const teal_pkt& pkt = item.pkt;
  const uint8_t* data = rte_pktmbuf_mtod(item.m, const uint8_t*);
  if (pkt.kind == TEAL_KIND_BAD) return sink_.drop(item.m, static_cast<enum teal_drop>(pkt.reason));
  if (!is_for_us(data)) {
    // broadcast and multicast: ARP, ND, routing protocols
    if (data[0] & 1) return kernel(item.m, pkt);
    return sink_.drop(item.m, TEAL_DROP_not_our_mac);
  }
  if (pkt.kind == TEAL_KIND_FRAGMENT) return fragment(item);
  if (pkt.kind == TEAL_KIND_ICMP_ERROR) return icmp_error(item);
  kernel(item.m, pkt);
}

// Stages 3 to 5 of one packet.
void Pipeline::balance(Item& item) {
  if (TEAL_UNLIKELY(item.direct == 0)) return consider(item);
  const teal_service& service = view_->services[item.service];
  if (TEAL_LIKELY(item.dir == TEAL_TO_BACKEND)) {
    counters_.event[TEAL_EV_settled] += item.decided != nullptr;
    return rewrite(item, service, item.direct);
  }
  const teal_hop& hop = client_hop(item);
  if (TEAL_UNLIKELY(hop.state != TEAL_HOP_READY)) return unready(item, hop, item.pkt.family, item.client);
  counters_.event[TEAL_EV_settled] += item.decided != nullptr;
  reply(item, service, hop);
}

// Rewrites to backend `number` and sends.
void Pipeline::rewrite(Item& item, const teal_service& service, uint16_t number) {
  const teal_backend& backend = view_->backends[number];
  const teal_hop& hop = backend.hop;
  if (TEAL_UNLIKELY(hop.state != TEAL_HOP_READY)) return unready(item, hop, backend.family, backend.addr);
  const bool tunnel = service.forward == TEAL_FORWARD_ipip;
  const uint32_t limit = hop.mtu - (tunnel ? teal_tunnel_len(backend.family) : 0);
  uint8_t* data = rte_pktmbuf_mtod(item.m, uint8_t*);
  if (TEAL_UNLIKELY(item.pkt.l3_len > limit) && !item.whole) {
    const bool may_split =
        item.pkt.family == 4 && !(reinterpret_cast<teal_ipv4*>(data + item.pkt.l3)->frag & teal_swap16(TEAL_IPV4_DF));
    if (!may_split) return too_big(item, limit);
  }
  if (TEAL_LIKELY(service.forward == TEAL_FORWARD_nat)) {
    if (!teal_nat_hop(data + item.pkt.l3, data + item.pkt.l4, item.pkt.family, item.pkt.proto, TEAL_SIDE_DST,
                      &backend.addr, backend.port, backend.sums))
      return sink_.drop(item.m, TEAL_DROP_ttl_expired);
    teal_addr seen;
    if (TEAL_UNLIKELY(teal_in_filter(view_->special, &item.client)) &&
        hairpin_seen(item.pkt.family, item.client, &seen)) {
      teal_nat_address(data + item.pkt.l3, data + item.pkt.l4, item.pkt.family, item.pkt.proto, TEAL_SIDE_SRC, &seen);
      counters_.event[TEAL_EV_hairpin]++;
    }
  } else if (tunnel && !teal_hop_down(data + item.pkt.l3, item.pkt.family)) {
    return sink_.drop(item.m, TEAL_DROP_ttl_expired);
  }
  clamp(item, service, data, data + item.m->data_len);
  BackendCounters& bc = counters_.backend[number];
  bc.packets++;
  bc.bytes += item.m->pkt_len;
  counters_.event[TEAL_EV_forwarded]++;
  leave(item, hop, tunnel ? &backend : nullptr);
}

// Rewrites a backend's reply and sends it to its client.
void Pipeline::reply(Item& item, const teal_service& service, const teal_hop& hop) {
  uint8_t* data = rte_pktmbuf_mtod(item.m, uint8_t*);
  if (TEAL_UNLIKELY(item.pkt.l3_len > hop.mtu) && !item.whole) {
    const bool may_split =
        item.pkt.family == 4 && !(reinterpret_cast<teal_ipv4*>(data + item.pkt.l3)->frag & teal_swap16(TEAL_IPV4_DF));
    if (!may_split) return too_big(item, hop.mtu);
  }
  if (!teal_hop_down(data + item.pkt.l3, item.pkt.family)) return sink_.drop(item.m, TEAL_DROP_ttl_expired);
  clamp(item, service, data, data + item.m->data_len);
  teal_nat(data + item.pkt.l3, data + item.pkt.l4, item.pkt.family, item.pkt.proto, TEAL_SIDE_SRC, &service.vip,
           service.port);
  if (TEAL_UNLIKELY(item.hairpin))
    teal_nat_address(data + item.pkt.l3, data + item.pkt.l4, item.pkt.family, item.pkt.proto, TEAL_SIDE_DST,
                     &item.client);
  counters_.event[TEAL_EV_replies]++;
  leave(item, hop, nullptr);
}

// The last step: tunnel header, Ethernet header, port.
TEAL_HOT void Pipeline::leave(Item& item, const teal_hop& hop, const teal_backend* tunnel) {
  const uint32_t limit = hop.mtu - (tunnel != nullptr ? teal_tunnel_len(tunnel->family) : 0);
  if (TEAL_UNLIKELY(item.pkt.l3_len > limit)) return emit_fragments(item, hop, tunnel, limit);
  if (tunnel != nullptr) {
    // Ethernet padding must not travel inside the tunnel.
    cut_to(item.m, item.pkt.l3 + item.pkt.l3_len);
    return encapsulate(item.m, item.pkt.l3, item.pkt.family, hop, *tunnel);
  }
  if (TEAL_UNLIKELY(teal_eth_len(&hop) != item.pkt.l3))
    return send_frame(item.m, item.pkt.l3, item.pkt.family, hop, nullptr);
  teal_write_macs(rte_pktmbuf_mtod(item.m, uint8_t*), &hop);  // the EtherType stands where it should
  item.m->ol_flags = 0;
  sink_.send(hop.port, item.m);
}

// Puts a tunnel's header in front of the IP packet that begins `l3` bytes into m, and sends it.
TEAL_HOT void Pipeline::encapsulate(rte_mbuf* m, uint16_t l3, uint8_t family, const teal_hop& hop,
                                    const teal_backend& to) {
  const uint32_t eth_len = teal_eth_len(&hop), outer_len = teal_tunnel_len(to.family);
  const uint32_t inner_len = m->pkt_len - l3;
  // Longer than what stands before the packet, whatever tags that has.
  char* frame = rte_pktmbuf_prepend(m, static_cast<uint16_t>(eth_len + outer_len - l3));
  if (TEAL_UNLIKELY(frame == nullptr)) return sink_.drop(m, TEAL_DROP_no_room);
  auto* outer = reinterpret_cast<uint8_t*>(frame) + eth_len;
  teal_write_tunnel(outer, &to, family, teal_traffic_class(outer + outer_len, family), inner_len);
  teal_write_eth(reinterpret_cast<uint8_t*>(frame), &hop, to.family == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6);
  m->ol_flags = 0;
  sink_.send(hop.port, m);
}

// Sends the IP packet that begins `l3` bytes into m.
void Pipeline::send_frame(rte_mbuf* m, uint16_t l3, uint8_t family, const teal_hop& hop, const teal_backend* tunnel) {
  if (tunnel != nullptr) return encapsulate(m, l3, family, hop, *tunnel);
  const uint32_t front = teal_eth_len(&hop);
  if (front > l3) {
    if (rte_pktmbuf_prepend(m, static_cast<uint16_t>(front - l3)) == nullptr) return sink_.drop(m, TEAL_DROP_no_room);
  } else if (front < l3) {
    rte_pktmbuf_adj(m, static_cast<uint16_t>(l3 - front));
  }
  teal_write_eth(rte_pktmbuf_mtod(m, uint8_t*), &hop, family == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6);
  m->ol_flags = 0;
  sink_.send(hop.port, m);
}

}  // namespace teal::dataplane
