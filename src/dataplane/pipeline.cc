// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline.h"

#include <rte_cycles.h>
#include <rte_prefetch.h>

#include <cstring>
#include <stdexcept>

namespace teal::dataplane {

Pipeline::Pipeline(const Shared& shared, Counters& counters, Sink& sink)
    : shared_(shared), counters_(counters), sink_(sink), secret_(&shared_.head->secret), table_(*shared_.table) {
  // 1,024 datagrams at a time, each of at most RTE_LIBRTE_IP_FRAG_MAX_FRAG pieces, for up to a second.
  fragments_ = rte_ip_frag_table_create(1024, 4, 4096, rte_get_tsc_hz(), SOCKET_ID_ANY);
  death_row_ = static_cast<rte_ip_frag_death_row*>(std::calloc(1, sizeof(rte_ip_frag_death_row)));
  if (fragments_ == nullptr || death_row_ == nullptr) throw std::runtime_error("no memory for the reassembly table");
}

Pipeline::~Pipeline() {
  for (unsigned i = 0; i < held_count_; i++) rte_pktmbuf_free(held_[i].m);
  rte_ip_frag_free_death_row(death_row_, 0);
  rte_ip_frag_table_destroy(fragments_);
  std::free(death_row_);
}

teal_addr Pipeline::address_of(const uint8_t* data, const teal_pkt& pkt, int side) {
  teal_addr a{};
  const uint8_t* ip = data + pkt.l3;
  if (pkt.family == 4)
    std::memcpy(&a, ip + (side == TEAL_SIDE_SRC ? 12 : 16), 4);
  else
    std::memcpy(&a, ip + (side == TEAL_SIDE_SRC ? 8 : 24), 16);
  return a;
}

void Pipeline::process(const model::View& view, rte_mbuf** packets, unsigned count, uint16_t port, uint32_t now,
                       uint64_t tsc) {
  view_ = &view;
  now_ = now;
  tsc_ = tsc;
  Item items[burst];
  unsigned n = 0;
  for (unsigned i = 0; i < count; i++) {
    if (i + 4 < count) rte_prefetch0(rte_pktmbuf_mtod(packets[i + 4], void*));
    Item& item = items[n];
    item.m = packets[i];
    item.in_port = port;
    item.whole = false;
    const uint8_t* data = rte_pktmbuf_mtod(item.m, const uint8_t*);
    teal_parse(data, data + item.m->data_len, item.m->pkt_len, &item.pkt);
    if (classify(item)) {
      rte_prefetch0(table_.first(item.key.hash));
      n++;
    }
  }
  for (unsigned i = 0; i < n; i++) finish(items[i]);
}

// Stage 2. True when the packet is TCP or UDP of a service and goes on; otherwise it has been dealt with.
bool Pipeline::classify(Item& item) {
  const teal_pkt& pkt = item.pkt;
  const uint8_t* data = rte_pktmbuf_mtod(item.m, const uint8_t*);
  if (pkt.kind == TEAL_KIND_BAD) {
    sink_.drop(item.m, static_cast<enum teal_drop>(pkt.reason));
    return false;
  }
  if (std::memcmp(data, shared_.ports[item.in_port].mac.data(), 6) != 0) {
    if (data[0] & 1)
      kernel(item.m, item.in_port, pkt);  // broadcast and multicast: ARP, ND, routing protocols
    else
      sink_.drop(item.m, TEAL_DROP_not_our_mac);
    return false;
  }
  switch (pkt.kind) {
    case TEAL_KIND_L4:
      break;
    case TEAL_KIND_FRAGMENT:
      fragment(item);
      return false;
    case TEAL_KIND_ICMP_ERROR:
      icmp_error(item);
      return false;
    default:
      kernel(item.m, item.in_port, pkt);
      return false;
  }

  const teal_addr dst = address_of(data, pkt, TEAL_SIDE_DST);
  const teal_addr src = address_of(data, pkt, TEAL_SIDE_SRC);
  uint64_t key = teal_match_key(secret_, pkt.family, &dst, pkt.dport, pkt.proto, TEAL_MATCH_VIP);
  if (const uint32_t s = teal_match_find(view_->match, view_->match_mask, secret_, key);
      s != 0 && teal_addr_equal(&view_->services[s].vip, &dst)) {
    if (teal_martian(pkt.family, &src)) {
      sink_.drop(item.m, TEAL_DROP_martian_source);
      return false;
    }
    item.service = static_cast<uint16_t>(s);
    item.dir = TEAL_TO_BACKEND;
    item.client = src;
    item.key = pkt.family == 4 ? teal_flow_key4(secret_, src.v4, pkt.sport, item.service)
                               : teal_flow_key6(secret_, &src, pkt.sport, item.service);
    return true;
  }
  key = teal_match_key(secret_, pkt.family, &src, pkt.sport, pkt.proto, TEAL_MATCH_ENDPOINT);
  const uint32_t e = teal_match_find(view_->match, view_->match_mask, secret_, key);
  // A bare SYN out of a service's port opens a connection of the backend's own; it answers nobody.
  const bool opens = pkt.proto == TEAL_PROTO_TCP && (pkt.tcp_flags & (TEAL_TCP_SYN | TEAL_TCP_ACK)) == TEAL_TCP_SYN;
  if (e == 0 || opens || !teal_addr_equal(&view_->endpoints[e].addr, &src)) {
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
  return true;
}

// Stages 3 to 5 of one packet.
void Pipeline::finish(Item& item) {
  uint64_t val = 0;
  uint64_t* slot = table_.find(item.key, &val);
  if (slot == nullptr) val = 0;
  if (item.dir == TEAL_TO_BACKEND)
    to_backend(item, slot, val);
  else
    to_client(item, slot, val);
}

void Pipeline::touch(uint64_t* slot, uint64_t val, const Item& item, const teal_service& service) {
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

// Writes or refreshes the affinity that the flow of value `flow` gives its client.
void Pipeline::pin(const Item& item, const teal_service& service, uint64_t flow) {
  const uint64_t split = TEAL_LOAD(&shared_.splits[service.group].current);
  if (!teal_affinity_counts(flow, split)) return;
  const teal_flow_key key = teal_affinity_key(secret_, &service, &item.client, item.service);
  uint64_t entry = teal_affinity_val(flow, key.check, now_), val = 0;
  uint64_t* slot = table_.find(key, &val);
  if (slot == nullptr) {
    flow::InsertCounts counts;
    table_.insert(*secret_, key, &entry, 0, now_, counts);
    return;
  }
  if (teal_affinity_binds(&service, val, split, now_)) {
    if (teal_val_pool(val) != teal_val_pool(flow)) return;  // the first connection's pool stays
    entry = (val & ~uint64_t{TEAL_STAMP_MASK}) | teal_stamp(TEAL_FLOW_affinity, now_);
  }
  (void)TEAL_CAS(slot, val, entry);
}

// The pool that a preview or the client's affinity says; the split's else.
uint8_t Pipeline::pool_of(const Item& item, const teal_service& service, uint64_t word, uint8_t pool) const {
  if ((service.flags & TEAL_SERVICE_PREVIEW) && teal_route_find(view_->routes, view_->route_mask, &view_->previews,
                                                                secret_, item.pkt.family, &item.client, item.service))
    return static_cast<uint8_t>(teal_preview_pool(&service));
  if (!(service.flags & TEAL_SERVICE_AFFINITY)) return pool;
  const teal_flow_key key = teal_affinity_key(secret_, &service, &item.client, item.service);
  uint64_t val = 0;
  if (table_.find(key, &val) == nullptr || !teal_affinity_binds(&service, val, word, now_)) return pool;
  return service.maglev[teal_val_pool(val)] != 0 ? teal_val_pool(val) : pool;
}

void Pipeline::to_backend(Item& item, uint64_t* slot, uint64_t val) {
  const teal_service& service = view_->services[item.service];
  const enum teal_action action = teal_decide(&service, val, item.pkt.proto, item.pkt.tcp_flags, now_);
  if (TEAL_LIKELY(action == TEAL_ACT_KEEP)) {
    touch(slot, val, item, service);
    return forward(item, service, teal_val_backend(val));
  }
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

// Stage 4 for a flow without an entry: split, then Maglev. 0: dropped, and counted.
uint16_t Pipeline::choose(const Item& item, const teal_service& service, enum teal_action action, uint8_t* pool,
                          uint64_t* generation) {
  const teal_split& split = shared_.splits[service.group];
  const uint64_t current = TEAL_LOAD(&split.current);
  const uint64_t word = teal_deciding_split(action, current, TEAL_LOAD(&split.previous));
  const uint32_t point = teal_point(secret_, teal_point_basis(secret_, &service, &item.client, item.key.key));
  *pool = static_cast<uint8_t>(teal_pool_of(word, point));
  *generation = teal_split_generation(word);
  if (action == TEAL_ACT_ENTER && (service.flags & (TEAL_SERVICE_PREVIEW | TEAL_SERVICE_AFFINITY)))
    *pool = pool_of(item, service, word, *pool);
  const uint32_t table = service.maglev[*pool];
  if (table == 0) {
    sink_.drop(item.m, TEAL_DROP_no_backend);
    return 0;
  }
  const unsigned attempts = service.flags & TEAL_SERVICE_SHARED ? 64 : 1;
  for (uint32_t i = 0; i < attempts; i++) {
    const uint16_t backend = view_->maglev[table][teal_maglev_slot(secret_, item.key.key, i, model::maglev_slots)];
    if (attempts == 1 || action != TEAL_ACT_ENTER || !clashes(item, service, backend)) return backend;
  }
  sink_.drop(item.m, TEAL_DROP_reply_clash);
  return 0;
}

// Whether the client's address and port already are a flow of another service on the same backend address and port: the
// backend could not tell the two connections apart, nor could teal their replies.
bool Pipeline::clashes(const Item& item, const teal_service& service, uint16_t backend) {
  const teal_backend& b = view_->backends[backend];
  const uint64_t key = teal_match_key(secret_, b.family, &b.addr, b.port, service.proto, TEAL_MATCH_ENDPOINT);
  const uint32_t e = teal_match_find(view_->match, view_->match_mask, secret_, key);
  if (e == 0) return false;
  const teal_endpoint& endpoint = view_->endpoints[e];
  for (uint32_t i = 0; i < endpoint.count; i++) {
    const teal_endpoint_ref& ref = view_->refs[endpoint.first + i];
    if (ref.service == item.service) continue;
    const teal_flow_key other = item.pkt.family == 4
                                    ? teal_flow_key4(secret_, item.client.v4, item.pkt.sport, ref.service)
                                    : teal_flow_key6(secret_, &item.client, item.pkt.sport, ref.service);
    uint64_t val = 0;
    if (table_.find(other, &val) == nullptr || teal_val_backend(val) != ref.backend) continue;
    if (!teal_state_is_over(teal_val_state(val)) && !teal_flow_expired(&view_->services[ref.service], val, now_))
      return true;
  }
  return false;
}

// Enters the flow; *val is what decides afterwards: the given value, or that of another packet of the flow.
void Pipeline::enter(Item& item, const teal_service& service, enum teal_action action, uint64_t old, uint64_t* val) {
  flow::InsertCounts counts;
  ServiceCounters& sc = counters_.service[item.service];
  const uint64_t wanted = *val;
  const flow::Inserted result = table_.insert(*secret_, item.key, val, old, now_, counts);
  counters_.event[TEAL_EV_flows_displaced] += counts.displaced;
  counters_.event[TEAL_EV_flows_evicted] += counts.evicted;
  switch (result) {
    case flow::Inserted::replaced:
      if (!teal_state_is_over(teal_val_state(old)) && !teal_flow_expired(&service, old, now_) &&
          teal_val_backend(old) != teal_val_backend(wanted)) {
        counters_.event[TEAL_EV_flows_moved]++;
        sc.moved++;
      }
      [[fallthrough]];
    case flow::Inserted::entered:
      if (action == TEAL_ACT_ENTER) TEAL_COUNT(&counters_.signals_of(item.service, wanted).begun);
      counters_.event[TEAL_EV_flows_new]++;
      sc.new_flows[teal_val_pool(wanted)]++;
      if (action == TEAL_ACT_RECOVER) {
        counters_.event[TEAL_EV_flows_recovered]++;
        sc.recovered++;
      }
      break;
    case flow::Inserted::found:
      break;
    case flow::Inserted::busy:
      counters_.event[TEAL_EV_lock_busy]++;
      [[fallthrough]];
    case flow::Inserted::no_room:
      *val = wanted;
      counters_.event[TEAL_EV_flows_untracked]++;
      sc.untracked++;
      break;
  }
}

// Rewrites to backend `number` and sends.
void Pipeline::forward(Item& item, const teal_service& service, uint16_t number) {
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
  emit(item, hop, tunnel ? &backend : nullptr);
}

// Among several services on one backend address, the one whose entry names this backend.
bool Pipeline::find_reply(Item& item, uint64_t** slot, uint64_t* val) {
  const teal_endpoint& endpoint = view_->endpoints[item.endpoint];
  for (uint32_t i = 0; i < endpoint.count; i++) {
    const teal_endpoint_ref& ref = view_->refs[endpoint.first + i];
    const teal_flow_key key = item.pkt.family == 4
                                  ? teal_flow_key4(secret_, item.client.v4, item.pkt.dport, ref.service)
                                  : teal_flow_key6(secret_, &item.client, item.pkt.dport, ref.service);
    uint64_t v = 0;
    uint64_t* s = table_.find(key, &v);
    if (s == nullptr || teal_val_backend(v) != ref.backend) continue;
    item.service = ref.service;
    item.backend = ref.backend;
    item.key = key;
    *slot = s;
    *val = v;
    return true;
  }
  return false;
}

void Pipeline::to_client(Item& item, uint64_t* slot, uint64_t val) {
  const bool shared = view_->endpoints[item.endpoint].count > 1;
  if (shared && (slot == nullptr || teal_val_backend(val) != item.backend)) {
    slot = nullptr;
    val = 0;
    find_reply(item, &slot, &val);
  }
  // What answers the host itself (a health check, an operator's curl) answers no client.
  if (TEAL_UNLIKELY(slot == nullptr) && is_local(item)) return kernel(item.m, item.in_port, item.pkt);
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
  emit(item, hop, nullptr);
}

// The last step: tunnel header, Ethernet header, port.
void Pipeline::emit(Item& item, const teal_hop& hop, const teal_backend* tunnel) {
  const uint32_t limit = hop.mtu - (tunnel != nullptr ? teal_tunnel_len(tunnel->family) : 0);
  if (TEAL_UNLIKELY(item.pkt.l3_len > limit)) return emit_fragments(item, hop, tunnel, limit);
  if (tunnel != nullptr) {
    // Ethernet padding must not travel inside the tunnel.
    const uint32_t excess = item.m->pkt_len - item.pkt.l3 - item.pkt.l3_len;
    if (excess != 0 && rte_pktmbuf_trim(item.m, static_cast<uint16_t>(excess)) != 0)
      return sink_.drop(item.m, TEAL_DROP_no_room);
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
