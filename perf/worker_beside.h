// SPDX-License-Identifier: Apache-2.0
// A worker beside the control thread's sweep: what the sweep costs it, and whether deletion keeps pace with new flows.
#pragma once

#include <cstdint>
#include <vector>

namespace teal::perf {

struct SweepBeside {  // percent that a packet costs more than with nobody beside it, by round
  std::vector<double> without_pauses;
  std::vector<double> as_teald;  // a hundredth of the table every 10 ms
};

// While another CPU sweeps the table. Throws std::runtime_error.
SweepBeside measure_sweep_beside(uint32_t flows, uint32_t rounds, uint32_t packets, double packets_per_s);

struct Churn {
  std::vector<double> mflows_per_s;  // million new flows a second of the worker's CPU time; window by window, in order
  uint64_t untracked = 0;            // that found no place
  uint64_t most_entries = 0;         // at the end of a window
};

// Nothing but SYNs, for `seconds` of the flows' clock, which runs at `flows_per_s`; half-open flows expire after one of
// its seconds, and another CPU removes them. The table is made for four seconds' flows. Throws when they are not
// removed.
Churn measure_churn(double flows_per_s, uint32_t seconds, double tsc_per_ns);

}  // namespace teal::perf
