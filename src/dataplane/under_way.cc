// SPDX-License-Identifier: Apache-2.0
// A burst, and in it the short way of what nearly all packets are: TCP in the middle of a connection, whose entry they
// leave as it is. What turns out to be anything else goes the long way, as if nobody had looked at it before:
// pipeline.cc, consider.cc. Both ways make the same of a packet; docs/decisions/0018.
#include "teal/under_way.h"

#include <rte_prefetch.h>

#include <algorithm>
#include <cstddef>

#include "dataplane/pipeline.h"

#define TEAL_HOT [[gnu::always_inline]] inline

namespace teal::dataplane {

uint64_t Pipeline::process(const model::View& view, rte_mbuf** packets, unsigned count, uint16_t port, uint32_t now,
                           uint64_t tsc) {
  view_ = &view;
  now_ = now;
  tsc_ = tsc;
  port_ = port;
  like_ = &likes_[port];
  Item items[burst];
  uint64_t bytes = 0;
  Item* const end = gather(packets, count, items, &bytes);
  late_count_ = late_at_ = 0;
  for (Item* item = items; item < end; item++) item->direct = resolve(*item);
  depart(items, end);
  return bytes;
}

// Stages 1 and 2 of a burst: the packets of services stand in `items` afterwards. On the way to the cache are their
// buckets, or, where these may not be needed, the cells that tell and the slot that decides. `bytes`: of all packets.
[[gnu::noinline]] Pipeline::Item* Pipeline::gather(rte_mbuf** packets, unsigned count, Item* end, uint64_t* bytes) {
  rte_mbuf** const last = packets + count;
  uint64_t received = 0;
  for (rte_mbuf** at = packets; at < last;) {
    const Item* item = end;
    for (rte_mbuf** const stop = at + std::min<ptrdiff_t>(fetched_together, last - at); at < stop; at++) {
      rte_prefetch0(rte_pktmbuf_mtod(*std::min(at + 4, last - 1), void*));
      received += (*at)->pkt_len;
      if (take_in(*at, *end)) end++;
    }
    if (awaits_) {
      awaits_ = false;
      for (; item < end; item++)
        if (item->decided == nullptr) rte_prefetch0(table_.bucket(item->first));
    }
    while (TEAL_UNLIKELY(beginning_count_ != 0)) rte_prefetch0(table_.second(beginning_[--beginning_count_]->key.hash));
  }
  *bytes = received;
  return end;
}

// False: the packet has been dealt with, or is no service's.
TEAL_HOT bool Pipeline::take_in(rte_mbuf* m, Item& item) {
  item.m = m;
  item.data = rte_pktmbuf_mtod(m, uint8_t*);
  const uint32_t len = m->data_len;
  if (TEAL_LIKELY(len == m->pkt_len) && TEAL_LIKELY(len >= 54)) {  // not of several buffers
    if (TEAL_LIKELY(teal_is_like(item.data, &like_->ipv4))) {
      if (TEAL_LIKELY(take_under_way<4>(item, len))) return true;
    } else if (teal_is_like(item.data, &like_->ipv6)) {
      if (TEAL_LIKELY(take_under_way<6>(item, len))) return true;
    }
  }
  return other(item);
}

template <uint8_t family>
TEAL_HOT bool Pipeline::take_under_way(Item& item, uint32_t len) {
  const enum teal_under_way what = teal_is_under_way(item.data, len, family);
  if (TEAL_UNLIKELY(what == TEAL_BEGINS)) return begin<family>(item);
  if (TEAL_UNLIKELY(what == TEAL_NOT_UNDER_WAY) || !match_under_way<family>(item)) return false;
  seek_settled(item);
  return true;
}

// Stage 2. False: of no service, or odd in some other way.
template <uint8_t family>
TEAL_HOT bool Pipeline::match_under_way(Item& item) const {
  const teal_addr dst = address_at<family>(item.data + sizeof(teal_eth), TEAL_SIDE_DST);
  const teal_addr src = address_at<family>(item.data + sizeof(teal_eth), TEAL_SIDE_SRC);
  const uint8_t* l4 = item.data + TEAL_UNDER_WAY_L4(family);
  const uint16_t sport = teal_load16(l4), dport = teal_load16(l4 + 2);
  uint64_t key = teal_match_key(&secret_, family, &dst, dport, TEAL_PROTO_TCP, TEAL_MATCH_VIP);
  if (const uint32_t s = teal_match_find(view_->match, view_->match_mask, &secret_, key);
      s != 0 && (family == 4 || teal_addr_equal(&view_->services[s].vip, &dst))) {
    if (TEAL_UNLIKELY(teal_martian(family, &src))) return false;
    item.service = static_cast<uint16_t>(s);
    item.under_way = family;
    item.dir = TEAL_TO_BACKEND;
    item.steady = true;
    item.key = family == 4 ? teal_flow_key4(&secret_, src.v4, sport, item.service)
                           : teal_flow_key6(&secret_, &src, sport, item.service);
  } else {
    key = teal_match_key(&secret_, family, &src, sport, TEAL_PROTO_TCP, TEAL_MATCH_ENDPOINT);
    const uint32_t e = teal_match_find(view_->match, view_->match_mask, &secret_, key);
    if (TEAL_UNLIKELY(e == 0) || (family == 6 && !teal_addr_equal(&view_->endpoints[e].addr, &src))) return false;
    item.special = in_filter<family>(view_->special, dst);
    // Clients that are backends, and what backends say to the host itself.
    if (TEAL_UNLIKELY(in_hairpin_net(family, dst)) ||
        (TEAL_UNLIKELY(item.special) && in_filter<family>(view_->local, dst)))
      return false;
    const teal_endpoint_ref& ref = view_->refs[view_->endpoints[e].first];
    item.under_way = family;
    item.dir = TEAL_TO_CLIENT;
    item.steady = true;
    item.endpoint = e;
    item.service = ref.service;
    item.backend = ref.backend;
    item.sums = ref.sums;
    item.key = family == 4 ? teal_flow_key4(&secret_, dst.v4, dport, item.service)
                           : teal_flow_key6(&secret_, &dst, dport, item.service);
  }
  item.first = teal_bucket_first(item.key.hash, table_.bucket_count());
  return true;
}

// The same of a SYN, which mostly is entered: what that takes is fetched.
template <uint8_t family>
[[gnu::noinline]] bool Pipeline::begin(Item& item) {
  if (!match_under_way<family>(item)) return false;
  fill<family>(item);
  item.steady = false;
  await_table(item);
  // One out of a service's port opens a connection of the backend's own; it answers nobody.
  if (item.dir == TEAL_TO_CLIENT && !(item.pkt.tcp_flags & TEAL_TCP_ACK)) return false;
  beginning_[beginning_count_++] = &item;
  return true;
}

// What an item under way was spared so far.
template <uint8_t family>
TEAL_HOT void Pipeline::fill(Item& item) const {
  teal_under_way_parsed(item.data, family, &item.pkt);
  item.client =
      address_at<family>(item.data + sizeof(teal_eth), item.dir == TEAL_TO_BACKEND ? TEAL_SIDE_SRC : TEAL_SIDE_DST);
  item.hairpin = false;
  item.whole = false;
}

// Stages 3 and 4 for what nearly every packet is: one that changes nothing, and so needs no more than its backend. A
// burst of these looks wait for the cache together. 0: there is more to do.
TEAL_HOT uint16_t Pipeline::resolve(const Item& item) {
  uint16_t backend = 0;
  if (item.decided != nullptr) {
    if (TEAL_UNLIKELY(!table_.settled(item.first, item.second))) return late(item);
    backend = *item.decided;
  } else {
    if (TEAL_UNLIKELY(!item.steady)) return late(item);
    backend = flow::Table::steady_in(table_.bucket(item.first), item.key, now_);
    if (TEAL_UNLIKELY(backend == 0)) backend = refresh(item);
    if (TEAL_UNLIKELY(backend == 0)) return late(item);
  }
  if (TEAL_UNLIKELY(item.dir == TEAL_TO_CLIENT && backend != item.backend)) return late(item);
  return backend;
}

// Notes who must be considered. What that takes is fetched now for the first of them, for others some turns before
// theirs: what gather() fetched seems to have left the nearest cache by then (docs/decisions/0018).
[[gnu::noinline]] uint16_t Pipeline::late(const Item& item) {
  if (late_count_ < late_ahead) fetch(item);
  late_[late_count_++] = &item;
  return 0;
}

TEAL_HOT void Pipeline::fetch(const Item& item) const {
  rte_prefetch0(table_.bucket(item.first));
  rte_prefetch0(table_.second(item.key.hash));
  if (item.steady || item.dir == TEAL_TO_CLIENT) return;
  // It mostly is entered.
  if (table_.has_cells()) rte_prefetch0(table_.cell_word(item.first));
  rte_prefetch0(table_.lock_word(item.key.hash));
  const teal_service& service = view_->services[item.service];
  const bool green = teal_split_share(TEAL_LOAD(&shared_.splits[service.group].current)) >= TEAL_SPLIT_ALL;
  if (const uint16_t* maglev = view_->maglev[service.maglev[green]]; maglev != nullptr)
    rte_prefetch0(&maglev[teal_maglev_slot(&secret_, item.key.hash, 0, model::maglev_slots)]);
}

// A connection that was not seen for a second: nothing changes but its entry's stamp. 0: more than that does. (A change
// of an entry refreshes its client's affinity too: that is the long way's.)
[[gnu::noinline]] uint16_t Pipeline::refresh(const Item& item) const {
  if (view_->services[item.service].flags & TEAL_SERVICE_AFFINITY) return 0;
  return flow::Table::refreshed_in(table_.bucket(item.first), item.key, now_,
                                   item.dir == TEAL_TO_CLIENT ? item.backend : uint16_t{0});
}

// Stage 5 of a burst. Packets leave in the order in which they came: a flow's must not overtake each other.
TEAL_HOT void Pipeline::depart(Item* item, Item* end) {
  for (; item < end; item++) {
    bool gone = false;
    if (TEAL_LIKELY(item->direct != 0)) {
      if (item->under_way == 4 && item->dir == TEAL_TO_BACKEND)
        gone = to_backend_under_way<4, false>(*item);
      else if (item->under_way == 4)
        gone = to_client_under_way<4, false>(*item);
      else if (item->under_way == 6)
        gone =
            item->dir == TEAL_TO_BACKEND ? to_backend_under_way<6, false>(*item) : to_client_under_way<6, false>(*item);
    }
    if (TEAL_UNLIKELY(!gone)) take_long_way(*item);
  }
}

// Puts the header of a tunnel to `to`, whose family is `outer`, in front of an IP packet of `l3_len` bytes. Bytes of
// the frame; 0: there is no room, or its TTL is at its end.
template <uint8_t family, uint8_t outer>
TEAL_HOT uint32_t Pipeline::encapsulate_under_way(rte_mbuf* m, uint8_t* ip, uint32_t start, const teal_backend& to,
                                                  uint32_t l3_len) {
  const uint32_t head = teal_tunnel_len(outer);
  if (TEAL_UNLIKELY(l3_len + head > to.hop.mtu) || TEAL_UNLIKELY(m->data_off < head)) return 0;
  if (TEAL_UNLIKELY(!teal_hop_down(ip, family))) return 0;
  if (family == 4 && outer == 4)
    teal_write_tunnel4_as(ip - head, &to.tunnel4, start);
  else if (outer == 4)
    teal_write_tunnel4(ip - head, &to.tunnel4, family, teal_traffic_class(ip, family), l3_len);
  else
    teal_write_tunnel6(ip - head, &to, family, teal_traffic_class(ip, family), l3_len);
  teal_write_eth_plain(ip - sizeof(teal_eth) - head, &to.hop, outer == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6);
  // Without Ethernet padding, which must not travel inside the tunnel.
  const uint32_t length = static_cast<uint32_t>(sizeof(teal_eth)) + head + l3_len;
  m->data_off = static_cast<uint16_t>(m->data_off - head);
  m->pkt_len = length;
  m->data_len = static_cast<uint16_t>(length);
  return length;
}

// Rewrites to its backend and sends. `any`: it may be a SYN. False: something is not ordinary, and nothing has been
// changed.
template <uint8_t family, bool any>
TEAL_HOT bool Pipeline::to_backend_under_way(Item& item) {
  const uint16_t number = item.direct;
  const teal_backend& backend = view_->backends[number];
  const teal_hop& hop = backend.hop;
  rte_mbuf* const m = item.m;
  uint8_t* const data = item.data;
  uint8_t* const ip = data + sizeof(teal_eth);
  const uint32_t start = teal_swap32(teal_load32(ip));  // of an IPv4 header, with its length
  const uint32_t l3_len = family == 4 ? start & 0xffff : teal_under_way_l3_len(data, family), frame_len = m->pkt_len;
  uint32_t length = frame_len;
  if (TEAL_LIKELY(backend.way == TEAL_WAY_NAT)) {
    const teal_addr client = address_at<family>(ip, TEAL_SIDE_SRC);
    if (TEAL_UNLIKELY(l3_len > hop.mtu) ||
        (TEAL_UNLIKELY(in_filter<family>(view_->special, client)) && is_backend(item)))
      return false;
    if (TEAL_UNLIKELY(!teal_nat_hop(ip, data + TEAL_UNDER_WAY_L4(family), family, TEAL_PROTO_TCP, TEAL_SIDE_DST,
                                    &backend.addr, backend.port, backend.sums)))
      return false;
    teal_write_macs_plain(data, &hop);  // the EtherType stands where it should
  } else if (backend.way == TEAL_WAY_TUNNEL4) {
    length = encapsulate_under_way<family, 4>(m, ip, start, backend, l3_len);
    if (TEAL_UNLIKELY(length == 0)) return false;
  } else if (backend.way == TEAL_WAY_L2DSR) {
    if (TEAL_UNLIKELY(l3_len > hop.mtu)) return false;
    teal_write_macs_plain(data, &hop);
  } else {
    if (TEAL_UNLIKELY(backend.way == TEAL_WAY_LONG)) return false;
    length = encapsulate_under_way<family, 6>(m, ip, start, backend, l3_len);
    if (TEAL_UNLIKELY(length == 0)) return false;
  }
  if (any) clamp(item, view_->services[item.service], item.data, ip + l3_len);
  BackendCounters& bc = counters_.backend[number];
  bc.packets++;
  bc.bytes += frame_len;
  counters_.event[TEAL_EV_forwarded]++;
  counters_.event[TEAL_EV_settled] += item.decided != nullptr;
  m->ol_flags = 0;
  sink_.send_whole(hop.port, m, length);
  return true;
}

// The same for a backend's reply.
template <uint8_t family, bool any>
TEAL_HOT bool Pipeline::to_client_under_way(Item& item) {
  const teal_service& service = view_->services[item.service];
  uint8_t* const data = item.data;
  uint8_t* const ip = data + sizeof(teal_eth);
  const teal_addr client = address_at<family>(ip, TEAL_SIDE_DST);
  const teal_hop& hop = client_hop(family, client, item.special);
  const uint32_t l3_len = teal_under_way_l3_len(data, family);
  if (TEAL_UNLIKELY(!teal_hop_plain(&hop)) || TEAL_UNLIKELY(l3_len > hop.mtu)) return false;
  if (TEAL_UNLIKELY(!teal_nat_hop(ip, data + TEAL_UNDER_WAY_L4(family), family, TEAL_PROTO_TCP, TEAL_SIDE_SRC,
                                  &service.vip, service.port, item.sums)))
    return false;
  if (any) clamp(item, service, item.data, ip + l3_len);
  teal_write_macs_plain(data, &hop);
  counters_.event[TEAL_EV_replies]++;
  counters_.event[TEAL_EV_settled] += item.decided != nullptr;
  item.m->ol_flags = 0;
  sink_.send_whole(hop.port, item.m, item.m->pkt_len);
  return true;
}

[[gnu::noinline]] bool Pipeline::is_backend(const Item& item) const {
  const uint8_t* ip = item.data + sizeof(teal_eth);
  teal_addr seen;
  return hairpin_seen(item.under_way,
                      item.under_way == 4 ? address_at<4>(ip, TEAL_SIDE_SRC) : address_at<6>(ip, TEAL_SIDE_SRC), &seen);
}

[[gnu::noinline]] void Pipeline::take_long_way(Item& item) {
  if (item.steady && item.under_way == 4) fill<4>(item);
  if (item.steady && item.under_way == 6) fill<6>(item);
  if (item.direct == 0) {
    item.decided = nullptr;  // its cells sent it to the table
    if (late_at_ + late_ahead < late_count_) fetch(*late_[late_at_ + late_ahead]);
    late_at_++;
  }
  balance(item);
}

// To backend `number`, or to the client: who has come the long way and is ordinary but for that.
void Pipeline::forward(Item& item, const teal_service& service, uint16_t number) {
  if (TEAL_LIKELY(item.under_way == 4)) {
    item.direct = number;
    if (to_backend_under_way<4, true>(item)) return;
  }
  rewrite(item, service, number);
}
void Pipeline::answer(Item& item, const teal_service& service, const teal_hop& hop) {
  if (TEAL_LIKELY(item.under_way == 4) && to_client_under_way<4, true>(item)) return;
  reply(item, service, hop);
}

}  // namespace teal::dataplane
