// SPDX-License-Identifier: Apache-2.0
#include "engines/engine.h"

namespace teal::tests {

teal_secret secret_of(uint64_t seed) {
  const auto next = [&seed] {  // splitmix64
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  };
  return {{next(), next()}, {next() | 1, next() | 1}};
}

std::map<std::string, uint64_t> named_signals(const Counts& counts, size_t service, size_t index) {
  const teal_signal_counts& s = counts.signals.at(service).at(index);
  std::map<std::string, uint64_t> out = {{"begun", s.begun},
                                         {"handshakes", s.handshakes},
                                         {"syn_retransmits", s.syn_retransmits},
                                         {"refused", s.refused},
                                         {"early_resets", s.early_resets},
                                         {"resets", s.resets},
                                         {"timed_out", counts.timed_out.at(service).at(index)}};
  for (size_t i = 0; i < TEAL_HANDSHAKE_BUCKETS; i++) out["handshake " + std::to_string(i)] = s.handshake[i];
  return out;
}

std::string signal_place(size_t index) {
  return (index < TEAL_SIGNAL_GENERATIONS ? "blue " : "green ") + std::to_string(index % TEAL_SIGNAL_GENERATIONS);
}

std::map<std::string, uint64_t> Engine::counters() const {
  const Counts c = counts();
  std::map<std::string, uint64_t> out;
#define X(name, text) out["drop." #name] = c.drop[TEAL_DROP_##name];
  TEAL_DROP_REASONS(X)
#undef X
#define X(name, text) out[#name] = c.event[TEAL_EV_##name];
  TEAL_EVENTS(X)
#undef X
  return out;
}

}  // namespace teal::tests
