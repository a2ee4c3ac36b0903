// SPDX-License-Identifier: Apache-2.0
#include "xdp_race_run.h"

#include <bpf/bpf.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iostream>
#include <random>
#include <stdexcept>

#include "cpu.h"
#include "flow/sweep.h"
#include "rollout/switch.h"
#include "teal_nolock.skel.h"
#include "teal_stale.skel.h"
#include "xdp_race.skel.h"

namespace teal::race {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

constexpr uint64_t shake_period_ns = 25'000;

template <class Skeleton>
std::span<const unsigned char> object_of() {
  size_t bytes = 0;
  const void* elf = Skeleton::elf_bytes(&bytes);
  return {static_cast<const unsigned char*>(elf), bytes};
}

[[noreturn]] void fail(const std::string& what, int error) {
  throw std::runtime_error(what + ": " + std::strerror(error));
}

}  // namespace

Race::Race(uint32_t flows, Break broken)
    : flows_(flows),
      broken_(broken),
      world_(uint64_t{flows} * 4),  // so that no half-open entry has to give way
      object_((serve(), object_of<xdp_race>()), {"teal_table"}, {{"seen", flows * RACE_CPUS}}),
      plan_(object_.map("plan"), 1),
      generators_(object_.map("generators"), RACE_CPUS),
      seen_(object_.map("seen"), size_t{flows} * RACE_CPUS) {
  service_ = world_.registry().service_number("race");
  group_ = world_.registry().service(service_).group;
  plan_->flows = flows;
  plan_->group = group_;
  plan_->stored = plan_->adopted =
      static_cast<uint32_t>(teal_split_generation(world_.registry().split(group_).current));
  put_frame();
  replace_program(broken);
  held_.push_back(perf::XdpWorld::attach(object_.program("race_check"), world_.wire()));
  start_shaker();
}

Race::~Race() {
  for (const int fd : held_) close(fd);
}

void Race::serve() {
  model::ServiceConfig c;
  c.name = "race";
  c.vip = *model::Address::parse("198.18.0.1");
  c.port = 80;
  for (uint8_t i = 0; i < RACE_BACKENDS; i++) {
    model::BackendConfig b;
    b.endpoint = *model::Endpoint::parse("172.16.0.0:8080");
    b.endpoint.address.bytes[3] = static_cast<uint8_t>(i + 1);
    b.name = b.endpoint.str();
    c.pools[i >= RACE_BACKENDS / 2 ? TEAL_GREEN : TEAL_BLUE].push_back(b);
  }
  world_.serve({c});
}

void Race::put_frame() {
  uint8_t* f = plan_->frame;
  auto* eth = reinterpret_cast<teal_eth*>(f);
  std::copy_n(perf::XdpWorld::port_mac.begin(), 6, eth->dst);
  std::copy_n(perf::XdpWorld::wire_mac.begin(), 6, eth->src);
  eth->type = teal_swap16(TEAL_ETH_IPV4);
  auto* ip = reinterpret_cast<teal_ipv4*>(f + 14);
  ip->version_ihl = 0x45;
  ip->total_len = teal_swap16(40);
  ip->ttl = 64;
  ip->proto = TEAL_PROTO_TCP;
  ip->dst = model::Address::parse("198.18.0.1")->raw().v4;
  auto* tcp = reinterpret_cast<teal_tcp*>(f + 34);
  tcp->sport = teal_swap16(RACE_CLIENT_PORT);
  tcp->dport = teal_swap16(80);
  tcp->offset = 5 << 4;
}

// A broken copy works on the same maps, through the same link.
void Race::replace_program(Break broken) {
  if (broken != Break::lock && broken != Break::stale) return;
  const auto elf = broken == Break::lock ? object_of<teal_nolock>() : object_of<teal_stale>();
  broken_program_ = std::make_unique<perf::TestObject>(
      elf, std::vector<std::string>{"teal_table", ".bss", "teal_cpus", "teal_maglevs", "teal_xsks"},
      std::vector<perf::TestObject::Size>{});
  const int link = perf::XdpWorld::pinned("link_port");
  const int e = bpf_link_update(link, broken_program_->program("teal_xdp"), nullptr);
  close(link);
  if (e != 0) fail("cannot replace the program", -e);
}

// A timer's interrupt on each CPU, every few tens of microseconds.
void Race::start_shaker() {
  for (int cpu = 0; cpu < RACE_CPUS; cpu++) {
    perf_event_attr a{};
    a.size = sizeof(a);
    a.type = PERF_TYPE_SOFTWARE;
    a.config = PERF_COUNT_SW_CPU_CLOCK;
    a.sample_period = shake_period_ns;
    const int fd = static_cast<int>(syscall(SYS_perf_event_open, &a, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC));
    if (fd < 0) fail("no timer event", errno);
    held_.push_back(fd);
    if (ioctl(fd, PERF_EVENT_IOC_SET_BPF, object_.program("race_shake")) != 0 ||
        ioctl(fd, PERF_EVENT_IOC_ENABLE, 0) != 0)
      fail("cannot run a program in a timer's interrupt", errno);
  }
}

