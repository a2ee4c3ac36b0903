// SPDX-License-Identifier: Apache-2.0
// Shared by next_hop.cc and snapshot.cc only.
#pragma once

#include "model/snapshot.h"

namespace teal::model {

// The hop that leaves by link `ifindex` (a port's tap, or VLAN links above it); state NO_ROUTE when no port is below
// it.
teal_hop hop_of_link(const Topology& topology, const std::vector<PortBinding>& ports, int ifindex);

// Fills the MAC address of `address` on `ifindex` in, and READY; UNRESOLVED when the kernel does not know it.
void set_neighbour(teal_hop& hop, const Topology& topology, int ifindex, const Address& address);

}  // namespace teal::model
