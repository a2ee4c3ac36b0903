// SPDX-License-Identifier: Apache-2.0
// All that the packet path reads besides the flow table and the splits, immutable, built whole on a control thread and
// replaced whole (RCU). `View` is its face for the engines: plain pointers into arrays of the shared definition.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/maglev.h"
#include "model/topology.h"
#include "teal/route.h"
#include "teal/service.h"

namespace teal::model {

// Of a service: by what Maglev table its pools' packets are decided when they need no look at the flow table. 32 bytes,
// so that an index is a shift.
struct alignas(32) Settling {
  uint32_t group = 0;
  // By the word of the group, so by 1 + the pool; nullptr: the table must be asked.
  const uint16_t* maglev[3] = {nullptr, nullptr, nullptr};
};

struct View {
  const teal_service* services = nullptr;  // by number
  uint32_t service_count = 0;              // highest number + 1
  const teal_backend* backends = nullptr;  // by number
  uint32_t backend_count = 0;
  const teal_match_slot* match = nullptr;
  uint32_t match_mask = 0;
  const teal_endpoint* endpoints = nullptr;  // index 0 unused
  uint32_t endpoint_count = 0;
  const teal_endpoint_ref* refs = nullptr;
  uint32_t ref_count = 0;
  const Settling* settling = nullptr;       // by service
  const uint16_t* const* maglev = nullptr;  // tables of maglev_slots backend numbers; 0: nullptr
  const teal_route_slot* routes = nullptr;
  uint32_t route_mask = 0;  // slots - 1
  teal_route_lengths route_lengths{};
  teal_route_lengths previews{};
  teal_route_default route_default{};
  const teal_hop* hops = nullptr;  // by the route table's index; 0: no route
  uint32_t hop_count = 0;
  uint64_t local[TEAL_FILTER_BITS / 64]{};    // filter of the host's own addresses
  uint64_t special[TEAL_FILTER_BITS / 64]{};  // of NAT backends, the host itself, and whoever has a route of his own
  teal_addr hairpin4{}, hairpin6{};           // network part; the backend's number is added to the last 32 bits
  uint32_t hairpin_mask4 = 0;                 // host order; ~0: none
};

// A port of an engine as the topology knows it.
struct PortBinding {
  uint16_t port = 0;  // engine's number
  int ifindex = 0;    // of its tap
  Mac mac{};
  uint16_t mtu = 1500;
  std::vector<uint16_t> vlan;
};

struct SnapshotService {
  uint16_t number = 0;
  ServiceConfig config;  // pools are not read: backends stand in SnapshotInput::backends
  uint16_t group = 0;    // index of its split
  bool retired = false;
  int preview_pool = -1;  // which pool preview clients see; -1: none now
};

struct SnapshotBackend {
  uint16_t number = 0;
  uint16_t service = 0;
  uint8_t pool = 0;
  Endpoint endpoint;
  uint32_t weight = 0;  // of new flows: 0 when drained, down, removed
};

struct SnapshotInput {
  teal_secret secret{};
  EngineConfig engine;
  std::vector<SnapshotService> services;
  std::vector<SnapshotBackend> backends;
  std::vector<PortBinding> ports;
  Topology topology;
};

// Where packets to an address go, and what to ask the kernel when its MAC address is not known.
struct NextHop {
  teal_hop hop{};
  int ifindex = 0;
  Address gateway;  // whose MAC address it is
  Address source;   // the kernel's source address for it
};

// Keeps Maglev tables by their membership, so that only what changed is built anew.
using MaglevCache = std::map<std::pair<uint16_t, uint8_t>, std::pair<std::string, std::shared_ptr<const MaglevTable>>>;

class Snapshot {
 public:
  // Throws std::runtime_error when the match table cannot be built (two keys of one hash: 1 in 2^56).
  Snapshot(const SnapshotInput& input, MaglevCache& cache);
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  [[nodiscard]] const View& view() const { return view_; }
  [[nodiscard]] std::shared_ptr<const MaglevTable> maglev(uint16_t service, uint8_t pool) const;

 private:
  void add_services(const SnapshotInput& input, MaglevCache& cache);
  void add_backends(const SnapshotInput& input);
  void add_endpoints(const SnapshotInput& input);
  void add_routes(const SnapshotInput& input);
  void build_match(const SnapshotInput& input);

  View view_;
  std::vector<teal_service> services_;
  std::vector<teal_backend> backends_;
  std::vector<teal_match_slot> match_;
  std::vector<std::pair<uint64_t, uint32_t>> match_keys_;
  std::vector<teal_endpoint> endpoints_;
  std::vector<teal_endpoint_ref> refs_;
  std::vector<std::shared_ptr<const MaglevTable>> tables_;
  std::vector<const uint16_t*> maglev_;
  std::vector<Settling> settling_;
  std::map<std::pair<uint16_t, uint8_t>, uint32_t> table_of_;
  std::vector<teal_route_slot> routes_;
  std::vector<teal_hop> hops_;
};

// The next hop for `to` by the kernel's routes and neighbours, longest prefix first.
NextHop resolve_next_hop(const Topology& topology, const std::vector<PortBinding>& ports, const Address& to);

}  // namespace teal::model
