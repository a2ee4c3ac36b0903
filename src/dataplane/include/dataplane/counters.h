// SPDX-License-Identifier: Apache-2.0
// One worker's counters. The worker writes them with plain stores; the control thread reads them, a little late.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "teal/counters.h"
#include "teal/flow.h"
#include "teal/layout.h"

namespace teal::dataplane {

using ServiceCounters = teal_service_counts;
using BackendCounters = teal_backend_counts;

struct Free {
  void operator()(void* p) const { std::free(p); }
};

struct Counters {  // worker: rw, control: ro
  std::array<uint64_t, TEAL_DROP_COUNT> drop{};
  std::array<uint64_t, TEAL_EV_COUNT> event{};
  std::vector<ServiceCounters> service;
  std::vector<BackendCounters> backend;
  // [service][teal_signal_index]; only pages that are written take memory. Read where asked for, not by add().
  std::unique_ptr<teal_signal_counts[], Free> signals;
  uint64_t busy_cycles = 0;  // TSC, spent on bursts that were not empty
  uint64_t loops = 0;

  static constexpr size_t signals_per_service = size_t{2} * TEAL_SIGNAL_GENERATIONS;

  Counters() : service(TEAL_SERVICES), backend(TEAL_BACKENDS) {
    signals.reset(
        static_cast<teal_signal_counts*>(std::calloc(TEAL_SERVICES * signals_per_service, sizeof(teal_signal_counts))));
    if (!signals) throw std::bad_alloc();
  }
  [[nodiscard]] teal_signal_counts& signals_of(uint16_t service_number, uint64_t val) const {
    return signals[service_number * signals_per_service + teal_signal_index(val)];
  }

  void add(const Counters& o) {
    for (size_t i = 0; i < drop.size(); i++) drop[i] += o.drop[i];
    for (size_t i = 0; i < event.size(); i++) event[i] += o.event[i];
    for (size_t i = 0; i < service.size(); i++) {
      auto& s = service[i];
      const auto& x = o.service[i];
      for (int p = 0; p < 2; p++) s.new_flows[p] += x.new_flows[p];
      s.untracked += x.untracked;
      s.recovered += x.recovered;
      s.moved += x.moved;
    }
    for (size_t i = 0; i < backend.size(); i++) {
      backend[i].packets += o.backend[i].packets;
      backend[i].bytes += o.backend[i].bytes;
    }
  }
};

}  // namespace teal::dataplane
