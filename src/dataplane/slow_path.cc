// SPDX-License-Identifier: Apache-2.0
// What needs more than one look: ICMP errors that quote a packet of ours, and fragments.
#include <rte_ip.h>

#include <cstring>

#include "dataplane/pipeline.h"

namespace teal::dataplane {

// Either an error from the client's side about what a backend sent (quoted source: the VIP), which belongs to the
// flow's backend; or, in NAT, one from the backend's side about what a client sent (quoted destination: the backend).
void Pipeline::icmp_error(Item& item) {
  uint8_t* data = rte_pktmbuf_mtod(item.m, uint8_t*);
  teal_quote q;
  const int parsed = teal_parse_quote(data, data + item.m->data_len, &item.pkt, &q);
  const teal_addr dst = address_of(data, item.pkt, TEAL_SIDE_DST);
  if (parsed < 0) {
    if (!concerns_us(item)) return kernel(item.m, item.pkt);
    return sink_.drop(item.m, TEAL_DROP_bad_icmp_quote);
  }
  if (parsed == 0) return kernel(item.m, item.pkt);
  const uint8_t family = item.pkt.family;
  const auto key_of = [&](const teal_addr& client, teal_be16 port, uint16_t service) {
    return family == 4 ? teal_flow_key4(&secret_, client.v4, port, service)
                       : teal_flow_key6(&secret_, &client, port, service);
  };

  uint64_t key = teal_match_key(&secret_, family, &q.src, q.sport, q.proto, TEAL_MATCH_VIP);
  if (const uint32_t s = teal_match_find(view_->match, view_->match_mask, &secret_, key);
      s != 0 && teal_addr_equal(&view_->services[s].vip, &q.src)) {
    if (!teal_addr_equal(&q.src, &dst)) return kernel(item.m, item.pkt);
    const teal_service& service = view_->services[s];
    uint64_t val = 0;
    if (table_.find(key_of(q.dst, q.dport, static_cast<uint16_t>(s)), &val) == nullptr)
      return sink_.drop(item.m, TEAL_DROP_icmp_unmatched);
    const teal_backend& backend = view_->backends[teal_val_backend(val)];
    if (backend.hop.state != TEAL_HOP_READY) return sink_.drop(item.m, TEAL_DROP_no_neighbour);
    if (service.forward != TEAL_FORWARD_l2dsr && !teal_hop_down(data + item.pkt.l3, item.pkt.family))
      return sink_.drop(item.m, TEAL_DROP_ttl_expired);
    if (service.forward == TEAL_FORWARD_nat) {
      teal_nat_quote(data, &item.pkt, &q, TEAL_SIDE_SRC, &backend.addr, backend.port, TEAL_SIDE_DST, &backend.addr);
      // The backend knows a hairpin client by another address.
      if (teal_addr seen; hairpin_seen(family, q.dst, &seen))
        teal_nat_quote(data, &item.pkt, &q, TEAL_SIDE_DST, &seen, q.dport, TEAL_SIDE_SRC, &seen);
    }
    counters_.event[TEAL_EV_icmp_errors]++;
    return emit(item, backend.hop, service.forward == TEAL_FORWARD_ipip ? &backend : nullptr);
  }

  key = teal_match_key(&secret_, family, &q.dst, q.dport, q.proto, TEAL_MATCH_ENDPOINT);
  const uint32_t e = teal_match_find(view_->match, view_->match_mask, &secret_, key);
  if (e == 0 || !teal_addr_equal(&view_->endpoints[e].addr, &q.dst)) return kernel(item.m, item.pkt);
  const teal_endpoint& endpoint = view_->endpoints[e];
  teal_addr client = q.src;
  const bool hairpin = hairpin_client(family, q.src, &client);
  for (uint32_t i = 0; i < endpoint.count; i++) {
    const teal_endpoint_ref& ref = view_->refs[endpoint.first + i];
    uint64_t val = 0;
    if (table_.find(key_of(client, q.sport, ref.service), &val) == nullptr || teal_val_backend(val) != ref.backend)
      continue;
    const teal_service& service = view_->services[ref.service];
    const teal_hop& hop = client_hop(family, client, true);
    if (hop.state != TEAL_HOP_READY)
      return sink_.drop(item.m, hop.state == TEAL_HOP_NO_ROUTE ? TEAL_DROP_no_route : TEAL_DROP_no_neighbour);
    if (!teal_hop_down(data + item.pkt.l3, item.pkt.family)) return sink_.drop(item.m, TEAL_DROP_ttl_expired);
    teal_nat_quote(data, &item.pkt, &q, TEAL_SIDE_DST, &service.vip, service.port, TEAL_SIDE_SRC, &service.vip);
    if (hairpin) teal_nat_quote(data, &item.pkt, &q, TEAL_SIDE_SRC, &client, q.sport, TEAL_SIDE_DST, &client);
    counters_.event[TEAL_EV_icmp_errors]++;
    return emit(item, hop, nullptr);
  }
  kernel(item.m, item.pkt);
}

// Whether source or destination address are a service's business, whatever the ports.
bool Pipeline::concerns_us(const Item& item) const {
  const uint8_t* data = rte_pktmbuf_mtod(item.m, const uint8_t*);
  const teal_addr dst = address_of(data, item.pkt, TEAL_SIDE_DST);
  uint64_t key = teal_match_key(&secret_, item.pkt.family, &dst, 0, 0, TEAL_MATCH_VIP_ADDRESS);
  if (teal_match_find(view_->match, view_->match_mask, &secret_, key) != 0) return true;
  const teal_addr src = address_of(data, item.pkt, TEAL_SIDE_SRC);
  key = teal_match_key(&secret_, item.pkt.family, &src, 0, 0, TEAL_MATCH_BACKEND_ADDRESS);
  return teal_match_find(view_->match, view_->match_mask, &secret_, key) != 0;
}

// Fragments of services' datagrams are put together (rte_ip_frag), so that all go where the first one goes, in whatever
// order they come; the whole takes the ordinary way and leaves in fragments again.
void Pipeline::fragment(Item& item) {
  if (!concerns_us(item)) return kernel(item.m, item.pkt);
  counters_.event[TEAL_EV_fragments]++;
  rte_mbuf* m = item.m;
  cut_to(m, item.pkt.l3 + item.pkt.l3_len);
  uint8_t* data = rte_pktmbuf_mtod(m, uint8_t*);
  m->l2_len = item.pkt.l3;
  rte_mbuf* whole = nullptr;
  if (item.pkt.family == 4) {
    m->l3_len = static_cast<uint64_t>(item.pkt.l4 - item.pkt.l3) & 0x1ff;
    whole = rte_ipv4_frag_reassemble_packet(fragments_, death_row_, m, tsc_,
                                            reinterpret_cast<rte_ipv4_hdr*>(data + item.pkt.l3));
  } else {
    // Extension headers in front of the fragment header are not what the library expects, nor what anybody sends.
    if (item.pkt.l4 != item.pkt.l3 + 40) return sink_.drop(m, TEAL_DROP_bad_fragment);
    m->l3_len = 48;
    whole = rte_ipv6_frag_reassemble_packet(fragments_, death_row_, m, tsc_,
                                            reinterpret_cast<rte_ipv6_hdr*>(data + item.pkt.l3),
                                            reinterpret_cast<rte_ipv6_fragment_ext*>(data + item.pkt.l4));
  }
  counters_.drop[TEAL_DROP_bad_fragment] += death_row_->cnt;
  rte_ip_frag_free_death_row(death_row_, 0);
  if (whole == nullptr) return;
  counters_.event[TEAL_EV_reassembled]++;
  whole->ol_flags = 0;
  data = rte_pktmbuf_mtod(whole, uint8_t*);
  if (item.pkt.family == 4) {
    auto* ip = reinterpret_cast<teal_ipv4*>(data + item.pkt.l3);
    const uint32_t head = (ip->version_ihl & 15u) * 4;
    uint64_t sum = 0;
    ip->csum = 0;
    for (uint32_t i = 0; i < head; i += 2) {
      uint16_t w;
      std::memcpy(&w, data + item.pkt.l3 + i, 2);
      sum += w;
    }
    ip->csum = static_cast<uint16_t>(~teal_csum_fold(sum));
  }
  Item out;
  out.m = whole;
  out.whole = true;
  out.under_way = 0;
  out.steady = false;
  out.decided = nullptr;
  out.direct = 0;
  teal_parse(data, data + whole->data_len, whole->pkt_len, &out.pkt);
  if (out.pkt.kind == TEAL_KIND_FRAGMENT || out.pkt.kind == TEAL_KIND_ICMP_ERROR)
    return sink_.drop(whole, TEAL_DROP_bad_fragment);
  if (out.pkt.kind == TEAL_KIND_OTHER) return kernel(whole, out.pkt);
  if (classify(out)) balance(out);
}

// Leaves the first `length` bytes of a packet, which has so many: what Ethernet padded is no part of it, in however
// many buffers that lies. (rte_pktmbuf_trim() cuts the last one only.)
void Pipeline::cut_to(rte_mbuf* m, uint32_t length) {
  if (TEAL_LIKELY(m->pkt_len == length)) return;
  rte_mbuf* last = m;
  uint32_t left = length;
  uint16_t buffers = 1;
  for (; left > last->data_len; last = last->next, buffers++) left -= last->data_len;
  last->data_len = static_cast<uint16_t>(left);
  rte_pktmbuf_free(last->next);
  last->next = nullptr;
  m->nb_segs = buffers;
  m->pkt_len = length;
}

// Cuts an IP packet that has been rewritten already to `limit` bytes a piece and sends each (through the tunnel).
void Pipeline::emit_fragments(Item& item, const teal_hop& hop, const teal_backend* tunnel, uint32_t limit) {
  rte_mbuf* m = item.m;
  cut_to(m, item.pkt.l3 + item.pkt.l3_len);
  rte_pktmbuf_adj(m, item.pkt.l3);
  rte_mbuf* pieces[64];
  int n;
  if (item.pkt.family == 4) {
    auto* ip = rte_pktmbuf_mtod(m, teal_ipv4*);
    ip->frag &= static_cast<uint16_t>(~teal_swap16(TEAL_IPV4_DF));
    n = rte_ipv4_fragment_packet(m, pieces, 64, static_cast<uint16_t>(limit), shared_.pools.direct,
                                 shared_.pools.indirect);
  } else {
    n = rte_ipv6_fragment_packet(m, pieces, 64, static_cast<uint16_t>(limit & ~7u), shared_.pools.direct,
                                 shared_.pools.indirect);
  }
  if (n < 0) return sink_.drop(m, TEAL_DROP_no_room);
  const uint32_t id = static_cast<uint32_t>(tsc_) ^ fragment_id_++;
  for (int i = 0; i < n; i++) {
    if (item.pkt.family == 4) {
      auto* ip = rte_pktmbuf_mtod(pieces[i], teal_ipv4*);
      const uint32_t head = (ip->version_ihl & 15u) * 4;
      uint64_t sum = 0;
      ip->csum = 0;
      for (uint32_t w = 0; w < head; w += 2) {
        uint16_t word;
        std::memcpy(&word, reinterpret_cast<uint8_t*>(ip) + w, 2);
        sum += word;
      }
      ip->csum = static_cast<uint16_t>(~teal_csum_fold(sum));
    } else {
      // The library leaves the identification 0; fragments of two datagrams must not be taken for one's.
      auto* frag = rte_pktmbuf_mtod_offset(pieces[i], teal_ipv6_frag*, 40);
      frag->id = id;
    }
    send_frame(pieces[i], 0, item.pkt.family, hop, tunnel);
  }
  rte_pktmbuf_free(m);
}

}  // namespace teal::dataplane
