// SPDX-License-Identifier: Apache-2.0
#include "load_window.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "teal/net.h"

namespace teal::perf {
namespace {

constexpr unsigned burst = 32;
constexpr double standstill_us = 20;      // an iteration that takes longer did not have its CPU all the time
constexpr double look_us = 20;            // how often it asks for teald's answer
constexpr double rest_us = 50'000;        // silence after which what is missing is lost
constexpr uint32_t round_trips = 20'000;  // us

}  // namespace

Window::Window(rte_mempool* pool, const Frames& frames, Flows& flows, Switcher* switcher, Limits limits)
    : pool_(pool),
      frames_(frames),
      flows_(flows),
      switcher_(switcher),
      limits_(limits),
      ticks_per_us_(static_cast<double>(rte_get_tsc_hz()) / 1e6),
      us_per_tick_(1 / ticks_per_us_) {}

Millisecond& Window::millisecond(uint64_t tsc) {
  const double ms = static_cast<double>(tsc - start_) / ticks_per_us_ / 1000;
  const auto i = std::min(static_cast<size_t>(ms), out_.milliseconds.size() - 1);
  return out_.milliseconds[i];
}

Outcome Window::run(const Load& load) {
  out_ = {};
  out_.round_trip_us.resize(round_trips + 1);
  out_.milliseconds.resize(static_cast<size_t>(std::ceil(load.seconds * 1000)));
  first_ = next_;
  back_.assign(static_cast<size_t>(load.frames_per_s * (load.seconds + limits_.sleep_us * 1e-6)) / 64 + 64, 0);
  frames_per_tick_ = load.frames_per_s / ticks_per_us_ / 1e6;
  const auto ticks = static_cast<uint64_t>(load.seconds * 1e6 * ticks_per_us_);
  const auto pause = load.cutovers_per_s > 0 ? static_cast<uint64_t>(1e6 * ticks_per_us_ / load.cutovers_per_s) : ticks;
  offered_ = standstills_ = longest_ = ms_end_ = ms_ = 0;
  out_.began_epoch_ns = epoch_ns();
  start_ = last_ = last_answer_ = rte_rdtsc();
  uint64_t tsc = start_, next_cutover = start_ + pause / 2, next_look = 0;
  for (; tsc - start_ < ticks; tsc = rte_rdtsc()) {
    take_turn(tsc);
    if (load.cutovers_per_s <= 0 || tsc < next_look) continue;
    next_look = tsc + static_cast<uint64_t>(look_us * ticks_per_us_);
    if (switcher_->waiting()) {
      if (const auto done = switcher_->answer()) out_.cutovers.push_back(*done);
    } else if (tsc >= next_cutover) {
      next_cutover += pause;
      switcher_->ask();
    }
  }
  out_.seconds = static_cast<double>(tsc - start_) / ticks_per_us_ / 1e6;
  out_.standstill_us = static_cast<uint64_t>(static_cast<double>(standstills_) / ticks_per_us_);
  out_.longest_standstill_us = static_cast<double>(longest_) / ticks_per_us_;
  await_rest();
  count_lost();
  return std::move(out_);
}

void Window::take_turn(uint64_t tsc) {
  if (tsc > last_ + static_cast<uint64_t>(standstill_us * ticks_per_us_)) stood_still(tsc - last_, tsc);
  last_ = tsc;
  while (tsc - start_ >= ms_end_ && ms_ < out_.milliseconds.size()) {
    out_.milliseconds[ms_].first = next_ - first_;
    ms_end_ = static_cast<uint64_t>(static_cast<double>(++ms_) * 1000 * ticks_per_us_);
  }
  const auto due = static_cast<uint64_t>(static_cast<double>(tsc - start_) * frames_per_tick_);
  if (due > offered_ + limits_.behind) {
    out_.not_offered += due - limits_.behind - offered_;
    offered_ = due - limits_.behind;
  }
  if (limits_.sleep_us != 0 && due < offered_ + burst) {
    rest(tsc);
  } else if (due > offered_) {
    const auto count = static_cast<unsigned>(std::min<uint64_t>(due - offered_, burst));
    send(count, tsc);
    offered_ += count;
  }
  receive();
}

// Where teald's control thread has no CPU but this one, it gets it in small pieces: what is due in the next one is sent
// before it, so that the worker has its load while a cutover is carried out.
void Window::rest(uint64_t tsc) {
  const auto until = tsc + static_cast<uint64_t>(limits_.sleep_us * ticks_per_us_);
  const auto due = static_cast<uint64_t>(static_cast<double>(until - start_) * frames_per_tick_);
  while (offered_ < due) {
    const auto count = static_cast<unsigned>(std::min<uint64_t>(due - offered_, burst));
    send(count, rte_rdtsc());
    offered_ += count;
    receive();
  }
  const uint64_t from = rte_rdtsc();
  const timespec t{0, static_cast<long>(limits_.sleep_us) * 1000};
  nanosleep(&t, nullptr);
  last_ = rte_rdtsc();
  const auto wanted = static_cast<uint64_t>((limits_.sleep_us + standstill_us) * ticks_per_us_);
  if (last_ - from > wanted) stood_still(last_ - from - wanted, last_);
}

void Window::stood_still(uint64_t ticks, uint64_t until) {
  standstills_ += ticks;
  longest_ = std::max(longest_, ticks);
  last_answer_ += ticks;  // nobody looked
  Millisecond& m = millisecond(until);
  m.standstill_us = std::max(m.standstill_us, static_cast<float>(static_cast<double>(ticks) / ticks_per_us_));
}

void Window::send(unsigned count, uint64_t tsc) {
  rte_mbuf* packets[burst];
  if (rte_pktmbuf_alloc_bulk(pool_, packets, count) != 0) throw std::runtime_error("the pool ran dry: frames are held");
  for (unsigned i = 0; i < count; i++) {
    const Segment segment = flows_.next();
    out_.syns += segment.tcp_flags == TEAL_TCP_SYN;
    frames_.write(rte_pktmbuf_mtod(packets[i], uint8_t*), segment, {next_++, segment.flow, tsc});
    packets[i]->data_len = Frames::bytes;
    packets[i]->pkt_len = Frames::bytes;
  }
  const unsigned sent = rte_eth_tx_burst(0, 0, packets, static_cast<uint16_t>(count));
  out_.sent += sent;
  if (sent == count) return;
  out_.refused += count - sent;
  millisecond(tsc).refused += count - sent;
  for (unsigned i = sent; i < count; i++) {
    const uint32_t at = next_ - first_ - count + i;  // counted as refused, so not as lost in teald
    back_[at / 64] |= uint64_t{1} << (at % 64);
    rte_pktmbuf_free(packets[i]);
  }
}

unsigned Window::receive() {
  rte_mbuf* packets[2 * burst];
  const unsigned got = rte_eth_rx_burst(0, 0, packets, 2 * burst);
  if (got == 0) return 0;
  const uint64_t tsc = rte_rdtsc();
  unsigned ours = 0;
  for (unsigned i = 0; i < got; i++) rte_prefetch0(rte_pktmbuf_mtod(packets[i], void*));
  for (unsigned i = 0; i < got; i++) {
    Segment segment;
    Stamp stamp;
    // The kernel behind teald's tap says something now and then.
    if (!Frames::read(rte_pktmbuf_mtod(packets[i], uint8_t*), packets[i]->data_len, segment, stamp)) continue;
    const uint32_t at = stamp.sequence - first_;
    if (at >= next_ - first_) {
      out_.strange++;
      continue;
    }
    const uint64_t bit = uint64_t{1} << (at % 64);
    if (back_[at / 64] & bit) {
      out_.twice++;
      continue;
    }
    back_[at / 64] |= bit;
    ours++;
    const double us = static_cast<double>(tsc - stamp.tsc) * us_per_tick_;
    out_.round_trip_us[std::min(static_cast<uint32_t>(us), round_trips)]++;
    flows_.seen(segment, stamp, out_.seen);
  }
  rte_pktmbuf_free_bulk(packets, got);
  out_.received += ours;
  if (ours != 0) {
    const double silence = tsc > last_answer_ ? static_cast<double>(tsc - last_answer_) / ticks_per_us_ : 0;
    Millisecond& m = millisecond(tsc);
    m.silence_us = std::max(m.silence_us, static_cast<float>(silence));
    out_.longest_silence_us = std::max(out_.longest_silence_us, silence);
    last_answer_ = tsc;
  }
  return ours;
}

void Window::await_rest() {
  const double silence = out_.longest_silence_us;
  while (switcher_ != nullptr && switcher_->waiting())
    if (const auto done = switcher_->answer()) out_.cutovers.push_back(*done);
  for (uint64_t last = rte_rdtsc(), tsc = last; static_cast<double>(tsc - last) < rest_us * ticks_per_us_;
       tsc = rte_rdtsc())
    if (receive() != 0) last = tsc;
  out_.longest_silence_us = silence;  // less was sent at the end
}

void Window::count_lost() {
  size_t ms = 0;
  for (uint32_t at = 0; at < next_ - first_; at++) {
    if (back_[at / 64] >> (at % 64) & 1) continue;
    while (ms + 1 < out_.milliseconds.size() && out_.milliseconds[ms + 1].first <= at) ms++;
    out_.milliseconds[ms].lost++;
    out_.lost++;
  }
}

}  // namespace teal::perf
