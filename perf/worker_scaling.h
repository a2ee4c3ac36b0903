// SPDX-License-Identifier: Apache-2.0
// What a second worker brings: two lanes on two CPUs over one table, each with its own source, against one alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace teal::perf {

struct ScalingRow {
  std::string subject;
  uint32_t flows = 0;
  std::vector<double> speedup;  // by round: 2 is perfect
};

// Needs two CPUs and a device of two queues. Throws std::runtime_error.
std::vector<ScalingRow> measure_scaling(const std::vector<uint32_t>& flows, uint32_t rounds, uint32_t packets,
                                        double packets_per_s);

}  // namespace teal::perf
