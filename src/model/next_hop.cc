// SPDX-License-Identifier: Apache-2.0
#include "next_hop.h"

#include <algorithm>
#include <cstring>

namespace teal::model {

teal_hop hop_of_link(const Topology& topology, const std::vector<PortBinding>& ports, int ifindex) {
  teal_hop hop{};
  std::vector<std::pair<uint16_t, uint16_t>> tags;  // (TPID, VLAN id), innermost first while walking down
  uint32_t mtu = 65535;
  for (int depth = 0; depth < 4 && ifindex != 0; depth++) {
    const auto link =
        std::find_if(topology.links.begin(), topology.links.end(), [&](const Link& l) { return l.ifindex == ifindex; });
    if (link != topology.links.end()) mtu = std::min(mtu, link->mtu);
    const auto port =
        std::find_if(ports.begin(), ports.end(), [&](const PortBinding& p) { return p.ifindex == ifindex; });
    if (port != ports.end()) {
      for (size_t i = port->vlan.size(); i-- > 0;)
        tags.emplace_back(i == 0 && port->vlan.size() == 2 ? TEAL_ETH_QINQ : TEAL_ETH_VLAN, port->vlan[i]);
      if (tags.size() > 2) return {};
      std::memcpy(hop.src, port->mac.data(), 6);
      hop.port = port->port;
      hop.mtu = static_cast<uint16_t>(std::min<uint32_t>(mtu, port->mtu));
      hop.state = TEAL_HOP_UNRESOLVED;
      hop.tags = static_cast<uint8_t>(tags.size());
      for (size_t i = 0; i < tags.size(); i++) {
        const auto& [tpid, id] = tags[tags.size() - 1 - i];
        hop.vlan[i] = {teal_swap16(tpid), teal_swap16(id)};
      }
      return hop;
    }
    if (link == topology.links.end() || link->parent == 0 || link->vlan == 0) return {};
    tags.emplace_back(link->qinq ? TEAL_ETH_QINQ : TEAL_ETH_VLAN, link->vlan);
    ifindex = link->parent;
  }
  return {};
}

void set_neighbour(teal_hop& hop, const Topology& topology, int ifindex, const Address& address) {
  if (hop.state == TEAL_HOP_NO_ROUTE) return;
  for (const Neighbour& n : topology.neighbours) {
    if (n.ifindex != ifindex || !n.usable || n.address != address) continue;
    std::memcpy(hop.dst, n.mac.data(), 6);
    hop.state = TEAL_HOP_READY;
    return;
  }
}

NextHop resolve_next_hop(const Topology& topology, const std::vector<PortBinding>& ports, const Address& to) {
  NextHop next;
  const Route* best = nullptr;
  for (const Route& route : topology.routes) {
    if (!route.to.contains(to)) continue;
    if (best == nullptr || route.to.length > best->to.length ||
        (route.to.length == best->to.length && route.metric < best->metric))
      best = &route;
  }
  if (best == nullptr || best->ifindex == 0) return next;
  next.ifindex = best->ifindex;
  next.gateway = best->gateway ? best->gateway : to;
  next.source = best->source;
  if (!next.source) {
    for (const LocalAddress& local : topology.addresses)
      if (local.ifindex == best->ifindex && local.prefix.address.family == to.family &&
          local.prefix.length < to.bits()) {
        next.source = local.prefix.address;
        break;
      }
  }
  next.hop = hop_of_link(topology, ports, best->ifindex);
  set_neighbour(next.hop, topology, best->ifindex, next.gateway);
  return next;
}

}  // namespace teal::model
