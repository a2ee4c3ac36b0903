// SPDX-License-Identifier: Apache-2.0
#include "worker_scaling.h"

#include <rte_lcore.h>

#include <array>
#include <barrier>
#include <exception>
#include <stdexcept>
#include <thread>
#include <utility>

#include "cpu.h"
#include "worker_lane.h"

namespace teal::perf {
namespace {

// Cycles a packet of each of the lanes, all at the same time.
std::vector<double> together(std::vector<Lane*> lanes, std::vector<Source*> sources, const Traffic& traffic,
                             uint32_t packets, double packets_per_s) {
  std::vector<double> cycles(lanes.size());
  std::vector<std::exception_ptr> broken(lanes.size());
  std::barrier start(static_cast<std::ptrdiff_t>(lanes.size()));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < lanes.size(); i++)
    threads.emplace_back([&, i] {
      try {
        bind_to_cpu(static_cast<unsigned>(i));
        if (rte_thread_register() != 0) throw std::runtime_error("DPDK has no lcore left");  // for the pool's cache
      } catch (...) {
        broken[i] = std::current_exception();
      }
      start.arrive_and_wait();
      try {
        if (!broken[i]) cycles[i] = lanes[i]->forward(*sources[i], traffic, packets, packets_per_s).cycles;
      } catch (...) {
        broken[i] = std::current_exception();
      }
      rte_thread_unregister();
    });
  for (std::thread& t : threads) t.join();
  for (const auto& b : broken)
    if (b) std::rethrow_exception(b);
  return cycles;
}

}  // namespace

std::vector<ScalingRow> measure_scaling(const std::vector<uint32_t>& flows, uint32_t rounds, uint32_t packets,
                                        double packets_per_s) {
  std::vector<ScalingRow> rows;
  for (const uint32_t n : flows) {
    Traffic hits, fresh;
    hits.flows = fresh.flows = n;
    fresh.syn_percent = 10;
    const std::array<std::pair<const char*, Traffic>, 2> all{{{"nat", hits}, {"nat, 10 % new flows", fresh}}};
    BenchWorld world({}, std::max<uint64_t>(2ull * n, 8ull * packets));
    world.enter(0, n, world.storage().now());
    Lane first(world, 0), second(world, 1);
    const size_t at = rows.size();
    for (const auto& [name, traffic] : all) rows.push_back({name, n, {}});
    for (uint32_t round = 0; round <= rounds; round++)
      for (size_t i = 0; i < all.size(); i++) {
        const Traffic& traffic = all[i].second;
        const auto measure = [&](std::vector<Lane*> lanes) {
          Source one(world, traffic, first.pool(), n), two(world, traffic, second.pool(), n + packets);
          auto cycles = together(std::move(lanes), {&one, &two}, traffic, packets, packets_per_s);
          world.remove(n, one.fresh());
          world.remove(n + packets, two.fresh());
          return cycles;
        };
        const double alone = measure({&first}).front();
        const std::vector<double> both = measure({&first, &second});
        if (round > 0) rows[at + i].speedup.push_back(alone / both[0] + alone / both[1]);  // the first warms up
      }
  }
  return rows;
}

}  // namespace teal::perf
