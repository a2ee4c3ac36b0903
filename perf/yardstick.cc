// SPDX-License-Identifier: Apache-2.0
#include "yardstick.h"

#include <time.h>
#include <x86intrin.h>

#include <chrono>

namespace teal::perf {

double tsc_per_ns() {
  static const double measured = [] {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    const uint64_t from = __rdtsc();
    while (Clock::now() - start < std::chrono::milliseconds(50)) {
    }
    const uint64_t to = __rdtsc();
    return static_cast<double>(to - from) / static_cast<double>(std::chrono::nanoseconds(Clock::now() - start).count());
  }();
  return measured;
}

uint64_t thread_cpu_ns() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

double thread_cycles(uint64_t ns) {
  return static_cast<double>(ns) * tsc_per_ns();
}

double yardstick_cycles() {
  static uint64_t memory[512];
  constexpr int rounds = 4'000'000;
  uint64_t a = 1, b = 2, c = 3, d = 4;
  const uint64_t from = thread_cpu_ns();
  for (int i = 0; i < rounds; i++) {
    a += memory[i & 511];
    b ^= a << 1;
    c += b >> 3;
    d ^= memory[(i + 64) & 511] + c;
    asm volatile("" ::"r"(a), "r"(b), "r"(c), "r"(d));
  }
  return thread_cycles(thread_cpu_ns() - from) / rounds;
}

}  // namespace teal::perf
