// SPDX-License-Identifier: Apache-2.0
// What a test can ask of an engine, whatever carries its packets: publish, switch, let time pass, send, look.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/topology.h"
#include "teal/layout.h"
#include "teal/xdp.h"

namespace teal::tests {

using Bytes = std::vector<uint8_t>;

// The port `number` of a case: as the configuration has it, and what the kernel would know of its tap.
struct PortSetup {
  model::Mac mac{};
  int ifindex = 0;
  uint16_t mtu = 1500;
  std::vector<uint16_t> vlan;
};

struct World {
  std::vector<PortSetup> ports;
  model::Topology topology;
};

// A frame that left: through a port, or to the kernel through the port's tap.
struct Output {
  bool kernel = false;
  uint16_t port = 0;
  Bytes frame;
};

struct FlowEntry {
  std::string backend;      // its name
  std::string pool;         // "blue", "green"
  std::string state;        // of TEAL_FLOW_STATES
  uint64_t generation = 0;  // low 5 bits
};

// What an engine has counted since it was made. Services and backends by number, as many as are published.
struct Counts {
  std::array<uint64_t, TEAL_DROP_COUNT> drop{};
  std::array<uint64_t, TEAL_EV_COUNT> event{};
  std::vector<teal_service_counts> service;
  std::vector<teal_backend_counts> backend;
};

// A table's secret out of a number: two engines with one secret make the same choices and fill the same slots.
teal_secret secret_of(uint64_t seed);

class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  // Reads services and engine settings of the YAML text. A second time: a reload. Throws with the first error of a bad
  // text.
  virtual void publish(const std::string& config, const World& world) = 0;

  // As the control socket does it: one store, previous first. `reset`: also marks the flows of the pool that is left.
  virtual void cutover(const std::string& service, model::Pool to) = 0;
  virtual void rollback(const std::string& service, bool reset) = 0;
  // Green's share of new flows, of 65,536, as a next generation.
  virtual void set_share(const std::string& service, uint32_t share) = 0;
  virtual void set_backend(const std::string& service, const std::string& backend, std::optional<uint32_t> weight,
                           std::optional<uint8_t> state) = 0;

  // Lets `ms` pass: the clock moves, held packets and reassembly are looked after. What leaves because of it.
  virtual std::vector<Output> advance(uint64_t ms) = 0;

  // Frames that come in on `port`, one burst. What leaves because of them, in order by port, ports before taps.
  virtual std::vector<Output> run(uint16_t port, const std::vector<Bytes>& frames) = 0;

  virtual std::optional<FlowEntry> flow(const std::string& service, const model::Endpoint& client) const = 0;

  // One whole walk of teald's sweeper: what has outlived its timeout goes.
  virtual void sweep() = 0;

  virtual std::span<const teal_bucket> buckets() const = 0;
  virtual Counts counts() const = 0;

  // Every drop reason ("drop.NAME") and event ("NAME") of counts().
  std::map<std::string, uint64_t> counters() const;

  // Packet buffers that are neither free nor held on purpose (by neighbours and reassembly); must read 0 at the end.
  virtual uint64_t close_and_count_leaks() = 0;
};

}  // namespace teal::tests
