// SPDX-License-Identifier: Apache-2.0
#include "dataplane/sink.h"

#include <utility>

#include "raw_burst.h"

namespace teal::dataplane {

Sink::Sink(Counters& counters) : counters_(counters) {
  for (unsigned i = 0; i < lanes; i++) lanes_[i] = {packets_[i].data(), &packets_[i].back()};
}

void Sink::to_kernel(uint16_t port, rte_mbuf* m) {
  const unsigned lane = max_ports + port;
  if (exits_[lane].ethdev == Exit::none) return drop(m, TEAL_DROP_no_tap);
  busy_taps_ |= 1u << port;
  push(lane, m);
}

void Sink::flush() {
  for (uint32_t left = used_ports_; left != 0; left &= left - 1)
    if (const auto port = static_cast<unsigned>(__builtin_ctz(left)); holds(port)) flush(port);
  for (uint32_t left = raw_ports_; left != 0; left &= left - 1)
    exits_[static_cast<unsigned>(__builtin_ctz(left))].raw->flush();
  for (uint32_t left = std::exchange(busy_taps_, 0); left != 0; left &= left - 1)
    if (const auto lane = max_ports + static_cast<unsigned>(__builtin_ctz(left)); holds(lane)) flush(lane);
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

void Sink::flush(unsigned number) {
  Lane& lane = lanes_[number];
  rte_mbuf** const packets = packets_[number].data();
  const auto count = static_cast<unsigned>(lane.end - packets);
  const bool tap = number >= max_ports;
  uint64_t bytes = std::exchange(lane.bytes, 0);
  lane.end = packets;
  const unsigned sent = transmit(exits_[number], packets, count);
  for (unsigned i = sent; i < count; i++) {
    bytes -= packets[i]->pkt_len;
    drop(packets[i], tap ? TEAL_DROP_tap_full : TEAL_DROP_tx_full);
  }
  if (tap) {
    counters_.event[TEAL_EV_to_kernel] += sent;
  } else {
    counters_.event[TEAL_EV_tx_packets] += sent;
    counters_.event[TEAL_EV_tx_bytes] += bytes;
  }
}

}  // namespace teal::dataplane
