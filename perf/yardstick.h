// SPDX-License-Identifier: Apache-2.0
// Time as the measurements count it: TSC cycles of the calling thread's own CPU time.
#pragma once

#include <cstdint>

namespace teal::perf {

double tsc_per_ns();                // measured once, 50 ms
uint64_t thread_cpu_ns();           // CLOCK_THREAD_CPUTIME_ID
double thread_cycles(uint64_t ns);  // of so many nanoseconds

// Cycles an iteration of a loop that only the core's own speed decides; about 3 ms.
double yardstick_cycles();

}  // namespace teal::perf
