// SPDX-License-Identifier: Apache-2.0
// teal-load: frames at a rate to a running teald over a memif, and what comes back of them. It reads commands from its
// standard input and answers each with a line of JSON.
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <sched.h>
#include <sys/prctl.h>

#include <boost/program_options.hpp>
#include <chrono>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "load_window.h"

namespace teal::perf {
namespace {

namespace po = boost::program_options;

struct Options {
  std::string memif, control, service;
  uint32_t sleep_us = 0;
  uint32_t cpu = 1, services = 1000, flows = 8192, frames_a_syn = 100, ring = 4096;
};

// The client of the memif: it makes the rings. All is in ordinary memory.
rte_mempool* start_dpdk(const Options& o) {
  const auto log_ring = static_cast<unsigned>(std::lround(std::log2(o.ring)));
  if (1u << log_ring != o.ring || o.ring > 16384)
    throw std::runtime_error("--ring " + std::to_string(o.ring) + ", expected a power of two up to 16384");
  std::vector<std::string> args{
      "teal-load",
      "--no-huge",
      "--no-shconf",
      "--no-pci",
      "--no-telemetry",
      "-m",
      "128",
      "--lcores=0@" + std::to_string(o.cpu),
      "--file-prefix=teal-load",
      "--log-level=*:error",
      "--vdev=net_memif0,role=client,id=0,socket-abstract=no,rsize=" + std::to_string(log_ring) + ",socket=" + o.memif};
  std::vector<char*> argv;
  for (auto& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(args.size()), argv.data()) < 0) throw std::runtime_error("DPDK did not start");
  if (rte_eth_dev_count_avail() != 1)
    throw std::runtime_error("DPDK has no net_memif device; install its drivers (dpdk-dev)");
  // The rings hold copies: few buffers are in use at a time, and they stay in the cache.
  rte_mempool* pool = rte_pktmbuf_pool_create("frames", 1023, 128, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  rte_eth_conf conf{};
  rte_eth_dev_info info{};
  rte_eth_dev_info_get(0, &info);
  conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
  if (pool == nullptr || rte_eth_dev_configure(0, 1, 1, &conf) != 0 ||
      rte_eth_rx_queue_setup(0, 0, static_cast<uint16_t>(o.ring), SOCKET_ID_ANY, nullptr, pool) != 0 ||
      rte_eth_tx_queue_setup(0, 0, static_cast<uint16_t>(o.ring), SOCKET_ID_ANY, nullptr) != 0 ||
      rte_eth_dev_start(0) != 0)
    throw std::runtime_error("cannot set up net_memif's queues");
  return pool;
}

void await_link() {
  using Clock = std::chrono::steady_clock;
  for (const auto end = Clock::now() + std::chrono::seconds(10);;) {
    rte_eth_link link{};
    if (rte_eth_link_get_nowait(0, &link) == 0 && link.link_status == RTE_ETH_LINK_UP) return;
    if (Clock::now() > end) throw std::runtime_error("teald's memif did not answer in 10 s");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

uint32_t percentile(const std::vector<uint32_t>& counts, double percent) {
  uint64_t all = 0, seen = 0;
  for (const uint32_t c : counts) all += c;
  for (uint32_t us = 0; us < counts.size(); us++) {
    seen += counts[us];
    if (seen > 0 && static_cast<double>(seen) >= static_cast<double>(all) * percent / 100) return us;
  }
  return 0;
}

nlohmann::json json_of(const Outcome& o) {
  nlohmann::json lost = nlohmann::json::array(), first = nlohmann::json::array(), silence = nlohmann::json::array(),
                 standstill = nlohmann::json::array();
  for (const Millisecond& m : o.milliseconds) {
    first.push_back(m.first);
    lost.push_back(m.lost + m.refused);
    silence.push_back(std::lround(m.silence_us));
    standstill.push_back(std::lround(m.standstill_us));
  }
  nlohmann::json round_trip, cutovers = nlohmann::json::array();
  for (const Cutover& c : o.cutovers)
    cutovers.push_back({{"asked_epoch_ns", c.asked_epoch_ns},
                        {"answered_epoch_ns", c.answered_epoch_ns},
                        {"reply", nlohmann::json::parse(c.reply)}});
  for (const double p : {50.0, 90.0, 99.0, 99.9, 100.0}) {
    std::ostringstream name;
    name << p;
    round_trip[name.str()] = percentile(o.round_trip_us, p);
  }
  return {{"sent", o.sent},
          {"refused", o.refused},
          {"not_offered", o.not_offered},
          {"received", o.received},
          {"lost", o.lost},
          {"twice", o.twice},
          {"strange", o.strange},
          {"syns", o.syns},
          {"moved", o.seen.moved},
          {"reordered", o.seen.reordered},
          {"seconds", o.seconds},
          {"longest_silence_us", o.longest_silence_us},
          {"longest_standstill_us", o.longest_standstill_us},
          {"standstill_us", o.standstill_us},
          {"began_epoch_ns", o.began_epoch_ns},
          {"round_trip_us", round_trip},
          {"cutovers", cutovers},
          {"ms_first", first},
          {"ms_lost", lost},
          {"ms_silence_us", silence},
          {"ms_standstill_us", standstill}};
}

// "window FRAMES_PER_S SECONDS CUTOVERS_PER_S": a line of JSON. "renew": all flows end, others begin with the next
// window.
void serve(Window& window, Flows& flows) {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string verb;
    Load load;
    words >> verb;
    if (verb == "renew") {
      flows.renew();
    } else if (verb == "window" && words >> load.frames_per_s >> load.seconds >> load.cutovers_per_s &&
               load.frames_per_s > 0 && load.seconds > 0) {
      if (load.frames_per_s * load.seconds > 2e9)
        throw std::runtime_error("found \"" + line + "\", expected up to 2 G frames");
      std::cout << json_of(window.run(load)).dump() << std::endl;
    } else {
      throw std::runtime_error("found \"" + line +
                               "\", expected \"renew\" or \"window FRAMES_PER_S SECONDS CUTOVERS_PER_S\"");
    }
  }
}

int main(int argc, char** argv) {
  Options o;
  po::options_description d("teal-load: frames at a rate to a teald over a memif. Commands on standard input");
  d.add_options()("help", "this")("memif", po::value(&o.memif)->value_name("PATH"),
                                  "the socket of teald's memif, the server")(
      "control", po::value(&o.control)->value_name("PATH"), "teald's control socket, for cutovers")(
      "service", po::value(&o.service)->value_name("NAME"), "that is cut over, with its group")(
      "sleep-us", po::value(&o.sleep_us)->value_name("N"), "left to others when nothing is due (0: polls)")(
      "cpu", po::value(&o.cpu)->value_name("N"), "that it keeps busy (1)")(
      "services", po::value(&o.services)->value_name("N"), "port 80, 10001, 10002, ... (1000)")(
      "flows", po::value(&o.flows)->value_name("N"), "at a time, a power of two (8192)")(
      "frames-a-syn", po::value(&o.frames_a_syn)->value_name("N"), "how many there are for one (100)")(
      "ring", po::value(&o.ring)->value_name("N"), "descriptors each way (4096)");
  po::variables_map v;
  po::store(po::parse_command_line(argc, argv, d), v);
  po::notify(v);
  if (v.count("help")) {
    std::cout << d;
    return 0;
  }
  if (o.memif.empty() || o.services == 0) throw std::runtime_error("expected --memif PATH and --services above 0");
  rte_mempool* pool = start_dpdk(o);
  await_link();
  const Frames frames(o.services);
  Flows flows(o.flows, o.frames_a_syn);
  std::optional<Switcher> switcher;
  if (!o.control.empty()) switcher.emplace(o.control, o.service);
  // A quarter of the ring: the burst after a standstill of this program is not what teald is to be judged by.
  Window window(pool, frames, flows, switcher ? &*switcher : nullptr, {o.ring / 4, o.sleep_us});
  prctl(PR_SET_TIMERSLACK, 1);
  if (o.sleep_us != 0) {  // it must have its CPU back at once when it has slept
    const sched_param first{1};
    if (sched_setscheduler(0, SCHED_FIFO, &first) != 0)
      throw std::runtime_error("cannot run before others: needs root");
  }
  std::cout << "ready" << std::endl;
  serve(window, flows);
  rte_eth_dev_stop(0);
  rte_eth_dev_close(0);
  rte_eal_cleanup();
  return 0;
}

}  // namespace
}  // namespace teal::perf

int main(int argc, char** argv) {
  try {
    return teal::perf::main(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << "teal-load: " << e.what() << "\n";
    return 1;
  }
}
