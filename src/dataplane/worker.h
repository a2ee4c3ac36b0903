// SPDX-License-Identifier: Apache-2.0
// A worker: receive, process, send, over all queues that are its own, until it is told to stop.
#pragma once

#include <poll.h>
#include <rte_rcu_qsbr.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "dataplane/pipeline.h"
#include "flow/storage.h"

namespace teal::dataplane {

struct Receive {  // a queue that this worker polls
  uint16_t ethdev = 0;
  uint16_t queue = 0;
  uint16_t port = 0;  // teal's number
  bool tap = false;   // frames of the kernel, sent out of the port as they are
};

struct RawReceive {  // the same of a raw port
  RawQueue* queue = nullptr;
  uint16_t port = 0;
  rte_mempool* pool = nullptr;  // for the frames' copies
};

struct Relay {  // a ring of other workers' packets for a TX queue that this worker owns
  rte_ring* ring = nullptr;
  uint16_t ethdev = 0;
  uint16_t queue = 0;
  RawQueue* raw = nullptr;  // in place of ethdev and queue
};

class Worker {
 public:
  Worker(unsigned id, const Pipeline::Shared& shared, const std::atomic<const model::View*>& view, flow::Storage& clock,
         rte_rcu_qsbr* qsbr, bool adaptive, const std::vector<model::PortConfig>& ports);

  Sink& sink() { return sink_; }
  void add(const Receive& r) { receive_.push_back(r); }
  void add(const RawReceive& r) {
    raw_.push_back(r);
    awaited_.emplace_back();
  }
  void add(const Relay& r) { relays_.push_back(r); }
  [[nodiscard]] const Counters& counters() const { return counters_; }

  void run(const std::atomic<bool>& stop);  // on its own lcore

 private:
  unsigned poll(const model::View& view);
  void from_kernel(rte_mbuf** packets, unsigned n, uint16_t port);
  void read_clock(uint64_t tsc);
  void rest(unsigned idle_rounds);
  bool await_frames();

  const unsigned id_;
  Counters counters_;
  Sink sink_;
  Pipeline pipeline_;
  const std::atomic<const model::View*>& view_;
  flow::Storage& clock_;
  rte_rcu_qsbr* qsbr_;
  const bool adaptive_;
  std::vector<std::vector<uint16_t>> vlan_;  // by port
  std::vector<Receive> receive_;
  std::vector<RawReceive> raw_;
  std::vector<pollfd> awaited_;  // one for each of them
  std::vector<Relay> relays_;
  uint32_t now_ = 0;
  uint64_t tsc_ = 0, next_clock_ = 0, next_housekeeping_ = 0;
};

}  // namespace teal::dataplane
