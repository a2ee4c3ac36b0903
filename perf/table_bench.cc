// SPDX-License-Identifier: Apache-2.0
// What the flow table costs, by number of flows and load: hits and misses in bursts of 32 with prefetch, as a worker
// does them (the key's hash included), insertions, deletions.
#include <benchmark/benchmark.h>

#include "bench_table.h"
#include "yardstick.h"

namespace {

using teal::perf::bench_key;
using teal::perf::BenchTable;
using teal::perf::thread_cpu_ns;

BenchTable& table_of(const benchmark::State& state) {
  return BenchTable::of(static_cast<uint32_t>(state.range(0)), static_cast<uint32_t>(state.range(1)));
}

void describe(benchmark::State& state, const BenchTable& world, int batch) {
  state.SetItemsProcessed(state.iterations() * batch);
  state.counters["unplaced"] = static_cast<double>(world.unplaced());
  state.counters["displaced"] = static_cast<double>(world.counts().displaced);
  state.counters["bytes_per_flow"] = world.bytes_per_flow();
}

// `beyond`: added to each flow's number, so that none is in the table.
void find(benchmark::State& state, uint32_t beyond) {
  BenchTable& world = table_of(state);
  const uint32_t flows = world.next() - world.oldest();
  uint64_t random = 7;
  teal_flow_key keys[32];
  uint64_t found = 0, sum = 0;
  for (auto _ : state) {
    for (auto& k : keys) {
      random = random * 6364136223846793005ull + 1442695040888963407ull;  // Knuth's MMIX
      k = bench_key(world.oldest() + beyond + teal_reduce(static_cast<uint32_t>(random >> 32), flows));
      __builtin_prefetch(world.table().first(k.hash));
    }
    for (const auto& k : keys) {
      uint64_t val = 0;
      if (world.table().find(k, &val) == nullptr) continue;
      sum += val;
      found++;
    }
  }
  benchmark::DoNotOptimize(sum);
  describe(state, world, 32);
  const uint64_t asked = static_cast<uint64_t>(state.iterations()) * 32;
  const bool hits = beyond == 0;
  if (hits ? found + asked / 50 < asked : found != 0) state.SkipWithError("the table does not hold what it should");
}

void FlowHit(benchmark::State& state) {
  find(state, 0);
}
void FlowMiss(benchmark::State& state) {
  find(state, 1u << 31);
}

// CPU time that asking for it twice takes.
double clock_cost_ns() {
  static const double cost = [] {
    const uint64_t from = thread_cpu_ns();
    for (int i = 0; i < 1000; i++) benchmark::DoNotOptimize(thread_cpu_ns());
    return static_cast<double>(thread_cpu_ns() - from) / 1000;
  }();
  return cost;
}

// Batches: in with some flows, out with as many others; one of the two is timed, by the thread's CPU time.
void churn(benchmark::State& state, bool insert) {
  BenchTable& world = table_of(state);
  const int batch = state.range(0) < 100'000 ? 32 : 256;
  for (auto _ : state) {
    if (!insert)
      for (int i = 0; i < batch; i++) world.insert_next();
    const uint64_t start = thread_cpu_ns();
    for (int i = 0; i < batch; i++) {
      if (insert)
        world.insert_next();
      else
        world.remove_oldest();
    }
    const double ns = static_cast<double>(thread_cpu_ns() - start) - clock_cost_ns();
    state.SetIterationTime(ns > 0 ? ns / 1e9 : 0);
    if (insert)
      for (int i = 0; i < batch; i++) world.remove_oldest();
  }
  describe(state, world, batch);
}

void FlowInsert(benchmark::State& state) {
  churn(state, true);
}
void FlowDelete(benchmark::State& state) {
  churn(state, false);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"flows", "load"});
  for (const int64_t flows : {1'000, 100'000, 1'000'000, 4'000'000, 16'000'000}) b->Args({flows, 50});
  for (const int64_t load : {65, 80, 90}) b->Args({1'000'000, load});
  for (const int64_t load : {80, 90}) b->Args({16'000'000, load});
}
BENCHMARK(FlowHit)->Apply(sizes);
BENCHMARK(FlowMiss)->Apply(sizes);
BENCHMARK(FlowInsert)->Apply(sizes)->UseManualTime();
BENCHMARK(FlowDelete)->Apply(sizes)->UseManualTime();

}  // namespace
