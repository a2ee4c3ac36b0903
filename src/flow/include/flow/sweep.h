// SPDX-License-Identifier: Apache-2.0
// Ageing and counting: a walk over the table in slices, on a control thread, that stops no worker.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "flow/table.h"

namespace teal::flow {

// Live entries, counted by one full walk. Backend numbers tell service and pool; the key tells the service too.
struct Census {
  uint64_t entries = 0;
  std::vector<std::array<uint32_t, TEAL_FLOW_STATE_COUNT>> by_backend;  // [backend number][state]
  std::vector<std::array<uint64_t, 2>> by_service;                      // [service number][pool]
  std::vector<std::array<uint64_t, 2>> pinned;                          // clients with affinity, [service][pool]
  uint64_t duration_us = 0;
  uint64_t expired = 0;  // removed by this walk
  Census() : by_backend(TEAL_BACKENDS), by_service(TEAL_SERVICES), pinned(TEAL_SERVICES) {}
};

// What one walk needs to know of a service to age its entries.
struct Ageing {
  std::array<uint32_t, TEAL_TIMEOUTS> timeout{};  // ticks
  std::array<bool, 2> keep_idle{};                // by pool: its established flows outlive their time-out
  // By flow::Settler, for services that settle:
  const uint16_t* maglev = nullptr;  // what entries are compared with; nullptr: nothing, the group is no candidate
  uint32_t stale = 0;                // ticks: an entry not seen for longer is not plain; 0: the service never settles
  uint32_t grace = 0;                // ticks: how much longer established flows live, for their stamps may lag
};

class Sweeper {
 public:
  Sweeper(Table& table, const teal_secret& secret)
      : table_(table), secret_(secret), timed_out_(TEAL_SERVICES * signals_per_service) {}

  // Walks `buckets` more of them (rounded up to whole words of cells), ageing against `ageing` (indexed by service
  // number; entries of a number beyond its end or with established timeout 0 belong to no service and are removed).
  // True when that completed a walk: census() is new.
  bool step(uint32_t buckets, uint32_t now, const std::vector<Ageing>& ageing);

  [[nodiscard]] bool at_begin() const { return at_ == 0; }      // of a walk
  [[nodiscard]] const Census& census() const { return last_; }  // of the last completed walk
  [[nodiscard]] uint64_t walks() const { return walks_; }
  [[nodiscard]] uint64_t expired() const { return expired_; }  // entries removed since the start

  // Half-open entries of a service that ran out of time, since the start; `val`: any with the pool and generation asked
  // for.
  [[nodiscard]] uint64_t timed_out(uint16_t service, uint64_t val) const {
    return timed_out_[service * signals_per_service + teal_signal_index(val)];
  }

  // Visits every live entry, flows and affinity: (key, val, bucket, slot). Stops when the visitor returns false.
  static void visit(const Table& table,
                    const std::function<bool(uint64_t key, uint64_t val, teal_bucket* b, int slot)>& visitor);

 private:
  uint32_t look(uint32_t bucket, uint32_t now, const std::vector<Ageing>& ageing);

  Table& table_;
  const teal_secret& secret_;
  uint32_t at_ = 0;
  uint32_t walk_began_ = 0;  // fine ticks
  bool marks_ = false;       // the walk rebuilds the cells
  uint32_t slow_at_ = 0;     // when a walk was last seen to take long
  uint64_t walks_ = 0, expired_ = 0;
  static constexpr size_t signals_per_service = size_t{2} * TEAL_SIGNAL_GENERATIONS;
  std::vector<uint64_t> timed_out_;  // [service][teal_signal_index]
  Census now_, last_;
};

}  // namespace teal::flow
