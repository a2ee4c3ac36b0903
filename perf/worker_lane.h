// SPDX-License-Identifier: Apache-2.0
// One worker's loop over a Source: the real Pipeline and Sink on one side, the same loop without them on the other.
// What leaves goes to a queue of net_null, which frees it.
#pragma once

#include <cstdint>
#include <memory>

#include "bench_world.h"
#include "dataplane/pipeline.h"
#include "worker_model.h"
#include "worker_source.h"

namespace teal::perf {

// Starts EAL without hugepages, PCI or shared files, and a net_null device with `queues` queues. Once a process.
// Throws std::runtime_error.
void start_dpdk(unsigned queues);

struct Window {
  double cycles = 0;  // a packet: TSC, of the thread's own CPU time
  uint64_t packets = 0;
};

class Lane {
 public:
  // `queue`: of the device; a lane a thread. Throws std::runtime_error.
  Lane(BenchWorld& world, uint16_t queue);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Sends packets through the stages, or without them. The clock of the stages moves on by a second each
  // `packets_per_s` packets. Throws std::runtime_error when not every packet became what `traffic` is about.
  Window forward(Source& source, const Traffic& traffic, uint64_t packets, double packets_per_s);
  // `model`: stands in the place of the stages.
  Window floor(Source& source, const Traffic& traffic, uint64_t packets, Model* model = nullptr);

  // Of the flows that SYNs began. Removes them from the table again.
  void forget(uint32_t first, uint32_t end) { world_.remove(first, end); }
  [[nodiscard]] rte_mempool* pool() const { return pool_; }
  [[nodiscard]] uint64_t untracked() const { return counted().untracked; }  // flows that found no place

 private:
  struct Counted {
    uint64_t forwarded, replies, fresh, dropped, untracked;
  };
  [[nodiscard]] Counted counted() const;
  void require(const Counted& before, uint64_t packets, uint64_t replies, uint64_t syns) const;

  BenchWorld& world_;
  const uint16_t queue_;
  rte_mempool* pool_ = nullptr;
  rte_ring* wanted_ = nullptr;
  dataplane::Counters counters_;
  dataplane::Sink sink_;
  std::unique_ptr<dataplane::Pipeline> pipeline_;
  double clock_;  // fine ticks
};

}  // namespace teal::perf
