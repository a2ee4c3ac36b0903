// SPDX-License-Identifier: Apache-2.0
#include "raw_burst.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace teal::dataplane {
namespace {

constexpr unsigned most = 64;           // packets of a burst
constexpr unsigned most_segments = 64;  // of a packet: 8 fragments of a datagram, each perhaps a chain itself

struct Arrivals {
  RawQueue& queue;
  rte_mempool* pool;
  rte_mbuf** packets;
  Counters& counters;
  unsigned count = 0;
};

rte_mbuf* copy(rte_mempool* pool, Segment frame) {
  rte_mbuf* first = nullptr;
  rte_mbuf* last = nullptr;
  for (size_t at = 0; at < frame.size();) {
    rte_mbuf* m = rte_pktmbuf_alloc(pool);
    if (m == nullptr) {
      rte_pktmbuf_free(first);
      return nullptr;
    }
    // Head-room in front of what follows the first buffer serves nobody.
    if (first != nullptr) m->data_off = 0;
    const auto n = static_cast<uint16_t>(std::min<size_t>(frame.size() - at, m->buf_len - m->data_off));
    std::memcpy(rte_pktmbuf_mtod(m, void*), frame.data() + at, n);
    m->data_len = n;
    at += n;
    if (first == nullptr) {
      first = m;
      first->pkt_len = static_cast<uint32_t>(frame.size());
    } else {
      last->next = m;
      first->nb_segs++;
    }
    last = m;
  }
  return first;
}

void take(void* context, Segment frame) {
  Arrivals& a = *static_cast<Arrivals*>(context);
  a.queue.counts.rx_packets++;
  a.queue.counts.rx_bytes += frame.size();
  rte_mbuf* m = copy(a.pool, frame);
  if (m == nullptr)
    a.counters.drop[TEAL_DROP_no_room]++;
  else
    a.packets[a.count++] = m;
}

bool send(RawQueue& queue, const rte_mbuf* m) {
  std::array<Segment, most_segments> segments;
  unsigned n = 0;
  for (const rte_mbuf* s = m; s != nullptr; s = s->next) {
    if (n == most_segments) return false;
    segments[n++] = {rte_pktmbuf_mtod(s, const uint8_t*), s->data_len};
  }
  return queue.send(segments.data(), n);
}

}  // namespace

unsigned receive_raw(RawQueue& queue, rte_mempool* pool, rte_mbuf** packets, unsigned max, Counters& counters) {
  Arrivals arrivals{queue, pool, packets, counters};
  queue.receive(std::min(max, most), take, &arrivals);
  return arrivals.count;
}

unsigned send_raw(RawQueue& queue, rte_mbuf** packets, unsigned count) {
  std::array<rte_mbuf*, most> left;
  unsigned sent = 0, stuck = 0;
  for (unsigned i = 0; i < count; i++) {
    rte_mbuf* m = packets[i];
    bool ok = send(queue, m);
    if (!ok && stuck == 0) {  // once a burst: what the kernel has sent since makes room
      queue.flush();
      ok = send(queue, m);
    }
    if (!ok) {
      left[stuck++] = m;
      continue;
    }
    queue.counts.tx_packets++;
    queue.counts.tx_bytes += m->pkt_len;
    rte_pktmbuf_free(m);
    sent++;
  }
  std::copy_n(left.begin(), stuck, packets + sent);
  return sent;
}

}  // namespace teal::dataplane
