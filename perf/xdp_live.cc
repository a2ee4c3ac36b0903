// SPDX-License-Identifier: Apache-2.0
// teal-xdp-live: packets a second through the XDP program on a veth pair, made and counted in the kernel
// (BPF_F_TEST_XDP_LIVE_FRAMES), in turns with a program that only sends them back.
#include <bpf/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cpu.h"
#include "xdp_bench_subject.h"
#include "xdp_live.skel.h"
#include "xdp_world.h"

namespace teal::perf {
namespace {

namespace po = boost::program_options;
using Clock = std::chrono::steady_clock;

struct Plan {  // as in xdp_live.bpf.c
  uint64_t state;
  uint32_t flows, unused;
  uint64_t back;
  alignas(8) uint8_t frame[BENCH_FRAME4];
};

std::span<const unsigned char> object() {
  size_t bytes = 0;
  const void* elf = xdp_live::elf_bytes(&bytes);
  return {static_cast<const unsigned char*>(elf), bytes};
}

class Live {
 public:
  Live(XdpWorld& world, const Subject& subject)
      : world_(world), subject_(subject), object_(object(), {}, {}), plan_(object_.map("plan"), 1) {
    const auto frame = subject.frame();
    std::copy(frame.begin(), frame.end(), plan_->frame);
    link_ = XdpWorld::pinned("link_port");
    teal_ = XdpWorld::pinned("program");
    counter_ = XdpWorld::attach(object_.program("live_count"), world.wire());
  }
  ~Live() {
    for (const int fd : {counter_, teal_, link_}) close(fd);
  }
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

  void populate(uint32_t flows) {
    world_.clear_flows();
    plan_->flows = flows;
    const uint16_t service = world_.registry().service_number(subject_.service(0).name);
    const uint16_t backend = world_.registry().backend_number(service, subject_.service(0).pools[TEAL_BLUE][0].name);
    const teal_secret& secret = world_.storage().head().secret;
    const uint32_t now = TEAL_LOAD(&world_.storage().head().tick);
    flow::InsertCounts counts;
    for (uint32_t i = 0; i < flows; i++) {
      const teal_flow_key key = teal_flow_key4(&secret, teal_swap32(BENCH_CLIENT4 + i), bench_client_port(i), service);
      uint64_t val = teal_val(backend, TEAL_BLUE, 1, TEAL_FLOW_established, key.check, now);
      world_.table().insert(secret, key, &val, 0, now, counts);
    }
  }

  // Millions of packets a second that came back. Throws std::runtime_error when not all of them did.
  double measure(bool teal, uint32_t packets) {
    if (bpf_link_update(link_, teal ? teal_ : object_.program("live_bare"), nullptr) != 0)
      throw std::runtime_error("cannot replace the program");
    uint8_t frame[BENCH_FRAME4]{};
    xdp_md context{};
    context.data_end = sizeof(frame);
    context.ingress_ifindex = static_cast<uint32_t>(world_.wire());
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = frame;
    options.data_size_in = sizeof(frame);
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    options.batch_size = 64;
    options.repeat = static_cast<int>(packets);
    const uint64_t before = TEAL_LOAD(&plan_->back), events = world_.event(TEAL_EV_forwarded);
    const auto start = Clock::now();
    if (const int e = bpf_prog_test_run_opts(object_.program("live_generate"), &options); e != 0)
      throw std::runtime_error(std::string("BPF_F_TEST_XDP_LIVE_FRAMES: ") + std::strerror(-e));
    auto last = Clock::now();
    // What still lies in rings.
    for (uint64_t seen = before; TEAL_LOAD(&plan_->back) != seen;
         std::this_thread::sleep_for(std::chrono::milliseconds(2))) {
      seen = TEAL_LOAD(&plan_->back);
      last = seen - before >= packets ? last : Clock::now();
    }
    const uint64_t back = TEAL_LOAD(&plan_->back) - before;
    const uint64_t forwarded = world_.event(TEAL_EV_forwarded) - events;
    if (forwarded != (teal ? packets : 0))
      throw std::runtime_error("teal forwarded " + std::to_string(forwarded) + " of " + std::to_string(packets));
    // veth drops what its ring cannot take, and says so nowhere that matters here.
    if (back < packets / 2)
      throw std::runtime_error(std::to_string(back) + " of " + std::to_string(packets) + " came back");
    return static_cast<double>(back) / std::chrono::duration<double, std::micro>(last - start).count();
  }

 private:
  XdpWorld& world_;
  Subject subject_;
  TestObject object_;
  Shared<Plan> plan_;
  int link_, teal_, counter_;
};

int main(int argc, char** argv) {
  std::vector<uint32_t> flows{1'000, 1'000'000};
  uint32_t rounds = 7, packets = 1 << 20;
  std::string file;
  po::options_description d("teal-xdp-live: packets a second on veth, beside a bare XDP_TX. Needs root");
  d.add_options()("help", "this")("rounds", po::value(&rounds)->value_name("N"), "in turns (7)")(
      "packets", po::value(&packets)->value_name("N"), "a round; a multiple of 64 (1048576)")(
      "flows", po::value(&flows)->multitoken()->value_name("N..."), "numbers of flows (1000 1000000)")(
      "json", po::value(&file)->value_name("FILE"), "every round's figures");
  po::variables_map v;
  po::store(po::parse_command_line(argc, argv, d), v);
  if (v.count("help")) {
    std::cout << d;
    return 0;
  }
  if (v.count("flows")) flows.clear();
  po::notify(v);
  if (packets == 0 || packets % 64 != 0)
    throw std::runtime_error("--packets " + std::to_string(packets) + ", expected a multiple of 64 above 0");
  if (const std::string why = XdpWorld::missing(); !why.empty()) {
    std::cerr << "SKIPPED: teal-xdp-live " << why << "\n";
    return 77;
  }
  XdpWorld world(2ull * *std::max_element(flows.begin(), flows.end()));
  const Subject subject{"nat", Does::hit, 4, model::Forward::nat};
  world.serve(services_of({subject}));
  Live live(world, subject);
  bind_to_cpu(1);
  nlohmann::json rows = nlohmann::json::array();
  for (const uint32_t n : flows) {
    live.populate(n);
    std::vector<double> bare, teal;
    for (uint32_t i = 0; i <= rounds; i++) {
      const double b = live.measure(false, packets), t = live.measure(true, packets);
      if (i == 0) continue;  // warms up
      bare.push_back(b);
      teal.push_back(t);
    }
    rows.push_back({{"flows", n}, {"bare_mpps", bare}, {"teal_mpps", teal}});
    std::sort(bare.begin(), bare.end());
    std::sort(teal.begin(), teal.end());
    std::fprintf(stderr, "%8u flows: bare XDP_TX %.2f, teal nat %.2f Mpps (medians)\n", n, bare[bare.size() / 2],
                 teal[teal.size() / 2]);
  }
  if (!file.empty()) std::ofstream(file) << nlohmann::json{{"rows", rows}}.dump(1) << "\n";
  return 0;
}

}  // namespace
}  // namespace teal::perf

int main(int argc, char** argv) {
  try {
    return teal::perf::main(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << "teal-xdp-live: " << e.what() << "\n";
    return 1;
  }
}
