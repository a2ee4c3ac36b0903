// SPDX-License-Identifier: Apache-2.0
#include "dataplane/sink.h"

namespace teal::dataplane {

void Sink::to_kernel(uint16_t port, rte_mbuf* m) {
  if (taps_[port].exit.ethdev == Exit::none) return drop(m, TEAL_DROP_no_tap);
  push(taps_[port], m, TEAL_DROP_tap_full);
}

void Sink::flush() {
  for (auto& lane : ports_)
    if (lane.count) flush(lane, TEAL_DROP_tx_full);
  for (auto& lane : taps_)
    if (lane.count) flush(lane, TEAL_DROP_tap_full);
}

void Sink::flush(Lane& lane, enum teal_drop full) {
  unsigned sent = 0;
  const bool tap = full == TEAL_DROP_tap_full;
  uint64_t bytes = 0;
  for (unsigned i = 0; i < lane.count; i++) bytes += lane.packets[i]->pkt_len;
  if (lane.exit.ethdev != Exit::none) {
    if (lane.exit.queue >= 0)
      sent = rte_eth_tx_burst(lane.exit.ethdev, static_cast<uint16_t>(lane.exit.queue), lane.packets.data(),
                              static_cast<uint16_t>(lane.count));
    else
      sent = rte_ring_enqueue_burst(lane.exit.ring, reinterpret_cast<void**>(lane.packets.data()), lane.count, nullptr);
  }
  // Software devices take a burst in pieces; one more try costs nothing when there was room.
  if (sent < lane.count && lane.exit.queue >= 0 && lane.exit.ethdev != Exit::none)
    sent += rte_eth_tx_burst(lane.exit.ethdev, static_cast<uint16_t>(lane.exit.queue), lane.packets.data() + sent,
                             static_cast<uint16_t>(lane.count - sent));
  for (unsigned i = sent; i < lane.count; i++) {
    bytes -= lane.packets[i]->pkt_len;
    drop(lane.packets[i], full);
  }
  if (tap) {
    counters_.event[TEAL_EV_to_kernel] += sent;
  } else {
    counters_.event[TEAL_EV_tx_packets] += sent;
    counters_.event[TEAL_EV_tx_bytes] += bytes;
  }
  lane.count = 0;
}

}  // namespace teal::dataplane
