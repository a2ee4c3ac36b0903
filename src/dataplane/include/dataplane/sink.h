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
  explicit Sink(Counters& counters);
  Sink(const Sink&) = delete;  // lanes point into it
  Sink& operator=(const Sink&) = delete;

  void set_port(uint16_t port, const Exit& exit) {
    exits_[port] = exit;
    used_ports_ |= 1u << port;
    if (exit.raw != nullptr) raw_ports_ |= 1u << port;
  }
  void set_tap(uint16_t port, const Exit& exit) { exits_[max_ports + port] = exit; }

  // Takes the packet. Frames to ports leave at the next flush.
  [[gnu::always_inline]] void send(uint16_t port, rte_mbuf* m) { push(port, m); }
  // The same of a packet in one buffer, of `bytes`.
  [[gnu::always_inline]] void send_whole(uint16_t port, rte_mbuf* m, uint32_t bytes) { push_whole(port, m, bytes); }
  void to_kernel(uint16_t port, rte_mbuf* m);
  void drop(rte_mbuf* m, enum teal_drop reason) {
    counters_.drop[reason]++;
    rte_pktmbuf_free(m);
  }
  void flush();

 private:
  static constexpr unsigned depth = 64;
  // What each packet touches of a way out lies together: one line holds it of two.
  struct Lane {
    rte_mbuf** end = nullptr;   // of the packets that wait
    rte_mbuf** last = nullptr;  // place: once it is taken they leave
    uint64_t bytes = 0;         // of those
    uint64_t unused = 0;
  };
  [[gnu::always_inline]] void push(unsigned lane, rte_mbuf* m) {
    // net_af_xdp would send the first buffer and whatever lies behind it.
    if (m->nb_segs > 1 && !exits_[lane].chains && rte_pktmbuf_linearize(m) != 0) return drop(m, TEAL_DROP_no_room);
    push_whole(lane, m, m->pkt_len);
  }
  [[gnu::always_inline]] void push_whole(unsigned number, rte_mbuf* m, uint32_t bytes) {
    Lane& lane = lanes_[number];
    rte_mbuf** const at = lane.end;
    *at = m;
    lane.end = at + 1;
    lane.bytes += bytes;
    if (at == lane.last) flush(number);
  }
  void flush(unsigned lane);
  [[nodiscard]] bool holds(unsigned lane) const { return lanes_[lane].end != packets_[lane].data(); }
  static unsigned transmit(const Exit& exit, rte_mbuf** packets, unsigned count);

  Counters& counters_;
  static_assert(max_ports == 32, "a bit a port");
  uint32_t used_ports_ = 0;  // that packets may be sent to
  uint32_t busy_taps_ = 0;   // lanes that may hold packets
  uint32_t raw_ports_ = 0;   // to be flushed in any case: what other workers and earlier rounds left in it
  static constexpr unsigned lanes = 2 * max_ports;  // the ports', then their taps'
  alignas(64) std::array<Lane, lanes> lanes_;
  std::array<Exit, lanes> exits_;
  std::array<std::array<rte_mbuf*, depth>, lanes> packets_;
};

}  // namespace teal::dataplane
