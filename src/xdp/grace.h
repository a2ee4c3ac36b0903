// SPDX-License-Identifier: Apache-2.0
// Waiting for running programs, at no cost to them. The program counts `turn` up when it begins and when it ends, with
// plain stores. Who publishes makes his store, interrupts every CPU once (a program that runs nothing), and reads the
// turns: a program that began before its CPU's interrupt is seen (the interrupt drained that CPU's stores) and waited
// for; one that begins after it sees the store. An asymmetric fence like membarrier's, in microseconds.
#pragma once

#include <cstdint>

#include "teal/xdp.h"

namespace teal::xdp {

class Grace {
 public:
  // `visit_fd`: the raw tracepoint program that runs on each CPU. `cpus`: the counters' mapping, one a possible CPU.
  Grace(int visit_fd, const teal_xdp_cpu* cpus, unsigned count) : visit_fd_(visit_fd), cpus_(cpus), count_(count) {}

  // Returns when every program has ended that could have read what was stored before the call. Nanoseconds waited.
  // Throws std::runtime_error when neither the visits nor the kernel's own grace period can be had.
  uint64_t wait() const;

 private:
  int visit_fd_;
  const teal_xdp_cpu* cpus_;
  unsigned count_;
};

// The kernel's grace period: milliseconds, and true also for a program that has been fetched but has not begun.
void wait_for_kernel();

}  // namespace teal::xdp
