// SPDX-License-Identifier: Apache-2.0
// The DPDK engine: EAL, ports with their taps, raw ports, one worker an lcore, and publication to all of them
// (rte_rcu_qsbr).
// One object a process (EAL is a singleton). Every call comes from the control thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataplane/counters.h"
#include "dataplane/raw_port.h"
#include "flow/storage.h"
#include "flow/table.h"
#include "model/config.h"
#include "model/snapshot.h"

namespace teal::dataplane {

struct PortState {
  std::string name, device, driver;
  model::Mac mac{};
  bool link_up = false;
  unsigned rx_queues = 0, tx_queues = 0;
  uint64_t rx_packets = 0, rx_bytes = 0, tx_packets = 0, tx_bytes = 0, rx_missed = 0;  // of the device, or the sockets
};

struct WorkerState {
  unsigned id = 0, cpu = 0;
  uint64_t rx_packets = 0;
  uint64_t busy_cycles = 0;  // TSC, on bursts that were not empty; since the start
};

class Engine {
 public:
  // Starts EAL and the devices, makes the taps; no packet moves yet. Throws std::runtime_error with one sentence:
  // unknown device, too little memory, a name that is taken, a port of engine xdp without its raw port. Ports are
  // numbered by their places in config.ports. Raw ports have no tap: what they receive for the kernel is dropped.
  Engine(const model::Config& config, flow::Storage& storage, flow::Table& table, std::vector<RawPort> raw = {});
  ~Engine();  // stops
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Ports as the topology knows them, by number. Taps exist by now, so their interface indexes are known; a raw port's
  // is that of its interface.
  [[nodiscard]] std::vector<model::PortBinding> bindings() const;

  // Makes the workers read `next` from now on; returns when no worker reads what was before, which is freed then.
  // The first call starts the workers.
  void publish(std::unique_ptr<const model::Snapshot> next);

  // Waits until every worker has passed a point at which it held nothing it had read before. Nanoseconds waited.
  uint64_t synchronize();

  [[nodiscard]] const model::Snapshot* snapshot() const;
  [[nodiscard]] uint32_t now() const;  // ticks, as the workers count them
  [[nodiscard]] Counters totals() const;
  // Adds the signals of a service, by teal_signal_index(), over all workers.
  void add_signals(uint16_t service, std::span<teal_signal_counts, 2 * TEAL_SIGNAL_GENERATIONS> sum) const;
  [[nodiscard]] std::vector<PortState> ports() const;
  [[nodiscard]] std::vector<WorkerState> workers() const;

  // An address whose next hop some worker waits for; none when there is no more.
  std::optional<model::Address> wanted_neighbour();

  void stop();  // the workers and devices; idempotent

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace teal::dataplane
