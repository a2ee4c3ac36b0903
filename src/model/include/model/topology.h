// SPDX-License-Identifier: Apache-2.0
// What the kernel knows of the network around the host, as plain values. src/host fills it from netlink.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/address.h"

namespace teal::model {

struct Link {
  int ifindex = 0;
  std::string name;
  Mac mac{};
  uint32_t mtu = 0;  // bytes
  bool up = false;
  int parent = 0;     // ifindex of the link below, for VLAN links; else 0
  uint16_t vlan = 0;  // VLAN id, for VLAN links; else 0
  bool qinq = false;  // VLAN link of 802.1ad
  bool operator==(const Link&) const = default;
};

struct Route {
  Prefix to;
  int ifindex = 0;  // where it leads; 0 for unreachable, blackhole, prohibit
  Address gateway;  // none: on-link
  Address source;   // the kernel's preferred source, if it names one
  uint32_t metric = 0;
  bool operator==(const Route&) const = default;
};

struct Neighbour {
  int ifindex = 0;
  Address address;
  Mac mac{};            // meaningful when usable
  bool usable = false;  // the kernel would send to `mac` now (REACHABLE, STALE, DELAY, PROBE, PERMANENT, NOARP)
  bool operator==(const Neighbour&) const = default;
};

// Interface addresses, needed as tunnel sources.
struct LocalAddress {
  int ifindex = 0;
  Prefix prefix;
  bool operator==(const LocalAddress&) const = default;
};

struct Topology {
  std::vector<Link> links;
  std::vector<LocalAddress> addresses;
  std::vector<Route> routes;  // of the main table, unicast, unreachable, blackhole; best first by (length, metric)
  std::vector<Neighbour> neighbours;
  bool operator==(const Topology&) const = default;
};

}  // namespace teal::model
