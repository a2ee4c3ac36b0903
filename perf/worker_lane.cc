// SPDX-License-Identifier: Apache-2.0
#include "worker_lane.h"

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "yardstick.h"

namespace teal::perf {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what);
}

rte_mempool* shared_pool(unsigned queues) {
  static rte_mempool* pool = rte_pktmbuf_pool_create("device", queues * 64 + 63, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
  if (pool == nullptr) fail("no memory for packet buffers");
  return pool;
}

}  // namespace

void start_dpdk(unsigned queues) {
  std::vector<std::string> args{
      "teal-worker-bench",   "--no-huge",       "--no-shconf", "--no-pci", "-m", "192", "--no-telemetry", "-l", "0",
      "--log-level=*:error", "--vdev=net_null0"};
  std::vector<char*> argv;
  for (auto& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(args.size()), argv.data()) < 0) fail("DPDK did not start");
  if (rte_eth_dev_count_avail() != 1) fail("DPDK has no net_null device; install its drivers (dpdk-dev)");
  const rte_eth_conf conf{};
  if (rte_eth_dev_configure(0, static_cast<uint16_t>(queues), static_cast<uint16_t>(queues), &conf) != 0)
    fail("cannot configure net_null");
  for (uint16_t q = 0; q < queues; q++)
    if (rte_eth_rx_queue_setup(0, q, 64, SOCKET_ID_ANY, nullptr, shared_pool(queues)) != 0 ||
        rte_eth_tx_queue_setup(0, q, 64, SOCKET_ID_ANY, nullptr) != 0)
      fail("cannot set up net_null's queues");
  if (rte_eth_dev_start(0) != 0) fail("cannot start net_null");
}

Lane::Lane(BenchWorld& world, uint16_t queue) : world_(world), queue_(queue), sink_(counters_) {
  static int made = 0;
  const std::string name = "lane" + std::to_string(made++);
  // Few buffers, so that they stay in the second-level cache as those of a NIC with DDIO do in the third.
  pool_ = rte_pktmbuf_pool_create(name.c_str(), 511, 64, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  wanted_ = rte_ring_create_elem(name.c_str(), sizeof(dataplane::Pipeline::WantedNeighbour), 64, SOCKET_ID_ANY, 0);
  if (pool_ == nullptr || wanted_ == nullptr) fail("no memory for packet buffers");
  dataplane::Pipeline::Shared shared;
  shared.table = &world.table();
  shared.head = &world.storage().head();
  shared.splits = world.storage().splits();
  shared.settled = world.storage().settled();
  shared.ports[0] = {BenchWorld::port_mac, 0, true};
  shared.pools = {pool_, pool_};
  shared.wanted = wanted_;
  dataplane::Exit exit;
  exit.ethdev = 0;
  exit.queue = queue;
  sink_.set_port(0, exit);
  pipeline_ = std::make_unique<dataplane::Pipeline>(shared, counters_, sink_);
  clock_ = static_cast<double>(world.storage().now());
}

Lane::~Lane() {
  pipeline_.reset();
  rte_ring_free(wanted_);
  rte_mempool_free(pool_);
}

Lane::Counted Lane::counted() const {
  return {counters_.event[TEAL_EV_forwarded], counters_.event[TEAL_EV_replies], counters_.event[TEAL_EV_flows_new],
          std::accumulate(counters_.drop.begin(), counters_.drop.end(), uint64_t{0}),
          counters_.event[TEAL_EV_flows_untracked]};
}

void Lane::require(const Counted& before, uint64_t packets, uint64_t replies, uint64_t syns) const {
  const Counted c = counted();
  const auto must = [](const char* what, uint64_t found, uint64_t expected) {
    if (found != expected)
      fail(std::string("found ") + std::to_string(found) + " " + what + ", expected " + std::to_string(expected));
  };
  must("packets dropped", c.dropped - before.dropped, 0);
  must("packets forwarded", c.forwarded - before.forwarded, packets - replies);
  must("replies", c.replies - before.replies, replies);
  // A packet in 1,000 may be of a flow that found no place when the table was filled, and begins anew.
  const uint64_t fresh = c.fresh - before.fresh + (c.untracked - before.untracked);
  if (fresh < syns || fresh > syns + packets / 1000) must("new flows", fresh, syns);
}

// As dataplane::Worker::run() and poll() do it.
Window Lane::forward(Source& source, const Traffic& traffic, uint64_t packets, double packets_per_s) {
  const Counted before = counted();
  const uint64_t replies = source.replies(), syns = source.syns();
  const double ticks_a_packet = TEAL_FINE_TICKS_PER_S / packets_per_s;
  rte_mbuf* burst[dataplane::burst];
  uint64_t done = 0;
  const uint64_t from = thread_cpu_ns();
  while (done < packets) {
    if (!source.fill(burst, traffic.burst)) fail("the pool ran dry: packets are held");
    const uint64_t tsc = rte_rdtsc();
    counters_.event[TEAL_EV_rx_packets] += traffic.burst;
    const auto now = static_cast<uint32_t>(clock_);
    if (uint32_t& tick = world_.storage().head().tick; tick != now) TEAL_STORE(&tick, now);
    counters_.event[TEAL_EV_rx_bytes] += pipeline_->process(world_.view(), burst, traffic.burst, 0, now, tsc);
    sink_.flush();
    counters_.loops++;
    counters_.busy_cycles += rte_rdtsc() - tsc;
    clock_ += ticks_a_packet * traffic.burst;
    done += traffic.burst;
  }
  const uint64_t ns = thread_cpu_ns() - from;
  // What waits for a lock whose holder (the sweep, another worker) had lost its CPU.
  while (!pipeline_->idle()) {
    pipeline_->housekeeping(world_.view(), static_cast<uint32_t>(clock_), rte_rdtsc());
    sink_.flush();
  }
  require(before, done, source.replies() - replies, source.syns() - syns);
  return {thread_cycles(ns) / static_cast<double>(done), done};
}

Window Lane::floor(Source& source, const Traffic& traffic, uint64_t packets, Model* model) {
  rte_mbuf* burst[dataplane::burst];
  const uint64_t strangers = model != nullptr ? model->strangers() : 0;
  uint64_t done = 0;
  const uint64_t from = thread_cpu_ns();
  while (done < packets) {
    if (!source.fill(burst, traffic.burst)) fail("the pool ran dry");
    if (model != nullptr) model->forward(burst, traffic.burst);
    if (rte_eth_tx_burst(0, queue_, burst, static_cast<uint16_t>(traffic.burst)) != traffic.burst)
      fail("net_null did not take a burst");
    done += traffic.burst;
  }
  const uint64_t ns = thread_cpu_ns() - from;
  if (model != nullptr && model->strangers() - strangers > done / 50) fail("the model knows too few of the packets");
  return {thread_cycles(ns) / static_cast<double>(done), done};
}

}  // namespace teal::perf
