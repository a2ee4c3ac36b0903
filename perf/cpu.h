// SPDX-License-Identifier: Apache-2.0
// Which CPU a measurement's threads run on. A new thread inherits the CPU of the one that made it, and rte_eal_init()
// ties its caller to one: who is meant to run beside it says so.
#pragma once

#include <pthread.h>
#include <sched.h>

#include <stdexcept>
#include <string>

namespace teal::perf {

// The calling thread, from now on. Throws std::runtime_error.
inline void bind_to_cpu(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0)
    throw std::runtime_error("cannot run on CPU " + std::to_string(cpu));
}

}  // namespace teal::perf
