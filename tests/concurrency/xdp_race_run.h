// SPDX-License-Identifier: Apache-2.0
// The threads of teal-xdp-race: one generator a CPU, and the one that cuts over.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "xdp_race.h"
#include "xdp_world.h"

namespace teal::race {

// What is taken away, to see that it is missed.
enum class Break : uint8_t { nothing, lock, sync, stale };

struct Cutovers {
  uint64_t done = 0;
  uint64_t shaken = 0;  // of those, stored by the shaker
  uint64_t late = 0;    // after which the old pool still got new flows, although synchronize() had returned
  uint64_t late_flows = 0;
  uint64_t most_wait_ns = 0, sum_wait_ns = 0;  // in synchronize()
};

class Race {
 public:
  // `flows`: a multiple of RACE_STEP. Throws std::runtime_error.
  Race(uint32_t flows, Break broken);
  ~Race();
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

  // Sends every flow's packets on both CPUs under cutovers; returns when all are through, or after `limit_s` seconds.
  Cutovers run(unsigned limit_s);

  [[nodiscard]] perf::XdpWorld& world() { return world_; }
  [[nodiscard]] const race_seen& seen(uint32_t flow, unsigned cpu) const { return seen_[flow * RACE_CPUS + cpu]; }
  [[nodiscard]] const race_plan& plan() const { return plan_[0]; }
  [[nodiscard]] uint64_t solo() const { return generators_[0].solo + generators_[1].solo; }
  // Pool of a backend's number in race_seen.
  static int pool_of(uint32_t backend) { return backend > RACE_BACKENDS / 2 ? TEAL_GREEN : TEAL_BLUE; }
  // Pool that all new flows go to under a generation; the first is 1 and blue's.
  static int pool_under(uint32_t generation) { return generation % 2 == 1 ? TEAL_BLUE : TEAL_GREEN; }
  // How often each flow stands in the table.
  [[nodiscard]] std::vector<uint8_t> entries() const;

 private:
  void serve();
  void put_frame();
  void replace_program(Break broken);
  void start_shaker();
  void inject(unsigned cpu);
  void cut_over(Cutovers& counts);
  void store(const teal_split& next, bool by_shaker, Cutovers& counts);
  [[nodiscard]] uint64_t new_flows(int pool) const;
  [[nodiscard]] bool sent() const;

  uint32_t flows_;
  Break broken_;
  perf::XdpWorld world_;
  perf::TestObject object_;
  perf::Shared<race_plan> plan_;
  perf::Shared<race_generator> generators_;
  perf::Shared<race_seen> seen_;
  std::unique_ptr<perf::TestObject> broken_program_;
  std::vector<int> held_;  // descriptors: the checker's link, the shaker's events
  uint16_t service_ = 0, group_ = 0;
  std::atomic<bool> stop_ = false;
};

}  // namespace teal::race
