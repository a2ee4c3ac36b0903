// SPDX-License-Identifier: Apache-2.0
#include "counters.h"

namespace teal::xdp {
namespace {

void add(uint64_t& to, const uint64_t& from) {
  to += __atomic_load_n(&from, __ATOMIC_RELAXED);
}

}  // namespace

void add_counters(const teal_xdp_cpu* cpus, unsigned count, uint32_t services, uint32_t backends,
                  Engine::Totals& totals) {
  if (totals.service.size() < services) totals.service.resize(services);
  if (totals.backend.size() < backends) totals.backend.resize(backends);
  for (unsigned c = 0; c < count; c++) {
    const teal_xdp_cpu& cpu = cpus[c];
    for (size_t i = 0; i < totals.drop.size(); i++) add(totals.drop[i], cpu.drop[i]);
    for (size_t i = 0; i < totals.event.size(); i++) add(totals.event[i], cpu.event[i]);
    for (uint32_t i = 0; i < services; i++) {
      teal_service_counts& to = totals.service[i];
      const teal_service_counts& from = cpu.service[i];
      for (int pool = 0; pool < 2; pool++) add(to.new_flows[pool], from.new_flows[pool]);
      add(to.untracked, from.untracked);
      add(to.recovered, from.recovered);
      add(to.moved, from.moved);
    }
    for (uint32_t i = 0; i < backends; i++) {
      add(totals.backend[i].packets, cpu.backend[i].packets);
      add(totals.backend[i].bytes, cpu.backend[i].bytes);
    }
  }
}

void add(teal_signal_counts& to, const teal_signal_counts& from) {
  add(to.begun, from.begun);
  add(to.handshakes, from.handshakes);
  add(to.syn_retransmits, from.syn_retransmits);
  add(to.refused, from.refused);
  add(to.early_resets, from.early_resets);
  add(to.resets, from.resets);
  for (size_t i = 0; i < TEAL_HANDSHAKE_BUCKETS; i++) add(to.handshake[i], from.handshake[i]);
}

}  // namespace teal::xdp
