// SPDX-License-Identifier: Apache-2.0
// A window of load: frames at a rate for a time, and what came back of them.
#pragma once

#include <rte_mempool.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "load_cutover.h"
#include "load_flows.h"

namespace teal::perf {

struct Millisecond {        // of a window, by the time of sending
  uint32_t first = 0;       // number of its first frame
  uint32_t refused = 0;     // frames that the ring had no room for
  uint32_t lost = 0;        // taken by the ring, not come back
  float standstill_us = 0;  // longest time that this program did not run, ended in it
  float silence_us = 0;     // longest time without an answer that ended in it, less what this program did not run
};

struct Outcome {
  uint64_t sent = 0;         // taken by the ring to teald
  uint64_t refused = 0;      // lost before teald
  uint64_t not_offered = 0;  // due while this program did not run, and left out
  uint64_t received = 0, lost = 0, twice = 0, strange = 0;
  uint64_t syns = 0;
  std::vector<Cutover> cutovers;
  Flows::Seen seen;
  double seconds = 0;
  double longest_silence_us = 0;     // between answers, less what this program did not run
  double longest_standstill_us = 0;  // of this program
  uint64_t standstill_us = 0;
  uint64_t began_epoch_ns = 0;
  std::vector<uint32_t> round_trip_us;  // frames by microseconds; the last: all above
  std::vector<Millisecond> milliseconds;
};

struct Load {
  double frames_per_s = 0, seconds = 0;
  double cutovers_per_s = 0;
};

struct Limits {
  uint32_t behind = 1024;  // frames made up for after a standstill of this program; what was due besides is not offered
  uint32_t sleep_us = 0;   // see rest()
};

class Window {
 public:
  // `switcher` may be null when no cutover will be asked for.
  Window(rte_mempool* pool, const Frames& frames, Flows& flows, Switcher* switcher, Limits limits);

  // Throws std::runtime_error.
  Outcome run(const Load& load);

 private:
  void send(unsigned count, uint64_t tsc);
  void take_turn(uint64_t tsc);
  void rest(uint64_t tsc);
  void stood_still(uint64_t ticks, uint64_t until);
  unsigned receive();
  void await_rest();
  void count_lost();
  [[nodiscard]] Millisecond& millisecond(uint64_t tsc);

  rte_mempool* pool_;
  const Frames& frames_;
  Flows& flows_;
  Switcher* switcher_;
  const Limits limits_;
  const double ticks_per_us_, us_per_tick_;
  Outcome out_;
  uint32_t first_ = 0, next_ = 0;  // sequence numbers of the window
  uint64_t start_ = 0, last_ = 0, last_answer_ = 0;
  uint64_t offered_ = 0, standstills_ = 0, longest_ = 0, ms_end_ = 0;
  size_t ms_ = 0;
  double frames_per_tick_ = 0;
  std::vector<uint64_t> back_;  // a bit a frame
};

}  // namespace teal::perf
