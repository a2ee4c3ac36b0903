// SPDX-License-Identifier: Apache-2.0
// Reads what the program counts, a CPU at a time, while it goes on counting.
#pragma once

#include "xdp/engine.h"

namespace teal::xdp {

// Adds the first `services` and `backends` entries and all drops and events of `count` CPUs.
void add_counters(const teal_xdp_cpu* cpus, unsigned count, uint32_t services, uint32_t backends,
                  Engine::Totals& totals);

void add(teal_signal_counts& to, const teal_signal_counts& from);

}  // namespace teal::xdp
