// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline.h"

#include <rte_cycles.h>
#include <rte_prefetch.h>

#include <cstring>
#include <stdexcept>

// The ordinary way is one loop without calls: each would cost more than what it does. Other files call the same code by
// its plain name.
#define TEAL_HOT [[gnu::always_inline]] inline

namespace teal::dataplane {

Pipeline::Pipeline(const Shared& shared, Counters& counters, Sink& sink)
    : shared_(shared), counters_(counters), sink_(sink), secret_(&shared_.head->secret), table_(*shared_.table) {
  // 1,024 datagrams at a time, each of at most RTE_LIBRTE_IP_FRAG_MAX_FRAG pieces, for up to a second.
  fragments_ = rte_ip_frag_table_create(1024, 4, 4096, rte_get_tsc_hz(), SOCKET_ID_ANY);
  death_row_ = static_cast<rte_ip_frag_death_row*>(std::calloc(1, sizeof(rte_ip_frag_death_row)));
  for (size_t i = 0; i < mac_.size(); i++) std::memcpy(&mac_[i], shared_.ports[i].mac.data(), 6);
  if (fragments_ == nullptr || death_row_ == nullptr) throw std::runtime_error("no memory for the reassembly table");
}

Pipeline::~Pipeline() {
  for (unsigned i = 0; i < held_count_; i++) rte_pktmbuf_free(held_[i].m);
  rte_ip_frag_free_death_row(death_row_, 0);
  rte_ip_frag_table_destroy(fragments_);
  std::free(death_row_);
}

void Pipeline::process(const model::View& view, rte_mbuf** packets, unsigned count, uint16_t port, uint32_t now,
                       uint64_t tsc) {
  view_ = &view;
  now_ = now;
  tsc_ = tsc;
  Item items[burst];
  Item* const end = gather(packets, count, port, items);
  for (Item* item = items; item < end; item++) {
    if (item->pool != 0)
      settle(*item);
    else if (TEAL_UNLIKELY(flow::Table::same_keys(item->bucket, item->key.key) == 0))
      rte_prefetch0(table_.second(item->key.hash));
  }
  for (Item* item = items; item < end; item++) balance(*item);
}

// Stages 1 and 2 of a burst: the packets of services stand in `items` afterwards, their buckets on the way to the
// cache, or, where these may not be needed, the cells that tell.
[[gnu::noinline]] Pipeline::Item* Pipeline::gather(rte_mbuf** packets, unsigned count, uint16_t port, Item* end) {
  for (unsigned i = 0; i < count; i++) {
    if (i + 4 < count) rte_prefetch0(rte_pktmbuf_mtod(packets[i + 4], void*));
    Item& item = *end;
    item.m = packets[i];
    item.in_port = port;
    item.whole = false;
    const uint8_t* data = rte_pktmbuf_mtod(item.m, const uint8_t*);
    if (TEAL_UNLIKELY(!teal_parse_common(data, data + item.m->data_len, &item.pkt))) parse_other(item);
    if (TEAL_LIKELY(match(item))) {
      if (may_settle(item)) {
        rte_prefetch0(table_.cells(teal_bucket_first(item.key.hash, table_.bucket_count())));
        rte_prefetch0(table_.cells(teal_bucket_second(item.key.hash, table_.bucket_count())));
      } else {
        rte_prefetch0(item.bucket);
      }
      end++;
    }
  }
  return end;
}

[[gnu::noinline]] void Pipeline::parse_other(Item& item) {
  const uint8_t* data = rte_pktmbuf_mtod(item.m, const uint8_t*);
  teal_parse_any(data, data + item.m->data_len, item.m->pkt_len, &item.pkt);
}

bool Pipeline::classify(Item& item) {
  item.pool = 0;
  item.direct = 0;
  return match(item);
}
void Pipeline::finish(Item& item) {
  balance(item);
}
void Pipeline::forward(Item& item, const teal_service& service, uint16_t number) {
  rewrite(item, service, number);
}
void Pipeline::emit(Item& item, const teal_hop& hop, const teal_backend* tunnel) {
  leave(item, hop, tunnel);
}

// Stage 2. True when the packet is TCP or UDP of a service and goes on; otherwise it has been dealt with.
TEAL_HOT bool Pipeline::match(Item& item) {
  const teal_pkt& pkt = item.pkt;
  const uint8_t* data = rte_pktmbuf_mtod(item.m, const uint8_t*);
  if (TEAL_UNLIKELY(pkt.kind != TEAL_KIND_L4 || !is_for_us(data, item.in_port))) {
    not_ordinary(item);
    return false;
  }
  const teal_addr dst = address_of(data, pkt, TEAL_SIDE_DST);
  const teal_addr src = address_of(data, pkt, TEAL_SIDE_SRC);
  uint64_t key = teal_match_key(secret_, pkt.family, &dst, pkt.dport, pkt.proto, TEAL_MATCH_VIP);
  if (const uint32_t s = teal_match_find(view_->match, view_->match_mask, secret_, key);
      s != 0 && (pkt.family == 4 || teal_addr_equal(&view_->services[s].vip, &dst))) {
    if (teal_martian(pkt.family, &src)) {
      sink_.drop(item.m, TEAL_DROP_martian_source);
      return false;
    }
    item.service = static_cast<uint16_t>(s);
    item.dir = TEAL_TO_BACKEND;
    item.client = src;
    item.key = pkt.family == 4 ? teal_flow_key4(secret_, src.v4, pkt.sport, item.service)
                               : teal_flow_key6(secret_, &src, pkt.sport, item.service);
    item.bucket = table_.first(item.key.hash);
    return true;
  }
  key = teal_match_key(secret_, pkt.family, &src, pkt.sport, pkt.proto, TEAL_MATCH_ENDPOINT);
  const uint32_t e = teal_match_find(view_->match, view_->match_mask, secret_, key);
  // A bare SYN out of a service's port opens a connection of the backend's own; it answers nobody.
  const bool opens = pkt.proto == TEAL_PROTO_TCP && (pkt.tcp_flags & (TEAL_TCP_SYN | TEAL_TCP_ACK)) == TEAL_TCP_SYN;
  if (e == 0 || opens || (pkt.family == 6 && !teal_addr_equal(&view_->endpoints[e].addr, &src))) {
    kernel(item.m, item.in_port, pkt);
    return false;
  }
  item.dir = TEAL_TO_CLIENT;
  item.endpoint = e;
  item.client = dst;
  if (view_->hairpin_any) hairpin_client(pkt.family, dst, &item.client);
  const teal_endpoint_ref& ref = view_->refs[view_->endpoints[e].first];
  item.service = ref.service;
  item.backend = ref.backend;
  item.key = pkt.family == 4 ? teal_flow_key4(secret_, item.client.v4, pkt.dport, item.service)
                             : teal_flow_key6(secret_, &item.client, pkt.dport, item.service);
  item.bucket = table_.first(item.key.hash);
  return true;
}

// What is malformed, not for this host's ears, or nothing that a service begins with.
[[gnu::noinline]] void Pipeline::not_ordinary(Item& item) {
  const teal_pkt& pkt = item.pkt;
  const uint8_t* data = rte_pktmbuf_mtod(item.m, const uint8_t*);
  if (pkt.kind == TEAL_KIND_BAD) return sink_.drop(item.m, static_cast<enum teal_drop>(pkt.reason));
  if (!is_for_us(data, item.in_port)) {
    // broadcast and multicast: ARP, ND, routing protocols
    if (data[0] & 1) return kernel(item.m, item.in_port, pkt);
    return sink_.drop(item.m, TEAL_DROP_not_our_mac);
  }
  if (pkt.kind == TEAL_KIND_FRAGMENT) return fragment(item);
  if (pkt.kind == TEAL_KIND_ICMP_ERROR) return icmp_error(item);
  kernel(item.m, item.in_port, pkt);
}

// Whether its cells can spare the packet the table: sets item.pool, and item.direct to none.
TEAL_HOT bool Pipeline::may_settle(Item& item) const {
  item.pool = 0;
  item.direct = 0;
  const teal_service& service = view_->services[item.service];
  if (!(service.flags & TEAL_SERVICE_SETTLES) || !teal_flags_settled(item.pkt.tcp_flags)) return false;
  if (TEAL_UNLIKELY(teal_goes_long(item.key.hash, now_))) return false;
  item.pool = static_cast<uint8_t>(TEAL_LOAD(&shared_.settled[service.group]));
  return item.pool != 0;
}

// Stages 3 and 4 without the table, for who has item.pool; when they cannot be, item.direct stays none.
TEAL_HOT void Pipeline::settle(Item& item) const {
  const uint32_t table = view_->services[item.service].maglev[(item.pool - 1) & 1];
  if (TEAL_UNLIKELY(!table_.settled(item.key.hash) || table == 0)) return rte_prefetch0(item.bucket);
  const uint16_t backend = view_->maglev[table][teal_maglev_slot(secret_, item.key.key, 0, model::maglev_slots)];
  // What a backend sends to the host itself is no reply; its flow's cells may be another's.
  if (item.dir == TEAL_TO_CLIENT && (backend != item.backend || teal_in_filter(view_->local_filter, &item.client)))
    return rte_prefetch0(item.bucket);
  item.direct = backend;
}

// Stages 3 to 5 of one packet.
TEAL_HOT void Pipeline::balance(Item& item) {
  if (item.direct != 0) {
    if (item.dir == TEAL_TO_CLIENT) return to_client(item, nullptr, 0);
    counters_.event[TEAL_EV_settled]++;
    return rewrite(item, view_->services[item.service], item.direct);
  }
  uint64_t val = 0;
  uint64_t* slot = table_.find(item.bucket, item.key, &val);
  if (TEAL_UNLIKELY(slot == nullptr)) val = 0;
  if (item.dir == TEAL_TO_BACKEND)
    to_backend(item, slot, val);
  else
    to_client(item, slot, val);
}

// An entry that changes, or a SYN that comes again.
void Pipeline::move_on(uint64_t* slot, uint64_t val, const Item& item, const teal_service& service) {
  const uint8_t two_way = service.forward == TEAL_FORWARD_nat;
  const uint8_t flags = item.pkt.tcp_flags;
  for (int i = 0; i < 8; i++) {
    const uint64_t next = teal_val_after(val, item.pkt.proto, item.dir, flags, two_way, now_);
    if (TEAL_LIKELY(next == val)) {
      // A held SYN that is tried again was sent once.
      if (TEAL_UNLIKELY(teal_is_retransmit(val, item.dir, flags)) && retry_deadline_ == 0)
        TEAL_COUNT(&counters_.signals_of(item.service, val).syn_retransmits);
      return;
    }
    if (TEAL_CAS(slot, val, next)) {
      // No longer plain: its packets must find it from now on.
      if (teal_val_state(val) == TEAL_FLOW_established && teal_val_state(next) != TEAL_FLOW_established)
        table_.attend(item.key.hash);
      if (item.pkt.proto == TEAL_PROTO_TCP)
        teal_signal_count(&counters_.signals_of(item.service, val), teal_signals_of(val, next, item.dir, two_way),
                          teal_val_fine_age(val, now_));
      if ((service.flags & TEAL_SERVICE_AFFINITY) && teal_state_pins(teal_val_state(next))) pin(item, service, val);
      return;
    }
    const uint64_t there = TEAL_LOAD(slot);
    if (there == 0 || ((there ^ val) & ~TEAL_VAL_MOVES) != 0) return;  // recycled or replaced
    val = there;
  }
}

TEAL_HOT void Pipeline::to_backend(Item& item, uint64_t* slot, uint64_t val) {
  const teal_service& service = view_->services[item.service];
  const enum teal_action action = teal_decide(&service, val, item.pkt.proto, item.pkt.tcp_flags, now_);
  if (TEAL_LIKELY(action == TEAL_ACT_KEEP)) {
    touch(slot, val, item, service);
    return rewrite(item, service, teal_val_backend(val));
  }
  newcomer(item, service, action, val);
}

// Whatever has no entry that decides it.
[[gnu::noinline]] void Pipeline::newcomer(Item& item, const teal_service& service, enum teal_action action,
                                          uint64_t val) {
  if (action == TEAL_ACT_RESET) return reset_both(item, service, teal_val_backend(val));
  // A retired service takes no new flows; its VIP may be the kernel's by now.
  if ((service.flags & TEAL_SERVICE_RETIRED) && action == TEAL_ACT_ENTER) return kernel(item.m, item.in_port, item.pkt);

  uint8_t pool = 0;
  uint64_t generation = 0;
  const uint16_t backend = choose(item, service, action, &pool, &generation);
  if (backend == 0) return;
  if (action == TEAL_ACT_STATELESS) return forward(item, service, backend);
  uint64_t entry = teal_val(backend, pool, generation, teal_first_state(action, item.pkt.proto), item.key.check, now_);
  enter(item, service, action, val, &entry);
  forward(item, service, teal_val_backend(entry));
}

// Rewrites to backend `number` and sends.
TEAL_HOT void Pipeline::rewrite(Item& item, const teal_service& service, uint16_t number) {
  const teal_backend& backend = view_->backends[number];
  const teal_hop& hop = backend.hop;
  if (TEAL_UNLIKELY(hop.state != TEAL_HOP_READY)) {
    if (hop.state == TEAL_HOP_UNRESOLVED) return hold(item, backend.family, backend.addr);
    return sink_.drop(item.m, TEAL_DROP_no_route);
  }
  const bool tunnel = service.forward == TEAL_FORWARD_ipip;
  const uint32_t limit = hop.mtu - (tunnel ? teal_tunnel_len(backend.family) : 0);
  uint8_t* data = rte_pktmbuf_mtod(item.m, uint8_t*);
  if (TEAL_UNLIKELY(item.pkt.l3_len > limit) && !item.whole) {
    const bool may_split =
        item.pkt.family == 4 && !(reinterpret_cast<teal_ipv4*>(data + item.pkt.l3)->frag & teal_swap16(TEAL_IPV4_DF));
    if (!may_split) return too_big(item, limit);
  }
  if (service.forward != TEAL_FORWARD_l2dsr && !teal_hop_down(data + item.pkt.l3, item.pkt.family))
    return sink_.drop(item.m, TEAL_DROP_ttl_expired);
  if (service.mss_clamp != 0 && (item.pkt.tcp_flags & TEAL_TCP_SYN))
    counters_.event[TEAL_EV_mss_clamped] +=
        static_cast<uint64_t>(teal_clamp_mss(data + item.pkt.l4, data + item.m->data_len, service.mss_clamp));
  if (service.forward == TEAL_FORWARD_nat) {
    teal_nat(data + item.pkt.l3, data + item.pkt.l4, item.pkt.family, item.pkt.proto, TEAL_SIDE_DST, &backend.addr,
             backend.port);
    teal_addr seen;
    if (view_->hairpin_any && hairpin_of(item.pkt.family, item.client, &seen)) {
      teal_nat_address(data + item.pkt.l3, data + item.pkt.l4, item.pkt.family, item.pkt.proto, TEAL_SIDE_SRC, &seen);
      counters_.event[TEAL_EV_hairpin]++;
    }
  }
  ServiceCounters& sc = counters_.service[item.service];
  sc.packets++;
  sc.bytes += item.m->pkt_len;
  BackendCounters& bc = counters_.backend[number];
  bc.packets++;
  bc.bytes += item.m->pkt_len;
  counters_.event[TEAL_EV_forwarded]++;
  leave(item, hop, tunnel ? &backend : nullptr);
}

TEAL_HOT void Pipeline::to_client(Item& item, uint64_t* slot, uint64_t val) {
  const bool settled = item.direct != 0;
  const bool shared = view_->endpoints[item.endpoint].count > 1;
  if (shared && (slot == nullptr || teal_val_backend(val) != item.backend)) {
    slot = nullptr;
    val = 0;
    find_reply(item, &slot, &val);
  }
  // What answers the host itself (a health check, an operator's curl) answers no client.
  if (TEAL_UNLIKELY(slot == nullptr) && !settled && is_local(item)) return kernel(item.m, item.in_port, item.pkt);
  const teal_service& service = view_->services[item.service];
  const bool tcp = item.pkt.proto == TEAL_PROTO_TCP;
  if (TEAL_LIKELY(slot != nullptr)) {
    if (TEAL_UNLIKELY(teal_val_backend(val) != item.backend)) return sink_.drop(item.m, TEAL_DROP_reply_mismatch);
    if (TEAL_UNLIKELY(teal_val_state(val) == TEAL_FLOW_reset)) return reset_both(item, service, item.backend);
  }
  const teal_hop& hop = client_hop(item.pkt.family, item.client);
  if (TEAL_UNLIKELY(hop.state != TEAL_HOP_READY)) {
    if (hop.state == TEAL_HOP_UNRESOLVED) return hold(item, item.pkt.family, item.client);
    return sink_.drop(item.m, TEAL_DROP_no_route);
  }
  if (TEAL_LIKELY(slot != nullptr)) {
    touch(slot, val, item, service);
  } else if (settled) {
    counters_.event[TEAL_EV_settled]++;
  } else {
    counters_.event[TEAL_EV_reply_untracked]++;
    // The backend knows best which flows are its own: one that the table lost is entered again from its reply.
    if (tcp && !shared && !(item.pkt.tcp_flags & (TEAL_TCP_RST | TEAL_TCP_SYN | TEAL_TCP_FIN))) {
      const uint8_t pool = view_->backends[item.backend].pool;
      const uint64_t generation = teal_split_generation(TEAL_LOAD(&shared_.splits[service.group].current));
      uint64_t entry = teal_val(item.backend, pool, generation, TEAL_FLOW_recovered, item.key.check, now_);
      enter(item, service, TEAL_ACT_RECOVER, 0, &entry);
    }
  }
  uint8_t* data = rte_pktmbuf_mtod(item.m, uint8_t*);
  if (TEAL_UNLIKELY(item.pkt.l3_len > hop.mtu) && !item.whole) {
    const bool may_split =
        item.pkt.family == 4 && !(reinterpret_cast<teal_ipv4*>(data + item.pkt.l3)->frag & teal_swap16(TEAL_IPV4_DF));
    if (!may_split) return too_big(item, hop.mtu);
  }
  if (!teal_hop_down(data + item.pkt.l3, item.pkt.family)) return sink_.drop(item.m, TEAL_DROP_ttl_expired);
  if (service.mss_clamp != 0 && (item.pkt.tcp_flags & TEAL_TCP_SYN))
    counters_.event[TEAL_EV_mss_clamped] +=
        static_cast<uint64_t>(teal_clamp_mss(data + item.pkt.l4, data + item.m->data_len, service.mss_clamp));
  teal_nat(data + item.pkt.l3, data + item.pkt.l4, item.pkt.family, item.pkt.proto, TEAL_SIDE_SRC, &service.vip,
           service.port);
  if (view_->hairpin_any) {
    const teal_addr seen = address_of(data, item.pkt, TEAL_SIDE_DST);
    if (!teal_addr_equal(&seen, &item.client))
      teal_nat_address(data + item.pkt.l3, data + item.pkt.l4, item.pkt.family, item.pkt.proto, TEAL_SIDE_DST,
                       &item.client);
  }
  counters_.event[TEAL_EV_replies]++;
  leave(item, hop, nullptr);
}

// The last step: tunnel header, Ethernet header, port.
TEAL_HOT void Pipeline::leave(Item& item, const teal_hop& hop, const teal_backend* tunnel) {
  const uint32_t limit = hop.mtu - (tunnel != nullptr ? teal_tunnel_len(tunnel->family) : 0);
  if (TEAL_UNLIKELY(item.pkt.l3_len > limit)) return emit_fragments(item, hop, tunnel, limit);
  if (tunnel != nullptr) {
    // Ethernet padding must not travel inside the tunnel.
    const uint32_t excess = item.m->pkt_len - item.pkt.l3 - item.pkt.l3_len;
    if (excess != 0 && rte_pktmbuf_trim(item.m, static_cast<uint16_t>(excess)) != 0)
      return sink_.drop(item.m, TEAL_DROP_no_room);
  }
  if (TEAL_LIKELY(tunnel == nullptr && teal_eth_len(&hop) == item.pkt.l3)) {
    teal_write_eth(rte_pktmbuf_mtod(item.m, uint8_t*), &hop, item.pkt.family == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6);
    item.m->ol_flags = 0;
    return sink_.send(hop.port, item.m);
  }
  send_frame(item.m, item.pkt.l3, item.pkt.family, hop, tunnel);
}

// Sends the IP packet that begins `l3` bytes into m.
void Pipeline::send_frame(rte_mbuf* m, uint16_t l3, uint8_t family, const teal_hop& hop, const teal_backend* tunnel) {
  const uint32_t front = teal_eth_len(&hop) + (tunnel != nullptr ? teal_tunnel_len(tunnel->family) : 0);
  const uint32_t inner_len = m->pkt_len - l3;
  if (front > l3) {
    if (rte_pktmbuf_prepend(m, static_cast<uint16_t>(front - l3)) == nullptr) return sink_.drop(m, TEAL_DROP_no_room);
  } else if (front < l3) {
    rte_pktmbuf_adj(m, static_cast<uint16_t>(l3 - front));
  }
  uint8_t* ip = rte_pktmbuf_mtod(m, uint8_t*) + front;
  uint16_t type = family == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6;
  if (tunnel != nullptr) {
    uint8_t* outer = ip - teal_tunnel_len(tunnel->family);
    teal_write_tunnel(outer, tunnel, family, teal_traffic_class(ip, family), inner_len, teal_swap16(tunnel_id_++));
    ip = outer;
    type = tunnel->family == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6;
  }
  teal_write_eth(ip - teal_eth_len(&hop), &hop, type);
  m->ol_flags = 0;
  sink_.send(hop.port, m);
}

}  // namespace teal::dataplane
