// SPDX-License-Identifier: Apache-2.0
// What a test can ask of an engine, whatever carries its packets: publish, switch, let time pass, send, look.
#pragma once

#include <array>
#include <chrono>
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
#include "teal/signals.h"
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
  uint16_t number = 0;      // its backend's
};

// Signals of one service by teal_signal_index(): pool, and the low bits of the generation.
constexpr size_t signals_per_service = size_t{2} * TEAL_SIGNAL_GENERATIONS;
using Signals = std::array<teal_signal_counts, signals_per_service>;

// What an engine has counted since it was made. Services and backends by number, as many as are published.
struct Counts {
  std::array<uint64_t, TEAL_DROP_COUNT> drop{};
  std::array<uint64_t, TEAL_EV_COUNT> event{};
  std::vector<teal_service_counts> service;
  std::vector<teal_backend_counts> backend;
  std::vector<Signals> signals;                                      // by service
  std::vector<std::array<uint64_t, signals_per_service>> timed_out;  // half-open entries that the sweeper removed
};

// Every signal of one pool and generation by its name: "begun", "handshake 3" (a bucket), "timed_out"; and its place,
// "green 2": the pool and the low bits of the generation.
std::map<std::string, uint64_t> named_signals(const Counts& counts, size_t service, size_t index);
std::string signal_place(size_t index);

// A split as a rollout may order it: every bit of the word but the generation, which is the next one.
struct SplitOrder {
  uint32_t share = 0;  // green's, of 65,536
  model::Pool active = model::Pool::blue;
  bool draining = true, ignore_affinity = false, rolled_back = false;
};

// Time passes in milliseconds or in fine ticks of the packet path's clock; both are whole numbers of these.
using FineTicks = std::chrono::duration<uint64_t, std::ratio<1, TEAL_FINE_TICKS_PER_S>>;
using TestTime = std::chrono::duration<uint64_t, std::ratio<1, TEAL_FINE_TICKS_PER_S * 1000>>;

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
  virtual void set_split(const std::string& service, const SplitOrder& order) = 0;
  // The old pool has run out of flows: the same decision and generation, nothing left to recover.
  virtual void drained(const std::string& service) = 0;
  virtual void set_backend(const std::string& service, const std::string& backend, std::optional<uint32_t> weight,
                           std::optional<uint8_t> state) = 0;

  // Lets time pass: the clock moves, held packets and reassembly are looked after. What leaves because of it.
  virtual std::vector<Output> advance(TestTime time) = 0;

  // Frames that come in on `port`, one burst. What leaves because of them, in order by port, ports before taps.
  virtual std::vector<Output> run(uint16_t port, const std::vector<Bytes>& frames) = 0;

  virtual std::optional<FlowEntry> flow(const std::string& service, const model::Endpoint& client) const = 0;

  // The affinity entry of the client's prefix, no matter whether it still binds.
  virtual std::optional<FlowEntry> affinity(const std::string& service, const model::Address& client) const = 0;
  virtual uint64_t affinity_entries() const = 0;  // of all services
  // The service's number; throws when there is none.
  virtual uint16_t number_of(const std::string& service) const = 0;

  // Another holder, who gets no CPU, takes every key's lock, or lets all of them go.
  virtual void take_locks(bool taken) = 0;
  // One whole walk of teald's sweeper: what has outlived its timeout goes.
  virtual void sweep() = 0;
  // Walks of the sweeper that take nothing away, until all has settled that may. `data`: as if every established
  // connection's backend had sent some.
  virtual void settle(bool data) = 0;

  virtual std::span<const teal_bucket> buckets() const = 0;
  virtual Counts counts() const = 0;

  // Every drop reason ("drop.NAME") and event ("NAME") of counts().
  std::map<std::string, uint64_t> counters() const;

  // Packet buffers that are neither free nor held on purpose (by neighbours and reassembly); must read 0 at the end.
  virtual uint64_t close_and_count_leaks() = 0;
};

}  // namespace teal::tests
