// SPDX-License-Identifier: Apache-2.0
#include "netlink_values.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/vlan.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>

#include <algorithm>
#include <cstring>
#include <tuple>

namespace teal::host {
namespace {

using model::Address;

template <class T, class F>
void each(nl_cache* cache, F f) {
  for (nl_object* o = nl_cache_get_first(cache); o != nullptr; o = nl_cache_get_next(o)) f(reinterpret_cast<T*>(o));
}

// None for a null pointer or a family other than IPv4 and IPv6.
Address address_of(nl_addr* from) {
  Address a;
  if (from == nullptr) return a;
  const int family = nl_addr_get_family(from);
  if (family != AF_INET && family != AF_INET6) return a;
  a.family = family == AF_INET ? 4 : 6;
  // A default route's destination has no bytes at all.
  const size_t n = std::min<size_t>(nl_addr_get_len(from), a.bits() / 8);
  if (n > 0) std::memcpy(a.bytes.data(), nl_addr_get_binary_addr(from), n);
  return a;
}

// All zero when the device has no six-byte address.
model::Mac mac_of(nl_addr* from) {
  model::Mac mac{};
  if (from != nullptr && nl_addr_get_len(from) == mac.size())
    std::memcpy(mac.data(), nl_addr_get_binary_addr(from), mac.size());
  return mac;
}

// Unspecified, loopback, multicast, limited broadcast: never the address of a neighbour that teal sends to.
bool is_special(const Address& a) {
  if (a.family == 4) return a.bytes[0] == 0 || a.bytes[0] == 127 || a.bytes[0] >= 224;
  Address loopback{6, {}};
  loopback.bytes[15] = 1;
  return a.bytes[0] == 0xff || a == Address{6, {}} || a == loopback;
}

rtnl_nexthop* next_hop_of(rtnl_route* route) {
  rtnl_nexthop* second_best = nullptr;
  // Of a multipath route teal takes the first next hop that works: the choice among paths is made per flow by
  // whoever routes to the backends, and a flow that teal holds must not be spread over several ways anyhow.
  for (int i = 0; i < rtnl_route_get_nnexthops(route); ++i) {
    rtnl_nexthop* hop = rtnl_route_nexthop_n(route, i);
    const unsigned flags = rtnl_route_nh_get_flags(hop);
    if ((flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) == 0) return hop;
    // The kernel goes on using a next hop without carrier (ignore_routes_with_linkdown is off), but not a dead one.
    if ((flags & RTNH_F_DEAD) == 0 && second_best == nullptr) second_best = hop;
  }
  return second_best;
}

}  // namespace

std::vector<model::Link> links_of(nl_cache* links) {
  std::vector<model::Link> out;
  each<rtnl_link>(links, [&](rtnl_link* from) {
    if (rtnl_link_get_family(from) != AF_UNSPEC) return;  // a bridge port's second object of the same interface
    model::Link link;
    link.ifindex = rtnl_link_get_ifindex(from);
    if (const char* name = rtnl_link_get_name(from)) link.name = name;
    link.mac = mac_of(rtnl_link_get_addr(from));
    link.mtu = rtnl_link_get_mtu(from);
    // Up as an operator means it: switched on, and able to carry packets.
    constexpr unsigned up = IFF_UP | IFF_RUNNING;
    link.up = (rtnl_link_get_flags(from) & up) == up;
    // IFLA_LINK is asked of VLAN links only: a veth's is its peer, which may be of another namespace.
    if (rtnl_link_is_vlan(from)) {
      link.parent = rtnl_link_get_link(from);
      link.vlan = static_cast<uint16_t>(rtnl_link_vlan_get_id(from));
      link.qinq = rtnl_link_vlan_get_protocol(from) == htons(ETH_P_8021AD);
    }
    out.push_back(std::move(link));
  });
  std::ranges::sort(out, {}, &model::Link::ifindex);
  return out;
}

std::vector<model::LocalAddress> addresses_of(nl_cache* addresses) {
  std::vector<model::LocalAddress> out;
  each<rtnl_addr>(addresses, [&](rtnl_addr* from) {
    const Address address = address_of(rtnl_addr_get_local(from));
    if (!address) return;
    out.push_back({rtnl_addr_get_ifindex(from), {address, static_cast<uint8_t>(rtnl_addr_get_prefixlen(from))}});
  });
  std::ranges::sort(out, {}, [](const model::LocalAddress& a) { return std::tie(a.ifindex, a.prefix); });
  return out;
}

std::vector<model::Neighbour> neighbours_of(nl_cache* neighbours, nl_cache* links) {
  std::vector<int> loopbacks;
  each<rtnl_link>(links, [&](rtnl_link* link) {
    if ((rtnl_link_get_flags(link) & IFF_LOOPBACK) != 0) loopbacks.push_back(rtnl_link_get_ifindex(link));
  });

  std::vector<model::Neighbour> out;
  each<rtnl_neigh>(neighbours, [&](rtnl_neigh* from) {
    model::Neighbour n;
    n.ifindex = rtnl_neigh_get_ifindex(from);
    n.address = address_of(rtnl_neigh_get_dst(from));  // none: a bridge's forwarding entry
    if (!n.address || is_special(n.address) || std::ranges::count(loopbacks, n.ifindex) > 0) return;
    if ((rtnl_neigh_get_flags(from) & NTF_PROXY) != 0) return;
    n.mac = mac_of(rtnl_neigh_get_lladdr(from));  // the kernel tells one only of entries that it would send to
    if ((n.mac[0] & 1) != 0) return;              // a group address: a subnet's broadcast address has such an entry
    constexpr int usable = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
    n.usable = (rtnl_neigh_get_state(from) & usable) != 0;
    out.push_back(n);
  });
  std::ranges::sort(out, {}, [](const model::Neighbour& n) { return std::tie(n.ifindex, n.address); });
  return out;
}

bool is_static(nl_cache* neighbours, int ifindex, const model::Address& address) {
  bool found = false;
  each<rtnl_neigh>(neighbours, [&](rtnl_neigh* from) {
    if (rtnl_neigh_get_ifindex(from) == ifindex && (rtnl_neigh_get_state(from) & (NUD_PERMANENT | NUD_NOARP)) != 0)
      found = found || address_of(rtnl_neigh_get_dst(from)) == address;
  });
  return found;
}

std::optional<model::Route> route_of(rtnl_route* from) {
  if (rtnl_route_get_table(from) != RT_TABLE_MAIN || (rtnl_route_get_flags(from) & RTM_F_CLONED) != 0) return {};
  if (rtnl_route_get_tos(from) != 0) return {};
  nl_addr* to = rtnl_route_get_dst(from);
  model::Route route;
  route.to.address = address_of(to);
  if (!route.to.address) return {};
  route.to.length = static_cast<uint8_t>(nl_addr_get_prefixlen(to));
  route.metric = rtnl_route_get_priority(from);
  route.source = address_of(rtnl_route_get_pref_src(from));
  switch (rtnl_route_get_type(from)) {
    case RTN_UNREACHABLE:
    case RTN_BLACKHOLE:
    case RTN_PROHIBIT:
      return route;  // ifindex 0
    case RTN_UNICAST: {
      rtnl_nexthop* hop = next_hop_of(from);
      if (hop == nullptr) return {};
      route.ifindex = rtnl_route_nh_get_ifindex(hop);
      route.gateway = address_of(rtnl_route_nh_get_gateway(hop));
      // RFC 8950: an IPv4 route through an IPv6 gateway.
      if (!route.gateway) route.gateway = address_of(rtnl_route_nh_get_via(hop));
      return route;
    }
    default:
      return {};
  }
}

void sort_routes(std::vector<model::Route>& routes) {
  std::ranges::sort(routes, [](const model::Route& a, const model::Route& b) {
    return std::tie(b.to.length, a.metric, a.to.address, a.ifindex, a.gateway, a.source) <
           std::tie(a.to.length, b.metric, b.to.address, b.ifindex, b.gateway, b.source);
  });
}

}  // namespace teal::host
