// SPDX-License-Identifier: Apache-2.0
// The connections of a load on a running teald: which sends next, as what frame, and what became of the frame. A frame
// carries its number, its flow and the time when it left in its TCP payload; that teald sends it to a backend shows by
// its addresses.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace teal::perf {

struct Stamp {
  uint32_t sequence, flow;
  uint64_t tsc;
};

struct Segment {
  uint32_t flow;
  uint8_t tcp_flags;
  uint64_t backend =
      0;  // not 0: it answers the client; address and port as they stand in a frame: address << 16 | port
};

// Frames between clients and one VIP: service 0 listens on port 80, service i on 10,000 + i.
class Frames {
 public:
  static constexpr unsigned bytes = 70;  // without FCS
  explicit Frames(uint32_t services) : services_(services) {}
  // Every checksum is right.
  void write(uint8_t* frame, const Segment& segment, const Stamp& stamp) const;
  // What teald sent: false when it is none of ours.
  static bool read(const uint8_t* frame, unsigned length, Segment& segment, Stamp& stamp);

 private:
  uint32_t services_;
};

// A fixed number of connections at a time, each in its place. Those in even places last; of those in odd ones one in so
// many frames makes one end (RST) and the next begin in its place (SYN, then data). Backends answer SYNs, and nothing
// else.
class Flows {
 public:
  struct Seen {  // of what came back
    uint64_t moved = 0, reordered = 0;
  };

  // `count`: a power of two. `frames_a_syn`: how many frames there are for one SYN.
  Flows(uint32_t count, uint32_t frames_a_syn);

  // New flows in all places: next() first ends those that were (count() RSTs: a table is full of flows that nobody ends
  // before long), then opens the new ones (as many SYNs, as many ACKs).
  void renew();
  Segment next();

  // A frame that came back. A flow that is seen at two backends is moved.
  void seen(const Segment& segment, const Stamp& stamp, Seen& counts);

  [[nodiscard]] uint32_t count() const { return mask_ + 1; }

 private:
  struct Place {
    uint32_t flow = 0;
    uint32_t answered = UINT32_MAX;  // the flow that the next two are of
    uint32_t last = 0;               // sequence
    uint64_t backend = 0;            // 0: not seen yet
  };

  std::vector<Place> places_;
  std::vector<Segment> answers_;  // of backends to SYNs, to be sent
  uint32_t mask_, frames_a_syn_;
  uint32_t renewed_;  // of 3 * count() frames: ends, SYNs, ACKs
  uint32_t until_turn_, turning_ = 1, turn_step_ = 0;
  uint32_t state_ = 1;
};

}  // namespace teal::perf