bool Race::sent() const {
  const uint64_t all = uint64_t{flows_} * 2;
  return TEAL_LOAD(&generators_[0].next) >= all && TEAL_LOAD(&generators_[1].next) >= all;
}

void Race::inject(unsigned cpu) {
  perf::bind_to_cpu(cpu);
  uint8_t frame[RACE_FRAME]{};
  xdp_md context{};
  context.data_end = sizeof(frame);
  context.ingress_ifindex = static_cast<uint32_t>(world_.wire());
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = frame;
  options.data_size_in = sizeof(frame);
  options.ctx_in = &context;
  options.ctx_size_in = sizeof(context);
  options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  options.batch_size = RACE_BATCH;
  options.repeat = RACE_BATCH * 64;
  while (!sent() && !stop_) {
    const int e = bpf_prog_test_run_opts(object_.program("race_generate"), &options);
    if (e == 0) continue;
    std::cerr << "CPU " << cpu << ": BPF_F_TEST_XDP_LIVE_FRAMES: " << std::strerror(-e) << "\n";
    stop_ = true;  // the flows that are missing make the run fail
  }
}

uint64_t Race::new_flows(int pool) const {
  uint64_t sum = 0;
  for (size_t i = 0; i < world_.cpus().count(); i++)
    sum += TEAL_LOAD(&world_.cpus()[i].service[service_].new_flows[pool]);
  return sum;
}

void Race::store(const teal_split& next, bool by_shaker, Cutovers& counts) {
  if (by_shaker) {
    plan_->pending[0] = next.previous;
    plan_->pending[1] = next.current;
    __atomic_store_n(&plan_->armed, 1, __ATOMIC_RELEASE);
    const auto start = Clock::now();
    while (__atomic_load_n(&plan_->armed, __ATOMIC_ACQUIRE) != 0) {
      std::this_thread::sleep_for(microseconds(10));  // off the CPU, so that both are in the program when it is stored
      if (Clock::now() - start < std::chrono::milliseconds(20)) continue;
      uint32_t armed = 1;
      if (__atomic_compare_exchange_n(&plan_->armed, &armed, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) break;
    }
  }
  teal_split& split = world_.registry().split(group_);
  if (TEAL_LOAD(&split.current) == next.current) {
    counts.shaken++;
    return;
  }
  TEAL_STORE(&plan_->stored, static_cast<uint32_t>(teal_split_generation(next.current)));
  TEAL_STORE(&split.previous, next.previous);
  TEAL_STORE(&split.current, next.current);
}

// Over and back, as the control thread does it.
void Race::cut_over(Cutovers& counts) {
  std::minstd_rand random(7);
  const teal_split& split = world_.registry().split(group_);
  while (!stop_) {
    const int old = teal_split_active(split.current);
    const rollout::SplitChange change =
        rollout::cutover(split, old == TEAL_GREEN ? model::Pool::blue : model::Pool::green);
    store(change.next, broken_ == Break::lock || random() % 2 == 0, counts);
    if (broken_ != Break::sync) {
      const uint64_t waited = world_.engine().synchronize();
      counts.sum_wait_ns += waited;
      counts.most_wait_ns = std::max(counts.most_wait_ns, waited);
    }
    TEAL_STORE(&plan_->adopted, plan_->stored);
    const uint64_t had = new_flows(old);
    std::this_thread::sleep_for(microseconds(20 + random() % 60));
    const uint64_t has = new_flows(old);
    counts.done++;
    counts.late += has != had;
    counts.late_flows += has - had;
  }
}

Cutovers Race::run(unsigned limit_s) {
  Cutovers counts;
  const auto end = Clock::now() + std::chrono::seconds(limit_s);
  std::thread switching([&] { cut_over(counts); });
  std::vector<std::thread> generators;
  for (unsigned cpu = 0; cpu < RACE_CPUS; cpu++) generators.emplace_back([this, cpu] { inject(cpu); });
  while (!sent() && !stop_ && Clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // what is still in a queue
  stop_ = true;
  for (std::thread& t : generators) t.join();
  switching.join();
  return counts;
}

std::vector<uint8_t> Race::entries() const {
  std::vector<uint8_t> times(flows_);
  flow::Sweeper::visit(const_cast<perf::XdpWorld&>(world_).table(), [&](uint64_t key, uint64_t, teal_bucket*, int) {
    const uint32_t flow = teal_swap32(static_cast<uint32_t>(key >> 32)) - RACE_CLIENT;
    if (flow < flows_ && teal_key_service(key) == service_) times[flow]++;
    return true;
  });
  return times;
}

}  // namespace teal::race
