// SPDX-License-Identifier: Apache-2.0
#include "worker.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "raw_burst.h"

namespace teal::dataplane {

Worker::Worker(unsigned id, const Pipeline::Shared& shared, const std::atomic<const model::View*>& view,
               flow::Storage& clock, rte_rcu_qsbr* qsbr, bool adaptive, const std::vector<model::PortConfig>& ports)
    : id_(id),
      sink_(counters_),
      pipeline_(shared, counters_, sink_),
      view_(view),
      clock_(clock),
      qsbr_(qsbr),
      adaptive_(adaptive) {
  for (const auto& p : ports) vlan_.push_back(p.vlan);
}

void Worker::read_clock(uint64_t tsc) {
  if (tsc < next_clock_) return;
  next_clock_ = tsc + rte_get_tsc_hz() / (2 * TEAL_FINE_TICKS_PER_S);
  now_ = clock_.now();
  if (id_ == 0) TEAL_STORE(&clock_.head().tick, now_);
}

void Worker::run(const std::atomic<bool>& stop) {
  prctl(PR_SET_TIMERSLACK, 1);
  // A worker that sleeps shares its CPU; one that loses it in the middle of a burst holds up a cutover for a time slice
  // (6 ms seen). Best effort: needs CAP_SYS_NICE. A polling worker is expected to own its CPU.
  if (adaptive_) setpriority(PRIO_PROCESS, 0, -20);
  rte_rcu_qsbr_thread_register(qsbr_, id_);
  rte_rcu_qsbr_thread_online(qsbr_, id_);
  unsigned idle_rounds = 0;
  while (!stop.load(std::memory_order_relaxed)) {
    tsc_ = rte_rdtsc();
    read_clock(tsc_);
    const model::View& view = *view_.load(std::memory_order_acquire);
    const unsigned got = poll(view);
    if (tsc_ >= next_housekeeping_) {
      next_housekeeping_ = tsc_ + rte_get_tsc_hz() / 1000;
      pipeline_.housekeeping(view, now_, tsc_);
    }
    sink_.flush();
    rte_rcu_qsbr_quiescent(qsbr_, id_);
    counters_.loops++;
    if (got != 0) {
      counters_.busy_cycles += rte_rdtsc() - tsc_;
      idle_rounds = 0;
    } else {
      idle_rounds++;
      if (adaptive_ && idle_rounds > 64) rest(idle_rounds);
    }
  }
  rte_rcu_qsbr_thread_offline(qsbr_, id_);
  rte_rcu_qsbr_thread_unregister(qsbr_, id_);
}

// Sleeps while nothing comes: until something does, where that can be waited for, else 20 us at first, a millisecond at
// most (a wake-up costs some 12 us with two software devices). Offline for that time, so that a cutover does not wait.
void Worker::rest(unsigned idle_rounds) {
  if (await_frames()) return;
  const long longest = idle_rounds > 1200 ? 1000 : 500;  // half a second of silence: nobody waits for us
  const long us = std::min<long>(20 + static_cast<long>(idle_rounds - 64) * 10, pipeline_.idle() ? longest : 100);
  rte_rcu_qsbr_thread_offline(qsbr_, id_);
  const timespec t{0, us * 1000};
  nanosleep(&t, nullptr);
  rte_rcu_qsbr_thread_online(qsbr_, id_);
}

// Waits for frames of raw queues, where nothing else is this worker's. False: something has to be looked after before.
bool Worker::await_frames() {
  if (!receive_.empty() || !relays_.empty() || !pipeline_.idle()) return false;
  for (size_t i = 0; i < raw_.size(); i++) {
    awaited_[i] = {raw_[i].queue->awaited(), POLLIN, 0};
    if (awaited_[i].fd < 0) return false;
  }
  // The table's clock and what is being reassembled are looked after now and then; whoever stops a worker waits for it.
  constexpr int longest_ms = 50;
  rte_rcu_qsbr_thread_offline(qsbr_, id_);
  ::poll(awaited_.data(), awaited_.size(), longest_ms);
  rte_rcu_qsbr_thread_online(qsbr_, id_);
  return true;
}

unsigned Worker::poll(const model::View& view) {
  unsigned total = 0;
  rte_mbuf* packets[burst];
  for (const Receive& r : receive_) {
    const uint16_t n = rte_eth_rx_burst(r.ethdev, r.queue, packets, burst);
    if (n == 0) continue;
    total += n;
    if (r.tap) {
      from_kernel(packets, n, r.port);
      continue;
    }
    counters_.event[TEAL_EV_rx_packets] += n;
    counters_.event[TEAL_EV_rx_bytes] += pipeline_.process(view, packets, n, r.port, now_, tsc_);
  }
  for (const RawReceive& r : raw_) {
    const unsigned n = receive_raw(*r.queue, r.pool, packets, burst, counters_);
    if (n == 0) continue;
    total += n;
    pipeline_.process(view, packets, n, r.port, now_, tsc_);  // received counts: the XDP program's
  }
  for (const Relay& r : relays_) {
    const unsigned n = rte_ring_dequeue_burst(r.ring, reinterpret_cast<void**>(packets), burst, nullptr);
    if (n == 0) continue;
    total += n;
    const unsigned sent = r.raw != nullptr ? send_raw(*r.raw, packets, n)
                                           : rte_eth_tx_burst(r.ethdev, r.queue, packets, static_cast<uint16_t>(n));
    for (unsigned i = sent; i < n; i++) sink_.drop(packets[i], TEAL_DROP_tx_full);
  }
  return total;
}

void Worker::from_kernel(rte_mbuf** packets, unsigned n, uint16_t port) {
  counters_.event[TEAL_EV_from_kernel] += n;
  const auto& vlan = vlan_[port];
  for (unsigned i = 0; i < n; i++) {
    rte_mbuf* m = packets[i];
    m->ol_flags = 0;
    for (size_t t = vlan.size(); t-- > 0;) {  // innermost first
      uint8_t* data = reinterpret_cast<uint8_t*>(rte_pktmbuf_prepend(m, 4));
      if (data == nullptr) break;
      std::memmove(data, data + 4, 12);
      const uint16_t tag[2] = {teal_swap16(t == 0 && vlan.size() == 2 ? TEAL_ETH_QINQ : TEAL_ETH_VLAN),
                               teal_swap16(vlan[t])};
      std::memcpy(data + 12, tag, 4);
    }
    sink_.send(port, m);
  }
}

}  // namespace teal::dataplane
