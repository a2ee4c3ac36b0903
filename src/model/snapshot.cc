// SPDX-License-Identifier: Apache-2.0
#include "model/snapshot.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <stdexcept>

#include "next_hop.h"
#include "teal/rewrite.h"
#include "teal/settled.h"
#include "teal/split.h"

namespace teal::model {
namespace {

teal_addr mask_of(uint32_t length) {
  teal_addr mask;
  for (uint32_t& word : mask.words) word = ~0u;
  teal_addr_mask(&mask, length);
  return mask;
}

// Slots for `n` keys. Most lookups miss (a client's address is no VIP, and no neighbour), and a miss that meets an
// occupied slot is a branch that nobody predicts: sparse while that stays in the first-level cache.
uint32_t slots_for(size_t n) {
  const size_t wanted = n <= 256 ? n * 16 : n * 4;
  uint32_t p = 256;
  while (p < wanted) p *= 2;
  return p;
}

// Whether every new flow of the service goes where its Maglev table says: nobody is previewed or held, replies can be
// told apart; and its entries live long enough for a stamp to lag.
bool settles(const teal_service& s) {
  constexpr uint8_t not_these =
      TEAL_SERVICE_RETIRED | TEAL_SERVICE_SHARED | TEAL_SERVICE_PREVIEW | TEAL_SERVICE_AFFINITY;
  return s.proto == TEAL_PROTO_TCP && (s.flags & not_these) == 0 &&
         s.timeout[TEAL_TIMEOUT_established] >= TEAL_SETTLES_TIMEOUT;
}

uint8_t way_to(const teal_backend& backend, uint8_t forward) {
  if (!teal_hop_plain(&backend.hop)) return TEAL_WAY_LONG;
  if (forward == TEAL_FORWARD_nat) return TEAL_WAY_NAT;
  if (forward == TEAL_FORWARD_l2dsr) return TEAL_WAY_L2DSR;
  return backend.family == 4 ? TEAL_WAY_TUNNEL4 : TEAL_WAY_TUNNEL6;
}

}  // namespace

Snapshot::Snapshot(const SnapshotInput& input, MaglevCache& cache) {
  add_services(input, cache);
  add_backends(input);
  add_endpoints(input);
  add_routes(input);
  build_match(input);
  settling_.resize(services_.size());
  for (size_t i = 0; i < services_.size(); i++) {
    teal_service& s = services_[i];
    if (!settles(s)) continue;
    s.flags |= TEAL_SERVICE_SETTLES;
    settling_[i] = {s.group, {nullptr, maglev_[s.maglev[TEAL_BLUE]], maglev_[s.maglev[TEAL_GREEN]]}};
  }
  view_.services = services_.data();
  view_.service_count = static_cast<uint32_t>(services_.size());
  view_.backends = backends_.data();
  view_.backend_count = static_cast<uint32_t>(backends_.size());
  view_.match = match_.data();
  view_.match_mask = static_cast<uint32_t>(match_.size() - 1);
  view_.endpoints = endpoints_.data();
  view_.endpoint_count = static_cast<uint32_t>(endpoints_.size());
  view_.refs = refs_.data();
  view_.ref_count = static_cast<uint32_t>(refs_.size());
  view_.maglev = maglev_.data();
  view_.settling = settling_.data();
  view_.routes = routes_.data();
  view_.route_mask = static_cast<uint32_t>(routes_.size() - 1);
  view_.hops = hops_.data();
  view_.hop_count = static_cast<uint32_t>(hops_.size());
}

std::shared_ptr<const MaglevTable> Snapshot::maglev(uint16_t service, uint8_t pool) const {
  const auto at = table_of_.find({service, pool});
  return at == table_of_.end() ? std::make_shared<const MaglevTable>() : tables_[at->second];
}

void Snapshot::add_services(const SnapshotInput& input, MaglevCache& cache) {
  uint32_t top = 0;
  for (const auto& s : input.services) top = std::max<uint32_t>(top, s.number);
  services_.resize(top + 1);
  tables_.resize(1);
  maglev_.resize(1);
  MaglevCache kept;
  for (const auto& s : input.services) {
    teal_service& out = services_[s.number];
    out.vip = s.config.vip.raw();
    out.port = teal_swap16(s.config.port);
    out.proto = static_cast<uint8_t>(s.config.protocol);
    out.family = s.config.vip.family;
    out.forward = static_cast<uint8_t>(s.config.forward);
    out.flags = static_cast<uint8_t>((s.config.split_by == SplitBy::flow ? TEAL_SERVICE_BY_FLOW : 0) |
                                     (s.retired ? TEAL_SERVICE_RETIRED : 0));
    out.mss_clamp = s.config.mss_clamp;
    out.group = s.group;
    const Timeouts& t = input.engine.timeouts;
    out.timeout[TEAL_TIMEOUT_half_open] = t.half_open_s * TEAL_TICKS_PER_S;
    out.timeout[TEAL_TIMEOUT_established] = t.established_s * TEAL_TICKS_PER_S;
    out.timeout[TEAL_TIMEOUT_closing] = t.closing_s * TEAL_TICKS_PER_S;
    out.timeout[TEAL_TIMEOUT_udp] = t.udp_s * TEAL_TICKS_PER_S;
    if (const AffinityConfig& affinity = s.config.affinity; affinity.by_client) {
      out.flags |= TEAL_SERVICE_AFFINITY;
      out.timeout[TEAL_TIMEOUT_affinity] = affinity.timeout_s * TEAL_TICKS_PER_S;
      out.affinity4 = affinity.prefix4;
      out.affinity6 = affinity.prefix6;
    }
    if (s.preview_pool >= 0 && !s.config.preview.clients.empty())
      out.flags |=
          static_cast<uint8_t>(TEAL_SERVICE_PREVIEW | (s.preview_pool == TEAL_GREEN ? TEAL_SERVICE_PREVIEW_GREEN : 0));
    for (uint8_t pool = 0; pool < 2; pool++) {
      std::vector<MaglevMember> members;
      for (const auto& b : input.backends)
        if (b.service == s.number && b.pool == pool && b.weight > 0)
          members.push_back({b.endpoint.str(), b.number, b.weight});
      std::sort(members.begin(), members.end(), [](const auto& x, const auto& y) { return x.identity < y.identity; });
      std::string signature;
      for (const auto& m : members)
        signature += m.identity + '/' + std::to_string(m.number) + '/' + std::to_string(m.weight) + ' ';
      auto& entry = kept[{s.number, pool}];
      const auto old = cache.find({s.number, pool});
      if (old != cache.end() && old->second.first == signature)
        entry = old->second;
      else
        entry = {signature, std::make_shared<const MaglevTable>(build_maglev(members))};
      if (entry.second->empty()) continue;
      out.maglev[pool] = static_cast<uint32_t>(tables_.size());
      table_of_[{s.number, pool}] = out.maglev[pool];
      tables_.push_back(entry.second);
      maglev_.push_back(entry.second->data());
    }
    {
      const teal_addr vip = out.vip;
      match_keys_.emplace_back(teal_match_key(&input.secret, out.family, &vip, out.port, out.proto, TEAL_MATCH_VIP),
                               s.number);
      match_keys_.emplace_back(teal_match_key(&input.secret, out.family, &vip, 0, 0, TEAL_MATCH_VIP_ADDRESS), s.number);
    }
  }
  cache = std::move(kept);
}

void Snapshot::add_backends(const SnapshotInput& input) {
  uint32_t top = 0;
  for (const auto& b : input.backends) top = std::max<uint32_t>(top, b.number);
  backends_.resize(top + 1);
  std::map<Address, NextHop> known;
  for (const auto& b : input.backends) {
    teal_backend& out = backends_[b.number];
    out.addr = b.endpoint.address.raw();
    out.port = teal_swap16(b.endpoint.port);
    out.family = b.endpoint.address.family;
    out.pool = b.pool;
    auto at = known.find(b.endpoint.address);
    if (at == known.end())
      at = known.emplace(b.endpoint.address, resolve_next_hop(input.topology, input.ports, b.endpoint.address)).first;
    out.hop = at->second.hop;
    const Address& configured = out.family == 4 ? input.engine.tunnel_source_ipv4 : input.engine.tunnel_source_ipv6;
    const teal_service& s = services_[b.service];
    const teal_addr source = (configured ? configured : at->second.source).raw();
    if (s.forward == TEAL_FORWARD_nat)
      out.sums = teal_nat_sums_of(s.family, &s.vip, s.port, &out.addr, out.port);
    else if (out.family == 4)
      out.tunnel4 = teal_tunnel4_of(source.v4, out.addr.v4);
    else
      out.tunnel_source = source;
    out.way = way_to(out, s.forward);
  }
}

void Snapshot::add_endpoints(const SnapshotInput& input) {
  std::map<std::pair<Endpoint, uint8_t>, std::vector<teal_endpoint_ref>> by_endpoint;
  for (const auto& b : input.backends) {
    const teal_service& s = services_[b.service];
    if (s.forward != TEAL_FORWARD_nat) continue;
    const teal_addr from = b.endpoint.address.raw();
    by_endpoint[{b.endpoint, s.proto}].push_back(
        {b.service, b.number, teal_nat_sums_of(s.family, &from, teal_swap16(b.endpoint.port), &s.vip, s.port)});
  }
  endpoints_.resize(1);
  std::map<Address, uint16_t> hosts;  // lowest number at each address: what a hairpin client is seen as
  for (const auto& [at, refs] : by_endpoint) {
    teal_endpoint e{};
    e.addr = at.first.address.raw();
    e.port = teal_swap16(at.first.port);
    e.proto = at.second;
    e.family = at.first.address.family;
    e.first = static_cast<uint32_t>(refs_.size());
    e.count = static_cast<uint32_t>(refs.size());
    match_keys_.emplace_back(teal_match_key(&input.secret, e.family, &e.addr, e.port, e.proto, TEAL_MATCH_ENDPOINT),
                             static_cast<uint32_t>(endpoints_.size()));
    for (const auto& ref : refs) {
      if (refs.size() > 1) services_[ref.service].flags |= TEAL_SERVICE_SHARED;
      refs_.push_back(ref);
      auto& host = hosts[at.first.address];
      if (host == 0 || ref.backend < host) host = ref.backend;
    }
    endpoints_.push_back(e);
  }
  view_.hairpin4 = input.engine.hairpin_ipv4.network().address.raw();
  view_.hairpin6 = input.engine.hairpin_ipv6.network().address.raw();
  view_.hairpin_mask4 = input.engine.hairpin_ipv4.length == 0 ? 0 : ~0u << (32 - input.engine.hairpin_ipv4.length);
  for (const auto& [address, number] : hosts) {
    if (address.family == 4 && (number & view_.hairpin_mask4) != 0) continue;  // the prefix is too small for its number
    const teal_addr raw = address.raw();
    teal_filter_add(view_.special, &raw);
    match_keys_.emplace_back(teal_match_key(&input.secret, address.family, &raw, 0, 0, TEAL_MATCH_BACKEND_ADDRESS),
                             number);
  }
}

void Snapshot::add_routes(const SnapshotInput& input) {
  hops_.resize(1);
  struct Entry {
    Prefix net;
    uint32_t hop;
  };
  std::map<Prefix, uint32_t> best;  // hop by network, best metric first come
  std::map<Prefix, uint32_t> metric;
  for (const Route& route : input.topology.routes) {
    const Prefix net = route.to.network();
    if (const auto at = metric.find(net); at != metric.end() && at->second <= route.metric) continue;
    metric[net] = route.metric;
    teal_hop hop{};
    if (route.ifindex != 0) {
      hop = hop_of_link(input.topology, input.ports, route.ifindex);
      if (route.gateway) set_neighbour(hop, input.topology, route.ifindex, route.gateway);
    }
    best[net] = static_cast<uint32_t>(hops_.size());
    hops_.push_back(hop);
  }
  // Neighbours are host routes, unless the routes lead elsewhere than to their link.
  for (const Neighbour& n : input.topology.neighbours) {
    if (!n.usable) continue;
    const NextHop next = resolve_next_hop(input.topology, input.ports, n.address);
    if (next.ifindex != n.ifindex || next.gateway != n.address || next.hop.state != TEAL_HOP_READY) continue;
    best[{n.address, static_cast<uint8_t>(n.address.bits())}] = static_cast<uint32_t>(hops_.size());
    hops_.push_back(next.hop);
  }
  std::map<std::pair<uint16_t, Prefix>, uint32_t> all;  // by service (0: a route) and network
  teal_route_default& quick = view_.route_default;
  for (uint64_t& mask : quick.mask) mask = ~uint64_t{0};
  for (const auto& [net, hop] : best) {
    all[{0, net}] = hop;
    const int which = net.address.family == 4 ? 0 : 1;
    const teal_addr raw = net.address.raw();
    if (net.length == 0)
      quick.hop[which] = hop;
    else if (net.length == net.address.bits())
      teal_filter_add(view_.special, &raw);
    else
      quick.mask[which] &= mask_of(net.length).halves[0];
  }
  for (const auto& [net, hop] : best) {
    const teal_addr raw = net.address.raw();
    if (net.length == 0 || net.length == net.address.bits()) continue;
    teal_filter_add_folded(quick.nets, teal_route_folded(&quick, net.address.family, &raw));
  }
  for (const auto& s : input.services) {
    if (!(services_[s.number].flags & TEAL_SERVICE_PREVIEW)) continue;
    for (const Prefix& client : s.config.preview.clients)
      if (client.address.family == services_[s.number].family) all[{s.number, client.network()}] = 1;
  }
  std::set<uint8_t, std::greater<>> lengths[2][2];  // [of previews][IPv6]
  for (const auto& [key, hop] : all)
    lengths[key.first != 0 ? 1 : 0][key.second.address.family == 6 ? 1 : 0].insert(key.second.length);
  for (int previews = 0; previews < 2; previews++)
    for (int which = 0; which < 2; which++)
      for (uint8_t l : lengths[previews][which]) {
        teal_route_lengths& list = previews ? view_.previews : view_.route_lengths;
        teal_route_length& out = list.at[which][list.count[which]++];
        out.mask = mask_of(l);
        out.length = l;
        const Prefix everywhere{{static_cast<uint8_t>(which == 0 ? 4 : 6), {}}, 0};
        if (const auto at = best.find(everywhere); l == 0 && previews == 0 && at != best.end()) out.hop = at->second;
      }

  for (uint32_t size = slots_for(all.size());; size *= 2) {
    routes_.assign(size, {});
    bool placed = true;
    for (const auto& [key, hop] : all) {
      const auto& [service, net] = key;
      const teal_addr raw = net.address.raw();
      const auto start = static_cast<uint32_t>(teal_route_hash(&input.secret, &raw, net.length, service) >> 40);
      placed = false;
      for (uint32_t i = 0; i < TEAL_MATCH_PROBES && !placed; i++) {
        teal_route_slot& slot = routes_[(start + i) & (size - 1)];
        if (slot.family != 0) continue;
        slot = {raw, hop, net.address.family, net.length, service};
        placed = true;
      }
      if (!placed) break;
    }
    if (placed) return;
  }
}

void Snapshot::build_match(const SnapshotInput& input) {
  for (const LocalAddress& local : input.topology.addresses) {
    const teal_addr raw = local.prefix.address.raw();
    teal_filter_add(view_.special, &raw);
    teal_filter_add(view_.local, &raw);
    match_keys_.emplace_back(teal_match_key(&input.secret, local.prefix.address.family, &raw, 0, 0, TEAL_MATCH_LOCAL),
                             1);
  }
  // A retired service may have left its address to a new one: the new one (higher in the list) must answer.
  std::map<uint64_t, uint32_t> keys;
  for (const auto& [key, index] : match_keys_) {
    const auto at = keys.find(key);
    if (at == keys.end() || (services_.size() > at->second && (services_[at->second].flags & TEAL_SERVICE_RETIRED)))
      keys[key] = index;
  }
  for (uint32_t size = slots_for(keys.size());; size *= 2) {
    match_.assign(size, {});
    bool placed = true;
    for (const auto& [key, index] : keys) {
      const uint32_t start = teal_match_hash(&input.secret, key);
      placed = false;
      for (uint32_t i = 0; i < TEAL_MATCH_PROBES && !placed; i++) {
        teal_match_slot& slot = match_[(start + i) & (size - 1)];
        if (slot.key != 0) continue;
        slot = {key, index, 0};
        placed = true;
      }
      if (!placed) break;
    }
    if (placed) return;
  }
}

}  // namespace teal::model
