// SPDX-License-Identifier: Apache-2.0
#include "bench_table.h"

#include <algorithm>
#include <array>
#include <map>
#include <new>
#include <utility>

#include "teal/layout.h"

namespace teal::perf {
namespace {

constexpr size_t huge = size_t{2} << 20;

uint32_t buckets_for(uint32_t flows, uint32_t load_percent) {
  const uint64_t slots = uint64_t{flows} * 100 / load_percent;
  return static_cast<uint32_t>(std::max<uint64_t>(2, (slots + TEAL_BUCKET_SLOTS - 1) / TEAL_BUCKET_SLOTS));
}

}  // namespace

BenchTable::BenchTable(uint32_t flows, uint32_t load_percent)
    : count_(buckets_for(flows, load_percent)),
      bytes_((size_t{count_} * sizeof(teal_bucket) + huge - 1) & ~(huge - 1)) {
  memory_ = mmap(nullptr, bytes_ + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory_ == MAP_FAILED) throw std::bad_alloc();
  const auto at = (reinterpret_cast<uintptr_t>(memory_) + huge - 1) & ~(huge - 1);
  madvise(reinterpret_cast<void*>(at), bytes_, MADV_HUGEPAGE);
  locks_ = std::make_unique<uint32_t[]>(TEAL_LOCKS);
  table_ = std::make_unique<flow::Table>(reinterpret_cast<teal_bucket*>(at), count_, locks_.get(), 1);
  for (uint32_t i = 0; i < flows; i++) insert_next();
}

BenchTable::~BenchTable() {
  munmap(memory_, bytes_ + huge);
}

BenchTable& BenchTable::of(uint32_t flows, uint32_t load_percent) {
  static std::map<std::pair<uint32_t, uint32_t>, std::unique_ptr<BenchTable>> all;
  std::unique_ptr<BenchTable>& one = all[{flows, load_percent}];
  if (!one) one = std::make_unique<BenchTable>(flows, load_percent);
  return *one;
}

void BenchTable::insert_next() {
  const uint32_t flow = next_++;
  const teal_flow_key key = bench_key(flow);
  uint64_t val = teal_val(static_cast<uint16_t>(flow % 100 + 1), 0, 1, TEAL_FLOW_established, key.check, 1);
  if (table_->insert(bench_secret, key, &val, 0, 1, counts_) != flow::Inserted::entered) unplaced_++;
}

void BenchTable::remove_oldest() {
  const teal_flow_key key = bench_key(oldest_++);
  uint64_t val = 0;
  const uint64_t* slot = table_->find(key, &val);
  if (slot == nullptr) return;
  for (teal_bucket* b : std::array{table_->first(key.hash), table_->second(key.hash)})
    if (slot >= b->val && slot < b->val + TEAL_BUCKET_SLOTS)
      table_->remove(bench_secret, b, static_cast<int>(slot - b->val), key.key, val);
}

}  // namespace teal::perf
