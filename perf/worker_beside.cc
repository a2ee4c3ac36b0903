// SPDX-License-Identifier: Apache-2.0
#include "worker_beside.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "cpu.h"
#include "flow/sweep.h"
#include "worker_lane.h"

namespace teal::perf {
namespace {

using std::chrono::steady_clock;

constexpr uint32_t slice = 1 << 14;  // buckets a step, where there are no pauses
enum class Pace : uint8_t { without_pauses, as_teald };

// Walks the table over and over on a thread of its own, until it goes away.
class Sweeping {
 public:
  Sweeping(BenchWorld& world, uint32_t half_open_ticks, Pace pace) : sweeper_(world.table(), world.secret()) {
    std::vector<flow::Ageing> ageing(world.view().service_count);
    for (auto& a : ageing) {
      a.timeout.fill(1u << 20);
      a.timeout[TEAL_TIMEOUT_half_open] = half_open_ticks;
    }
    thread_ = std::thread([this, &world, ageing, pace] {
      bind_to_cpu(1);  // the worker is on CPU 0, where start_dpdk() bound it
      const uint32_t buckets = pace == Pace::as_teald ? world.table().bucket_count() / 100 + 1 : slice;
      for (auto next = steady_clock::now(); !stop_; next += std::chrono::milliseconds(10)) {
        if (sweeper_.step(buckets, TEAL_LOAD(&world.storage().head().tick), ageing))
          entries_ = sweeper_.census().entries;
        if (pace == Pace::as_teald) std::this_thread::sleep_until(next);
      }
    });
  }
  ~Sweeping() {
    stop_ = true;
    thread_.join();
  }
  Sweeping(const Sweeping&) = delete;
  Sweeping& operator=(const Sweeping&) = delete;
  [[nodiscard]] uint64_t entries() const { return entries_; }  // of the last walk

 private:
  flow::Sweeper sweeper_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> entries_ = 0;
  std::thread thread_;
};

}  // namespace

SweepBeside measure_sweep_beside(uint32_t flows, uint32_t rounds, uint32_t packets, double packets_per_s) {
  BenchWorld world({}, 2ull * flows);
  world.enter(0, flows, world.storage().now());
  Lane lane(world, 0);
  Traffic traffic;
  traffic.flows = flows;
  Source source(world, traffic, lane.pool(), flows);
  const auto window = [&] { return lane.forward(source, traffic, 2 * packets, packets_per_s).cycles; };
  SweepBeside percent;
  // Many and short: the sweep costs little, and what else goes on in the machine much.
  for (uint32_t round = 0; round <= 8 * rounds; round++)
    for (const Pace pace : {Pace::without_pauses, Pace::as_teald}) {
      const double before = window();
      double beside = 0;
      {
        const Sweeping sweeping(world, 1u << 20, pace);
        beside = window();
      }
      const double alone = (before + window()) / 2;  // on both sides of it: a machine's speed drifts
      auto& out = pace == Pace::as_teald ? percent.as_teald : percent.without_pauses;
      if (round > 0) out.push_back((beside / alone - 1) * 100);  // the first warms up
    }
  return percent;
}

Churn measure_churn(double flows_per_s, uint32_t seconds, double tsc_per_ns) {
  constexpr uint32_t windows_a_second = 8;
  const auto window = static_cast<uint32_t>(flows_per_s / windows_a_second);
  BenchWorld world({}, static_cast<uint64_t>(4 * flows_per_s));
  Lane lane(world, 0);
  Traffic traffic;
  traffic.syn_percent = 100;
  Source source(world, traffic, lane.pool(), 0);
  const Sweeping sweeping(world, TEAL_TICKS_PER_S, Pace::without_pauses);
  Churn churn;
  for (uint32_t i = 0; i < seconds * windows_a_second; i++) {
    const double cycles = lane.forward(source, traffic, window, flows_per_s).cycles;
    churn.mflows_per_s.push_back(tsc_per_ns * 1000 / cycles);
    churn.most_entries = std::max(churn.most_entries, sweeping.entries());
  }
  churn.untracked = lane.untracked();
  if (churn.most_entries > static_cast<uint64_t>(3.5 * flows_per_s))
    throw std::runtime_error(std::to_string(churn.most_entries) + " entries at " + std::to_string(flows_per_s) +
                             " new flows a second: the sweep does not keep pace");
  return churn;
}

}  // namespace teal::perf
