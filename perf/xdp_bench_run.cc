// SPDX-License-Identifier: Apache-2.0
#include "xdp_bench_run.h"

#include <bpf/bpf.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "xdp_bench.skel.h"

namespace teal::perf {
namespace {

constexpr uint32_t standing_tick = 1000;  // the clock stands still: no run rewrites last-seen

std::span<const unsigned char> object() {
  size_t bytes = 0;
  const void* elf = xdp_bench::elf_bytes(&bytes);
  return {static_cast<const unsigned char*>(elf), bytes};
}

// The thread's own time: what other processes do on this CPU is not in it.
double now_ns() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

int verdict_of(const Subject& s) {
  return s.does == Does::not_ours || s.does == Does::not_ip ? XDP_PASS : XDP_TX;
}

}  // namespace

Runner::Runner(XdpWorld& world, uint32_t flows, uint32_t repeat)
    : world_(world),
      flows_(flows),
      repeat_(std::max(repeat, flows)),
      // Twice the room that is needed, which is the LRU hash's best case.
      object_(object(), {"teal_table"}, {{"lru4", std::max(4096u, flows * 2)}, {"lru6", std::max(4096u, flows * 2)}}),
      plan_(object_.map("plan"), 1),
      teal_(XdpWorld::pinned("program")) {
  TEAL_STORE(&world_.storage().head().tick, standing_tick);
  world_.clear_flows();
  fill_lru();
  // A program that is not attached anywhere is put into the kernel's XDP dispatcher for each BPF_PROG_TEST_RUN, which
  // takes hundreds of microseconds.
  links_.push_back(XdpWorld::attach(object_.program("bench_wrap4"), XdpWorld::spare(0)));
  links_.push_back(XdpWorld::attach(object_.program("bench_wrap6"), XdpWorld::spare(1)));
  links_.push_back(XdpWorld::attach(object_.program("bench_stub"), world_.wire()));
}

Runner::~Runner() {
  for (const int link : links_) close(link);
  close(teal_);
}

void Runner::fill_lru() {
  const auto put = [&](const char* map, const void* key, uint64_t value) {
    if (bpf_map_update_elem(object_.map(map), key, &value, BPF_ANY) != 0)
      throw std::runtime_error(std::string("cannot fill the LRU hash: ") + std::strerror(errno));
  };
  const Subject s4{"", Does::lru, 4}, s6{"", Does::lru, 6};
  const model::ServiceConfig at4 = s4.service(0), at6 = s6.service(0);
  for (uint32_t i = 0; i < flows_; i++) {
    bench_key4 k4{};
    k4.src = teal_swap32(BENCH_CLIENT4 + i);
    k4.dst = at4.vip.raw().v4;
    k4.sport = bench_client_port(i);
    k4.dport = teal_swap16(at4.port);
    k4.proto = TEAL_PROTO_TCP;
    put("lru4", &k4, i);
    bench_key6 k6{};
    teal_addr client = model::Address::parse(client_prefix6)->raw();
    client.words[3] = teal_swap32(i);
    std::memcpy(k6.src, client.bytes, 16);
    std::memcpy(k6.dst, at6.vip.bytes.data(), 16);
    k6.sport = k4.sport;
    k6.dport = teal_swap16(at6.port);
    k6.proto = TEAL_PROTO_TCP;
    put("lru6", &k6, i);
  }
}

const std::vector<uint16_t>& Runner::services(const Subject& s) {
  std::vector<uint16_t>& numbers = services_[s.service(0).name];
  for (uint32_t i = static_cast<uint32_t>(numbers.size()); i < s.vips; i++)
    numbers.push_back(world_.registry().service_number(s.service(i).name));
  return numbers;
}

teal_flow_key Runner::key_of(const Subject& s, uint32_t flow) {
  const teal_secret& secret = world_.storage().head().secret;
  const uint16_t number = services(s)[bench_vip_of(flow, s.vips)];
  if (s.family == 4) return teal_flow_key4(&secret, teal_swap32(BENCH_CLIENT4 + flow), bench_client_port(flow), number);
  teal_addr client = model::Address::parse(client_prefix6)->raw();
  client.words[3] = teal_swap32(flow);
  return teal_flow_key6(&secret, &client, bench_client_port(flow), number);
}

// Flow i established on backend i % BENCH_PEERS of its service; of subjects that insert, none.
void Runner::populate(const Subject& s) {
  const bool wanted = s.does == Does::hit || s.does == Does::reply;
  const std::string what = wanted ? s.service(0).name : "";
  if (wanted && populated_ == what) return;
  if (!wanted && s.does != Does::syn) return;
  world_.clear_flows();
  populated_ = what;
  if (!wanted) return;
  std::vector<std::array<uint16_t, BENCH_PEERS>> backends(s.vips);
  for (uint32_t v = 0; v < s.vips; v++)
    for (uint32_t peer = 0; peer < BENCH_PEERS; peer++)
      backends[v][peer] = world_.registry().backend_number(services(s)[v], s.backend(v, peer).str());
  const teal_secret& secret = world_.storage().head().secret;
  flow::InsertCounts counts;
  for (uint32_t i = 0; i < flows_; i++) {
    const teal_flow_key key = key_of(s, i);
    const uint32_t peer = s.settled ? 0 : i % BENCH_PEERS;
    uint64_t val = teal_val(backends[bench_vip_of(i, s.vips)][peer], static_cast<uint8_t>(peer / 2), 1,
                            TEAL_FLOW_established, key.check, standing_tick) |
                   TEAL_VAL_DATA;
    if (world_.table().insert(secret, key, &val, 0, standing_tick, counts) != flow::Inserted::entered)
      throw std::runtime_error(s.name + ": flow " + std::to_string(i) + " did not enter the table");
  }
  world_.settle(s.settled, standing_tick);
}

void Runner::plan_for(const Subject& s) {
  bench_plan& p = plan_[0];
  const std::vector<uint8_t> frame = s.frame();
  std::copy(frame.begin(), frame.end(), p.frame);
  p.flows = flows_;
  p.in_order = s.does == Does::syn && flows_ > 1;
  p.reply = s.does == Does::reply;
  p.vips = s.vips;
  p.grow = s.tunnel();
  p.rehearse = 0;
  p.clear[0] = p.clear[1] = 0;
  if (s.does == Does::syn && flows_ == 1) {
    const teal_flow_key key = key_of(s, 0);
    const uint32_t buckets = world_.storage().head().buckets;
    p.clear[0] = TEAL_LINE_BUCKETS + teal_bucket_first(key.hash, buckets);
    p.clear[1] = TEAL_LINE_BUCKETS + teal_bucket_second(key.hash, buckets);
  }
  for (uint32_t peer = 0; peer < BENCH_PEERS; peer++) {
    const model::Endpoint at = s.backend(0, s.settled ? 0 : peer);
    p.peers[peer] = {at.address.raw(), teal_swap16(at.port)};
  }
}

void Runner::put_under_test(int program) {
  const uint32_t zero = 0;
  if (bpf_map_update_elem(object_.map("subject"), &zero, &program, BPF_ANY) != 0)
    throw std::runtime_error(std::string("cannot call the program under test: ") + std::strerror(errno));
}

int Runner::wrapper(const Subject& s) const {
  if (s.does == Does::bare) return object_.program("bench_stub");
  return object_.program(s.family == 4 ? "bench_wrap4" : "bench_wrap6");
}

int Runner::program(const Subject& s) const {
  if (s.does == Does::lru) return object_.program(s.family == 4 ? "bench_lru4" : "bench_lru6");
  return s.does == Does::bare ? object_.program("bench_stub") : teal_;
}

// Nanoseconds a packet.
double Runner::run(int program, const Subject& s, uint32_t packets) {
  std::vector<uint8_t> frame = s.frame();
  xdp_md context{};
  context.data_end = static_cast<uint32_t>(frame.size());
  context.ingress_ifindex = static_cast<uint32_t>(world_.port());
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = frame.data();
  options.data_size_in = context.data_end;
  options.ctx_in = &context;
  options.ctx_size_in = sizeof(context);
  options.repeat = static_cast<int>(packets);
  const double before = now_ns();
  const int e = bpf_prog_test_run_opts(program, &options);
  const double took = now_ns() - before;
  if (e != 0) throw std::runtime_error(s.name + ": BPF_PROG_TEST_RUN: " + std::strerror(-e));
  if (options.retval != XDP_TX && static_cast<int>(options.retval) != verdict_of(s))
    throw std::runtime_error(s.name + ": XDP verdict " + std::to_string(options.retval));
  return took / packets;
}

// SYNs: flows 0 to flows - 1, each a new one, again and again, the table emptied in between.
double Runner::run_all(const Subject& s, bool real) {
  if (s.does != Does::syn || flows_ == 1) return run(wrapper(s), s, repeat_);
  const uint32_t rounds = repeat_ / flows_;
  std::vector<teal_bucket*> touched;
  for (uint32_t i = 0; i < flows_ && flows_ <= 10'000; i++) {
    const teal_flow_key key = key_of(s, i);
    touched.push_back(world_.table().first(key.hash));
    touched.push_back(world_.table().second(key.hash));
  }
  double sum = 0;
  for (uint32_t i = 0; i < rounds; i++) {
    for (teal_bucket* b : touched) *b = {};
    if (touched.empty() && real) world_.clear_flows();
    plan_[0].state = 0;
    sum += run(wrapper(s), s, flows_);
  }
  return sum / rounds;
}

Runner::Counts Runner::counts() const {
  return {world_.event(TEAL_EV_tx_packets),
          world_.event(TEAL_EV_forwarded),
          world_.event(TEAL_EV_replies),
          world_.event(TEAL_EV_flows_new),
          world_.event(TEAL_EV_to_kernel),
          plan_[0].broken,
          plan_[0].missed};
}

void Runner::require(const Subject& s, const Counts& before, uint64_t packets) const {
  const Counts after = counts();
  uint64_t right = packets;
  const uint64_t sent = after.sent - before.sent;  // by teal
  if (s.does == Does::hit) right = after.fresh != before.fresh ? 0 : std::min(sent, after.forwarded - before.forwarded);
  if (s.does == Does::reply) right = std::min(sent, after.replies - before.replies);
  if (s.does == Does::syn) right = std::min(sent, after.fresh - before.fresh);
  if (s.does == Does::not_ours || s.does == Does::not_ip) right = after.kernel - before.kernel;
  if (s.does == Does::lru) right = packets - (after.missed - before.missed);
  if (after.broken != before.broken)
    throw std::runtime_error(s.name + ": " + std::to_string(after.broken - before.broken) +
                             " packets were not restored");
  // The LRU hash forgets some keys before it is full; a miss costs it less than a hit.
  if (right != packets && (s.does != Does::lru || right < packets / 100 * 98))
    throw std::runtime_error(s.name + ": " + std::to_string(right) + " packets were what it is about, expected " +
                             std::to_string(packets));
}

void Runner::prepare(const Subject& s) {
  populate(s);
  plan_for(s);
  put_under_test(program(s));
}

Sample Runner::measure(const Subject& s) {
  prepare(s);
  Sample sample;
  if (s.does != Does::syn) run(wrapper(s), s, repeat_ / 4);  // warms what it reads
  const Counts before = counts();
  sample.raw_ns = run_all(s, true);
  require(s, before, s.does == Does::syn && flows_ > 1 ? uint64_t{repeat_ / flows_} * flows_ : repeat_);
  if (s.does == Does::bare) return sample;

  put_under_test(object_.program("bench_stub"));
  sample.floor_ns = run_all(s, false);
  if (s.tunnel() == 0) return sample;
  // A tunnelled packet is restored by one call that the stub does not need: the wrapper making it grow and undoing that
  // is two of them, half of which is what the other runs paid.
  plan_[0].rehearse = 1;
  sample.floor_ns += (run_all(s, false) - sample.floor_ns) / 2;
  plan_[0].rehearse = 0;
  return sample;
}

}  // namespace teal::perf
