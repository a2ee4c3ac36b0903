// SPDX-License-Identifier: Apache-2.0
// Where a worker's packets leave: one buffer a port and a tap, flushed once a loop. A worker that owns no transmit
// queue of a port hands its packets to the one that does, over a ring.
#pragma once

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <array>
#include <cstdint>
#include <vector>

#include "dataplane/counters.h"
#include "dataplane/raw_port.h"

namespace teal::dataplane {

inline constexpr unsigned max_ports = 32;

// One way out: a queue of `ethdev`, or `raw`. queue < 0: through `ring` to the queue's owner. None of them: nowhere.
struct Exit {
  static constexpr uint16_t none = 0xffff;
  uint16_t ethdev = none;
  int queue = 0;
  rte_ring* ring = nullptr;
  bool chains = true;       // the device sends packets of several buffers
  RawQueue* raw = nullptr;  // of this worker; flushed by it
};

class Sink {
 public:
  explicit Sink(Counters& counters) : counters_(counters) {}
  Sink(const Sink&) = delete;  // a lane points into itself
  Sink& operator=(const Sink&) = delete;

  void set_port(uint16_t port, const Exit& exit) {
    ports_[port].exit = exit;
    used_ports_ |= 1u << port;
    if (exit.raw != nullptr) raw_ports_ |= 1u << port;
  }
  void set_tap(uint16_t port, const Exit& exit) { taps_[port].exit = exit; }

  // Takes the packet. Frames to ports leave at the next flush.
  [[gnu::always_inline]] void send(uint16_t port, rte_mbuf* m) { push(ports_[port], m, TEAL_DROP_tx_full); }
  void to_kernel(uint16_t port, rte_mbuf* m);
  void drop(rte_mbuf* m, enum teal_drop reason) {
    counters_.drop[reason]++;
    rte_pktmbuf_free(m);
  }
  void flush();

 private:
  static constexpr unsigned depth = 64;
  struct Lane {
    Exit exit;
    std::array<rte_mbuf*, depth> packets;
    rte_mbuf** end = packets.data();
    uint64_t bytes = 0;
  };
  [[gnu::always_inline]] void push(Lane& lane, rte_mbuf* m, enum teal_drop full) {
    // net_af_xdp would send the first buffer and whatever lies behind it.
    if (m->nb_segs > 1 && !lane.exit.chains && rte_pktmbuf_linearize(m) != 0) return drop(m, TEAL_DROP_no_room);
    rte_mbuf** const at = lane.end++;
    *at = m;
    lane.bytes += m->pkt_len;
    if (at == &lane.packets[depth - 1]) flush(lane, full);
  }
  void flush(Lane& lane, enum teal_drop full);
  static unsigned transmit(const Exit& exit, rte_mbuf** packets, unsigned count);

  Counters& counters_;
  static_assert(max_ports == 32, "a bit a port");
  uint32_t used_ports_ = 0;  // that packets may be sent to
  uint32_t busy_taps_ = 0;   // lanes that may hold packets
  uint32_t raw_ports_ = 0;   // to be flushed in any case: what other workers and earlier rounds left in it
  std::array<Lane, max_ports> ports_;
  std::array<Lane, max_ports> taps_;
};

}  // namespace teal::dataplane
