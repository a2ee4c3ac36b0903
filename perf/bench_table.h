// SPDX-License-Identifier: Apache-2.0
// A flow table for benchmarks, filled to a load with flows 0 to n - 1, in ordinary memory with transparent huge pages.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <memory>

#include "flow/table.h"

namespace teal::perf {

inline constexpr teal_secret bench_secret{{0x0123456789abcdefull, 0xfedcba9876543210ull},
                                          {0x9e3779b97f4a7c15ull, 0xc2b2ae3d27d4eb4full}};

inline teal_flow_key bench_key(uint32_t flow) {
  return teal_flow_key4(&bench_secret, flow * 2654435761u, static_cast<uint16_t>(flow >> 8), 1);
}

class BenchTable {
 public:
  // `load_percent`: of all slots. Keys that find no place are counted.
  BenchTable(uint32_t flows, uint32_t load_percent);
  ~BenchTable();
  BenchTable(const BenchTable&) = delete;
  BenchTable& operator=(const BenchTable&) = delete;

  // One for each pair of figures, kept until the process ends: filling 16 million takes seconds.
  static BenchTable& of(uint32_t flows, uint32_t load_percent);

  // The next flow goes in, the oldest out: flows oldest() to next() - 1 are in the table.
  void insert_next();
  void remove_oldest();
  [[nodiscard]] uint32_t oldest() const { return oldest_; }
  [[nodiscard]] uint32_t next() const { return next_; }
  [[nodiscard]] uint64_t unplaced() const { return unplaced_; }
  [[nodiscard]] flow::Table& table() { return *table_; }
  [[nodiscard]] const flow::InsertCounts& counts() const { return counts_; }
  [[nodiscard]] double bytes_per_flow() const {
    return static_cast<double>(count_) * sizeof(teal_bucket) / (next_ - oldest_);
  }

 private:
  uint32_t count_;
  size_t bytes_;
  void* memory_;
  std::unique_ptr<uint32_t[]> locks_;
  std::unique_ptr<flow::Table> table_;
  flow::InsertCounts counts_;
  uint32_t oldest_ = 0, next_ = 0;
  uint64_t unplaced_ = 0;
};

}  // namespace teal::perf
