// SPDX-License-Identifier: Apache-2.0
// From libnl's objects to the model's values. Nothing here talks to the kernel.
#pragma once

#include <netlink/cache.h>
#include <netlink/route/route.h>

#include <optional>
#include <vector>

#include "model/topology.h"

namespace teal::host {

// Each list is sorted, so that equal contents compare equal whatever the order in which the kernel told them.
std::vector<model::Link> links_of(nl_cache* links);
std::vector<model::LocalAddress> addresses_of(nl_cache* addresses);

// Leaves out what no packet is sent to through a resolved MAC address: multicast, broadcast, loopback, proxy entries.
std::vector<model::Neighbour> neighbours_of(nl_cache* neighbours, nl_cache* links);

// Whether a person, or a daemon, gave the kernel this neighbour's MAC address for good (permanent, noarp).
bool is_static(nl_cache* neighbours, int ifindex, const model::Address& address);

// Nothing for a route that does not say where an ordinary packet goes: another table than main, local, broadcast,
// multicast, throw, one for a type of service only, one whose every next hop is dead.
std::optional<model::Route> route_of(rtnl_route* route);

// Longest prefix first, then lowest metric: the first that contains an address is the one that counts.
void sort_routes(std::vector<model::Route>& routes);

}  // namespace teal::host
