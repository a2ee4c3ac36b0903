// SPDX-License-Identifier: Apache-2.0
// What the packets say of a pool, counted up since some beginning; a window is the difference of two.
#pragma once

#include <array>
#include <cstdint>

#include "teal/signals.h"

namespace teal::rollout {

struct PoolSignals {                                         // counters, all rising
  uint64_t begun = 0;                                        // flows that began with a SYN (or a first datagram)
  uint64_t handshakes = 0;                                   // completed
  uint64_t syn_retransmits = 0;                              // SYNs that met a half-open entry
  uint64_t refused = 0;                                      // reset before the handshake ended
  uint64_t timed_out = 0;                                    // half-open entries that ran out of time
  uint64_t early_resets = 0;                                 // reset after the handshake, before the backend sent data
  uint64_t resets = 0;                                       // reset later
  std::array<uint64_t, TEAL_HANDSHAKE_BUCKETS> handshake{};  // by time: bucket i ends at teal_handshake_edge(i)

  PoolSignals operator-(const PoolSignals& before) const {
    PoolSignals d = *this;
    d.begun -= before.begun;
    d.handshakes -= before.handshakes;
    d.syn_retransmits -= before.syn_retransmits;
    d.refused -= before.refused;
    d.timed_out -= before.timed_out;
    d.early_resets -= before.early_resets;
    d.resets -= before.resets;
    for (size_t i = 0; i < handshake.size(); i++) d.handshake[i] -= before.handshake[i];
    return d;
  }
  PoolSignals& operator+=(const PoolSignals& o) {
    begun += o.begun;
    handshakes += o.handshakes;
    syn_retransmits += o.syn_retransmits;
    refused += o.refused;
    timed_out += o.timed_out;
    early_resets += o.early_resets;
    resets += o.resets;
    for (size_t i = 0; i < handshake.size(); i++) handshake[i] += o.handshake[i];
    return *this;
  }
};

}  // namespace teal::rollout
