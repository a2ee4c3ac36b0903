// SPDX-License-Identifier: Apache-2.0
// Ethernet devices made of rings: what a test puts in at one end is received by the engine, and the other way round.
#pragma once

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <array>
#include <vector>

#include "engines/engine.h"

namespace teal::tests {

inline constexpr uint16_t ring_ports = 3;

struct RingDevice {
  uint16_t ethdev = 0;
  rte_ring* in = nullptr;   // towards the engine
  rte_ring* out = nullptr;  // from the engine
};

struct RingWorld {
  rte_mempool* packets = nullptr;
  rte_mempool* direct = nullptr;
  rte_mempool* indirect = nullptr;
  rte_ring* wanted = nullptr;
  std::array<RingDevice, ring_ports> ports{}, taps{};
};

// Made at the first call. Throws std::runtime_error when EAL has no memory left.
RingWorld& ring_world();

// The frame in a buffer of its own, a large one in several, as a device delivers it. Throws when none is free.
rte_mbuf* to_mbuf(const Bytes& frame);
// All frames of a ring, their buffers freed.
std::vector<Bytes> take_all(rte_ring* ring);

}  // namespace teal::tests
