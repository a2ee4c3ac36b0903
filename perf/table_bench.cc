// SPDX-License-Identifier: Apache-2.0
// What the flow table costs: hits in bursts of 32 with prefetch, as a worker does them, and inserts; by number of
// flows. The table is in ordinary memory with transparent huge pages.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <array>
#include <memory>
#include <random>

#include "flow/storage.h"
#include "flow/table.h"

namespace {

using teal::flow::InsertCounts;
using teal::flow::Storage;
using teal::flow::Table;

constexpr teal_secret secret{{0x0123456789abcdefull, 0xfedcba9876543210ull},
                             {0x9e3779b97f4a7c15ull, 0xc2b2ae3d27d4eb4full}};

struct World {
  explicit World(uint64_t flows)
      : count(Storage::bucket_count(flows)), bytes(static_cast<size_t>(count) * sizeof(teal_bucket)) {
    bytes = (bytes + (2 << 20) - 1) & ~((size_t{2} << 20) - 1);
    memory = mmap(nullptr, bytes + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    auto at = (reinterpret_cast<uintptr_t>(memory) + (2 << 20) - 1) & ~((uintptr_t{2} << 20) - 1);
    madvise(reinterpret_cast<void*>(at), bytes, MADV_HUGEPAGE);
    locks = std::make_unique<uint32_t[]>(TEAL_LOCKS);
    table = std::make_unique<Table>(reinterpret_cast<teal_bucket*>(at), count, locks.get(), 1);
  }
  ~World() { munmap(memory, bytes + (2 << 20)); }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  uint32_t count;
  size_t bytes;
  void* memory;
  std::unique_ptr<uint32_t[]> locks;
  std::unique_ptr<Table> table;
};

teal_flow_key key_of(uint32_t i) {
  return teal_flow_key4(&secret, i * 2654435761u, static_cast<uint16_t>(i >> 8), 1);
}

uint64_t insert(Table& table, uint32_t i, InsertCounts& counts, uint64_t* unplaced) {
  const teal_flow_key k = key_of(i);
  uint64_t val = teal_val(static_cast<uint16_t>(i % 100 + 1), 0, 1, TEAL_FLOW_established, k.check, 1);
  const auto result = table.insert(secret, k, &val, 0, 1, counts);
  if (result != teal::flow::Inserted::entered) (*unplaced)++;
  return val;
}

void Hit(benchmark::State& state) {
  const auto flows = static_cast<uint32_t>(state.range(0));
  World world(flows);
  InsertCounts counts;
  uint64_t unplaced = 0;
  for (uint32_t i = 0; i < flows; i++) insert(*world.table, i, counts, &unplaced);
  std::minstd_rand random(7);
  teal_flow_key keys[32];
  uint64_t sum = 0;
  for (auto _ : state) {
    for (auto& k : keys) {
      k = key_of(static_cast<uint32_t>((static_cast<uint64_t>(random()) << 31 | random()) % flows));
      __builtin_prefetch(world.table->first(k.hash));
    }
    for (const auto& k : keys) {
      uint64_t val = 0;
      if (world.table->find(k, &val) != nullptr) sum += val;
    }
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * 32);
  state.counters["unplaced"] = static_cast<double>(unplaced);
  state.counters["displaced"] = static_cast<double>(counts.displaced);
  state.counters["bytes_per_flow"] = static_cast<double>(world.count) * sizeof(teal_bucket) / flows;
}
BENCHMARK(Hit)->Arg(1000)->Arg(100000)->Arg(1000000)->Arg(4000000);

void InsertAndRemove(benchmark::State& state) {
  const auto flows = static_cast<uint32_t>(state.range(0));
  World world(flows);
  InsertCounts counts;
  uint64_t unplaced = 0;
  for (uint32_t i = 0; i < flows / 2; i++) insert(*world.table, i, counts, &unplaced);
  uint32_t next = flows / 2, oldest = 0;
  for (auto _ : state) {
    insert(*world.table, next++, counts, &unplaced);
    const teal_flow_key k = key_of(oldest++);
    uint64_t val = 0;
    uint64_t* slot = world.table->find(k, &val);
    if (slot == nullptr) continue;
    for (teal_bucket* b : std::array{world.table->first(k.hash), world.table->second(k.hash)})
      if (slot >= b->val && slot < b->val + TEAL_BUCKET_SLOTS)
        world.table->remove(secret, b, static_cast<int>(slot - b->val), k.key, val);
  }
  state.SetItemsProcessed(state.iterations());
  state.counters["unplaced"] = static_cast<double>(unplaced);
}
BENCHMARK(InsertAndRemove)->Arg(1000)->Arg(1000000);

}  // namespace
