// SPDX-License-Identifier: Apache-2.0
// The machine's own speed: a fixed piece of work in registers and first-level cache, in TSC cycles of this thread's CPU
// time an iteration. A host in a slow phase shows here, and then nothing else that was measured counts.
#include "yardstick.h"

#include <benchmark/benchmark.h>

namespace {

void Yardstick(benchmark::State& state) {
  double cycles = 0;
  for (auto _ : state) cycles = teal::perf::yardstick_cycles();
  state.counters["cycles"] = cycles;
  state.counters["tsc_per_ns"] = teal::perf::tsc_per_ns();
}
BENCHMARK(Yardstick)->Iterations(10);

}  // namespace
