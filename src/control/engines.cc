// SPDX-License-Identifier: Apache-2.0
#include "control/engines.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "xdp/engine.h"

namespace teal::control {
namespace {

void add(dataplane::Counters& sum, const xdp::Engine::Totals& t) {
  for (size_t i = 0; i < sum.drop.size(); i++) sum.drop[i] += t.drop[i];
  for (size_t i = 0; i < sum.event.size(); i++) sum.event[i] += t.event[i];
  for (size_t i = 0; i < std::min(sum.service.size(), t.service.size()); i++) {
    dataplane::ServiceCounters& s = sum.service[i];
    const teal_service_counts& x = t.service[i];
    for (int pool = 0; pool < 2; pool++) s.new_flows[pool] += x.new_flows[pool];
    s.untracked += x.untracked;
    s.recovered += x.recovered;
    s.moved += x.moved;
  }
  for (size_t i = 0; i < std::min(sum.backend.size(), t.backend.size()); i++) {
    sum.backend[i].packets += t.backend[i].packets;
    sum.backend[i].bytes += t.backend[i].bytes;
  }
}

}  // namespace

// The first time the workers must be there before the program leaves packets to them. Later the program comes first: it
// is the one that can refuse, and then both keep what they had.
void Engines::publish(std::unique_ptr<const model::Snapshot> next) {
  const bool first = workers_.snapshot() == nullptr;
  if (fast_path_ != nullptr && !first) fast_path_->publish(*next);
  workers_.publish(std::move(next));
  if (fast_path_ != nullptr && first) fast_path_->publish(*workers_.snapshot());
}

uint64_t Engines::synchronize() {
  const auto begin = std::chrono::steady_clock::now();
  if (fast_path_ != nullptr) fast_path_->synchronize();
  workers_.synchronize();
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin).count());
}

dataplane::Counters Engines::totals() const {
  dataplane::Counters sum = workers_.totals();
  if (fast_path_ == nullptr) return sum;
  xdp::Engine::Totals program;
  fast_path_->add_totals(program);
  add(sum, program);
  return sum;
}

rollout::PoolSignals Engines::signals(uint16_t service, model::Pool pool, std::optional<uint64_t> generation) const {
  std::array<teal_signal_counts, size_t{2} * TEAL_SIGNAL_GENERATIONS> counts{};
  workers_.add_signals(service, counts);
  if (fast_path_ != nullptr) fast_path_->add_signals(service, counts);
  rollout::PoolSignals sum;
  for (uint64_t g = 0; g < TEAL_SIGNAL_GENERATIONS; g++) {
    if (generation && *generation % TEAL_SIGNAL_GENERATIONS != g) continue;
    const teal_signal_counts& c = counts[static_cast<size_t>(pool) * TEAL_SIGNAL_GENERATIONS + g];
    rollout::PoolSignals one;
    one.begun = c.begun;
    one.handshakes = c.handshakes;
    one.syn_retransmits = c.syn_retransmits;
    one.refused = c.refused;
    one.early_resets = c.early_resets;
    one.resets = c.resets;
    std::copy_n(c.handshake, TEAL_HANDSHAKE_BUCKETS, one.handshake.begin());
    sum += one;
  }
  return sum;
}

std::vector<dataplane::PortState> Engines::ports() const {
  std::vector<dataplane::PortState> out = workers_.ports();
  if (fast_path_ == nullptr) return out;
  // What the dataplane tells of these ports is only what their sockets saw.
  for (xdp::PortState& x : fast_path_->ports()) {
    const auto at = std::find_if(out.begin(), out.end(), [&](const auto& p) { return p.name == x.name; });
    if (at == out.end()) continue;
    *at = {x.name,       x.device,     "xdp " + x.mode + (x.driver.empty() ? "" : " (" + x.driver + ")"),
           x.mac,        x.link_up,    x.rx_queues,
           x.tx_queues,  x.rx_packets, x.rx_bytes,
           x.tx_packets, x.tx_bytes,   x.rx_missed};
  }
  return out;
}

}  // namespace teal::control
