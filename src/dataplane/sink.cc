// SPDX-License-Identifier: Apache-2.0
#include "dataplane/sink.h"

#include <utility>

#include "raw_burst.h"

namespace teal::dataplane {

void Sink::to_kernel(uint16_t port, rte_mbuf* m) {
  if (taps_[port].exit.ethdev == Exit::none) return drop(m, TEAL_DROP_no_tap);
  busy_taps_ |= 1u << port;
  push(taps_[port], m, TEAL_DROP_tap_full);
}

void Sink::flush() {
  for (uint32_t left = used_ports_; left != 0; left &= left - 1)
    if (Lane& lane = ports_[static_cast<unsigned>(__builtin_ctz(left))]; lane.end != lane.packets.data())
      flush(lane, TEAL_DROP_tx_full);
  for (uint32_t left = raw_ports_; left != 0; left &= left - 1)
    ports_[static_cast<unsigned>(__builtin_ctz(left))].exit.raw->flush();
  for (uint32_t left = std::exchange(busy_taps_, 0); left != 0; left &= left - 1)
    if (Lane& lane = taps_[static_cast<unsigned>(__builtin_ctz(left))]; lane.end != lane.packets.data())
      flush(lane, TEAL_DROP_tap_full);
}

// How many the way out took; those at the end it did not.
unsigned Sink::transmit(const Exit& exit, rte_mbuf** packets, unsigned count) {
  if (exit.queue < 0)
    return exit.ring == nullptr ? 0
                                : rte_ring_enqueue_burst(exit.ring, reinterpret_cast<void**>(packets), count, nullptr);
  if (exit.raw != nullptr) return send_raw(*exit.raw, packets, count);
  if (exit.ethdev == Exit::none) return 0;
  const auto queue = static_cast<uint16_t>(exit.queue);
  const unsigned sent = rte_eth_tx_burst(exit.ethdev, queue, packets, static_cast<uint16_t>(count));
  if (sent == count) return sent;
  // Software devices take a burst in pieces; one more try costs nothing when there was room.
  return sent + rte_eth_tx_burst(exit.ethdev, queue, packets + sent, static_cast<uint16_t>(count - sent));
}

void Sink::flush(Lane& lane, enum teal_drop full) {
  const auto count = static_cast<unsigned>(lane.end - lane.packets.data());
  const bool tap = full == TEAL_DROP_tap_full;
  uint64_t bytes = std::exchange(lane.bytes, 0);
  const unsigned sent = transmit(lane.exit, lane.packets.data(), count);
  for (unsigned i = sent; i < count; i++) {
    bytes -= lane.packets[i]->pkt_len;
    drop(lane.packets[i], full);
  }
  if (tap) {
    counters_.event[TEAL_EV_to_kernel] += sent;
  } else {
    counters_.event[TEAL_EV_tx_packets] += sent;
    counters_.event[TEAL_EV_tx_bytes] += bytes;
  }
  lane.end = lane.packets.data();
}

}  // namespace teal::dataplane
