// SPDX-License-Identifier: Apache-2.0
// One worker's counters. The worker writes them with plain stores; the control thread reads them, a little late.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "teal/counters.h"
#include "teal/layout.h"

namespace teal::dataplane {

using ServiceCounters = teal_service_counts;
using BackendCounters = teal_backend_counts;

struct Counters {  // worker: rw, control: ro
  std::array<uint64_t, TEAL_DROP_COUNT> drop{};
  std::array<uint64_t, TEAL_EV_COUNT> event{};
  std::vector<ServiceCounters> service;
  std::vector<BackendCounters> backend;
  uint64_t busy_cycles = 0;  // TSC, spent on bursts that were not empty
  uint64_t loops = 0;

  Counters() : service(TEAL_SERVICES), backend(TEAL_BACKENDS) {}

  void add(const Counters& o) {
    for (size_t i = 0; i < drop.size(); i++) drop[i] += o.drop[i];
    for (size_t i = 0; i < event.size(); i++) event[i] += o.event[i];
    for (size_t i = 0; i < service.size(); i++) {
      auto& s = service[i];
      const auto& x = o.service[i];
      s.packets += x.packets;
      s.bytes += x.bytes;
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
