// SPDX-License-Identifier: Apache-2.0
// A port whose interface stays with the kernel: workers reach it by queues of plain frames (AF_XDP sockets in teald).
// What arrives there is what the XDP program leaves to a worker, counted as received by the program already.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/address.h"

namespace teal::dataplane {

using Segment = std::span<const uint8_t>;

// receive, send, flush and awaited are called by the one worker that owns the queue; they must not block, throw or
// allocate.
class RawQueue {
 public:
  using Take = void (*)(void* context, Segment frame);
  struct Counts {  // of whole frames through the queue; worker: rw, control: ro
    uint64_t rx_packets = 0, rx_bytes = 0, tx_packets = 0, tx_bytes = 0;
  };

  RawQueue() = default;
  RawQueue(const RawQueue&) = delete;
  RawQueue& operator=(const RawQueue&) = delete;
  virtual ~RawQueue() = default;

  // Calls `take` with at most `max` frames, oldest first; the bytes are valid during the call. How many.
  virtual unsigned receive(unsigned max, Take take, void* context) = 0;
  // Takes the frame that the segments make up; it leaves at the next flush. False: no room, or too large.
  virtual bool send(const Segment* segments, unsigned count) = 0;
  virtual void flush() = 0;
  // A descriptor that can be read (poll(2)) when there is a frame to receive, for who does not look meanwhile. -1: he
  // has to: there is none, or frames still wait for a flush.
  [[nodiscard]] virtual int awaited() const { return -1; }
  // Frames that were meant for the queue and found no room. Called by the control thread.
  [[nodiscard]] virtual uint64_t missed() const { return 0; }

  Counts counts;  // kept by the dataplane
};

struct RawPort {
  uint16_t number = 0;  // its place in config.ports
  std::string name;     // as the configuration has it
  std::string device;   // the interface
  model::Mac mac{};
  int ifindex = 0;
  uint16_t mtu = 1500;
  std::vector<std::shared_ptr<RawQueue>> queues;  // at least one
};

}  // namespace teal::dataplane
