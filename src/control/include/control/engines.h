// SPDX-License-Identifier: Apache-2.0
// The engines as the balancer sees them: the DPDK workers, and beside them the XDP program where there are xdp ports.
// What is published reaches both; what is counted is the sum of both.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dataplane/engine.h"
#include "model/snapshot.h"
#include "rollout/signals.h"

namespace teal::xdp {
class Engine;
}

namespace teal::control {

class Engines {
 public:
  // `fast_path`: nullptr when there is no xdp port. Both must outlive this object.
  explicit Engines(dataplane::Engine& workers, xdp::Engine* fast_path = nullptr)
      : workers_(workers), fast_path_(fast_path) {}

  // All ports, by number.
  [[nodiscard]] std::vector<model::PortBinding> bindings() const { return workers_.bindings(); }

  // Makes both read `next` from now on; returns when nobody reads what was before. The first call starts the workers
  // and attaches the program. Throws std::runtime_error when `next` is more than the program's tables hold; both keep
  // what they had then.
  void publish(std::unique_ptr<const model::Snapshot> next);

  // Waits until no engine can act on what it had read before. Nanoseconds waited for both, one after the other.
  uint64_t synchronize();

  [[nodiscard]] const model::Snapshot* snapshot() const { return workers_.snapshot(); }
  [[nodiscard]] uint32_t now() const { return workers_.now(); }  // ticks
  // Sums over workers and CPUs. The program's counters outlive a restart, the workers' begin at 0.
  [[nodiscard]] dataplane::Counters totals() const;
  // What the packets say of a service's pool since the start: of flows entered under `generation` (its low two bits
  // count), or under all. Half-open entries that timed out are the sweeper's to add.
  [[nodiscard]] rollout::PoolSignals signals(uint16_t service, model::Pool pool,
                                             std::optional<uint64_t> generation = std::nullopt) const;
  [[nodiscard]] std::vector<dataplane::PortState> ports() const;  // driver of an xdp port: "xdp native (virtio_net)"
  [[nodiscard]] std::vector<dataplane::WorkerState> workers() const { return workers_.workers(); }
  std::optional<model::Address> wanted_neighbour() { return workers_.wanted_neighbour(); }

 private:
  dataplane::Engine& workers_;
  xdp::Engine* fast_path_;
};

}  // namespace teal::control
