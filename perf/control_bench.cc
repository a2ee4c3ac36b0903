// SPDX-License-Identifier: Apache-2.0
// What the control thread does beside the workers: Maglev tables, census, ageing.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "bench_table.h"
#include "flow/sweep.h"
#include "model/maglev.h"
#include "yardstick.h"

namespace {

using teal::flow::Ageing;
using teal::flow::Sweeper;
using teal::perf::bench_secret;
using teal::perf::BenchTable;

void MaglevBuild(benchmark::State& state) {
  std::vector<teal::model::MaglevMember> members;
  for (int64_t i = 0; i < state.range(0); i++)
    members.push_back(
        {"10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":80", static_cast<uint16_t>(i + 1), 1});
  for (auto _ : state) benchmark::DoNotOptimize(teal::model::build_maglev(members));
  state.SetLabel("ms");
}
BENCHMARK(MaglevBuild)->ArgName("backends")->Arg(10)->Arg(100)->Arg(1000)->Unit(benchmark::kMillisecond);

std::vector<Ageing> ageing(uint32_t established_ticks) {
  std::vector<Ageing> all(2);
  all[1].timeout.fill(established_ticks);
  return all;
}

// A walk that finds nothing to remove. Nanoseconds a flow: as many milliseconds a million.
void Census(benchmark::State& state) {
  BenchTable& world = BenchTable::of(static_cast<uint32_t>(state.range(0)), 50);
  Sweeper sweeper(world.table(), bench_secret);
  const std::vector<Ageing> keep = ageing(1u << 20);
  for (auto _ : state) sweeper.step(world.table().bucket_count(), 1, keep);
  if (sweeper.expired() != 0) state.SkipWithError("a census removed flows");
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(sweeper.census().entries));
  state.SetLabel("ms a million");
}
BENCHMARK(Census)->ArgName("flows")->Arg(100'000)->Arg(1'000'000)->Arg(16'000'000);

// A walk that removes all of them.
void Sweep(benchmark::State& state) {
  const auto flows = static_cast<uint32_t>(state.range(0));
  uint64_t removed = 0;
  for (auto _ : state) {
    BenchTable world(flows, 50);
    Sweeper sweeper(world.table(), bench_secret);
    const std::vector<Ageing> end = ageing(TEAL_TICKS_PER_S);
    const uint64_t start = teal::perf::thread_cpu_ns();
    sweeper.step(world.table().bucket_count(), 100 << TEAL_FINE_SHIFT, end);
    state.SetIterationTime(static_cast<double>(teal::perf::thread_cpu_ns() - start) / 1e9);
    removed += sweeper.expired();
  }
  if (removed + flows / 100 < static_cast<uint64_t>(state.iterations()) * flows)
    state.SkipWithError("a sweep left flows behind");
  state.SetItemsProcessed(static_cast<int64_t>(removed));
  state.SetLabel("ms a million");
}
BENCHMARK(Sweep)->ArgName("flows")->Arg(100'000)->Arg(1'000'000)->UseManualTime();

}  // namespace
