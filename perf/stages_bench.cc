// SPDX-License-Identifier: Apache-2.0
// What each of the five stages costs on a packet in the first-level cache, the flow's lookup apart (table_bench.cc).
#include <benchmark/benchmark.h>

#include <cstring>
#include <map>
#include <memory>

#include "bench_world.h"
#include "teal/decide.h"
#include "teal/parse.h"
#include "teal/rewrite.h"

namespace {

using teal::model::Forward;
using teal::perf::bench_frame;
using teal::perf::BenchWorld;
using teal::perf::Shape;

BenchWorld& world_of(const Shape& shape) {
  static std::map<Shape, std::unique_ptr<BenchWorld>> all;
  auto& one = all[shape];
  if (!one) one = std::make_unique<BenchWorld>(shape, 4096);
  return *one;
}

struct Frame {
  alignas(64) uint8_t room[64];  // for what is put in front
  uint8_t bytes[128];
  uint32_t len;
  teal_pkt pkt{};
  explicit Frame(const Shape& shape, uint8_t flags = TEAL_TCP_ACK, bool tagged = false) {
    const auto f = bench_frame(shape, false, flags);
    const size_t shift = tagged ? 4 : 0;
    std::memcpy(bytes, f.data(), 12);
    if (tagged) std::memcpy(bytes + 12, "\x81\x00\x00\x64", 4);
    std::memcpy(bytes + 12 + shift, f.data() + 12, f.size() - 12);
    len = static_cast<uint32_t>(f.size() + shift);
    teal_parse(bytes, bytes + len, len, &pkt);
  }
};

// ---- 1, parse
void parse(benchmark::State& state, const Shape& shape, bool tagged) {
  Frame f(shape, TEAL_TCP_ACK, tagged);
  for (auto _ : state) {
    teal_pkt pkt;
    teal_parse(f.bytes, f.bytes + f.len, f.len, &pkt);
    benchmark::DoNotOptimize(pkt);
    benchmark::ClobberMemory();
  }
  if (f.pkt.kind != TEAL_KIND_L4) state.SkipWithError("the frame is not what it should be");
}
BENCHMARK_CAPTURE(parse, ParseIpv4, Shape{}, false)->Name("ParseIpv4");
BENCHMARK_CAPTURE(parse, ParseIpv6, Shape{Forward::nat, 6}, false)->Name("ParseIpv6");
BENCHMARK_CAPTURE(parse, ParseVlan, Shape{}, true)->Name("ParseVlanIpv4");

// ---- 2, match service
void match(benchmark::State& state, uint8_t family) {
  const Shape shape{Forward::nat, family, static_cast<uint32_t>(state.range(0)), 2};
  const BenchWorld& world = world_of(shape);
  const teal::model::View& view = world.view();
  std::vector<teal_addr> vips;
  for (uint32_t i = 0; i < shape.services; i++) vips.push_back(teal::perf::vip_of(i, family).raw());
  uint32_t i = 0, missed = 0;
  for (auto _ : state) {
    i = i * 1664525u + 1013904223u;  // Numerical Recipes; VIPs in no order
    const teal_addr& vip = vips[teal_reduce(i, shape.services)];
    const uint64_t key = teal_match_key(&world.secret(), family, &vip, teal_swap16(teal::perf::vip_port),
                                        TEAL_PROTO_TCP, TEAL_MATCH_VIP);
    const uint32_t at = teal_match_find(view.match, view.match_mask, &world.secret(), key);
    missed += at == 0 || !teal_addr_equal(&view.services[at].vip, &vip);
  }
  if (missed != 0) state.SkipWithError("a service was not found");
}
BENCHMARK_CAPTURE(match, MatchServiceIpv4, 4)
    ->Name("MatchServiceIpv4")
    ->ArgName("services")
    ->Arg(1)
    ->Arg(100)
    ->Arg(1000);
BENCHMARK_CAPTURE(match, MatchServiceIpv6, 6)->Name("MatchServiceIpv6")->ArgName("services")->Arg(1)->Arg(1000);

// ---- 4, decide
void DecideKeep(benchmark::State& state) {
  const BenchWorld& world = world_of({});
  const teal_service& service = world.view().services[world.service_of(0)];
  uint64_t val = teal_val(1, 0, 1, TEAL_FLOW_established, 7, 4096), sum = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(val);
    const auto action = teal_decide(&service, val, TEAL_PROTO_TCP, TEAL_TCP_ACK, 5000);
    sum += static_cast<uint64_t>(action) + teal_val_after(val, TEAL_PROTO_TCP, TEAL_TO_BACKEND, TEAL_TCP_ACK, 1, 5000);
  }
  benchmark::DoNotOptimize(sum);
}
BENCHMARK(DecideKeep);

// Split, then Maglev.
void decide_new(benchmark::State& state, uint32_t backends) {
  BenchWorld& world = world_of({Forward::nat, 4, 1, backends});
  const teal::model::View& view = world.view();
  const teal_service& service = view.services[world.service_of(0)];
  const teal_split& split = world.storage().splits()[service.group];
  uint32_t flow = 0;
  uint64_t sum = 0;
  for (auto _ : state) {
    const teal_addr client = teal::perf::client_of(flow++, 4);
    const uint64_t key = static_cast<uint64_t>(client.v4) << 32 | 1;
    const auto action = teal_decide(&service, 0, TEAL_PROTO_TCP, TEAL_TCP_SYN, 5000);
    const uint64_t word = teal_deciding_split(action, TEAL_LOAD(&split.current), TEAL_LOAD(&split.previous));
    const int pool =
        teal_pool_of(word, teal_point(&world.secret(), teal_point_basis(&world.secret(), &service, &client, key)));
    sum += view.maglev[service.maglev[pool]][teal_maglev_slot(&world.secret(), teal_hash64(&world.secret(), key), 0,
                                                              teal::model::maglev_slots)];
  }
  benchmark::DoNotOptimize(sum);
}
void DecideNew(benchmark::State& state) {
  decide_new(state, static_cast<uint32_t>(state.range(0)));
}
BENCHMARK(DecideNew)->ArgName("backends")->Arg(4)->Arg(1000);

// ---- 5, rewrite
void nat(benchmark::State& state, uint8_t family) {
  Frame f({Forward::nat, family});
  teal_addr to{};
  for (auto _ : state) {
    to.words[0]++;
    f.bytes[f.pkt.l3 + (family == 4 ? 8 : 7)] = 64;
    teal_hop_down(f.bytes + f.pkt.l3, family);
    teal_nat(f.bytes + f.pkt.l3, f.bytes + f.pkt.l4, family, TEAL_PROTO_TCP, TEAL_SIDE_DST, &to,
             static_cast<uint16_t>(to.words[0]));
    benchmark::ClobberMemory();
  }
}
BENCHMARK_CAPTURE(nat, RewriteNatIpv4, 4)->Name("RewriteNatIpv4");
BENCHMARK_CAPTURE(nat, RewriteNatIpv6, 6)->Name("RewriteNatIpv6");

void RewriteL2dsr(benchmark::State& state) {
  Frame f({Forward::l2dsr});
  const BenchWorld& world = world_of({Forward::l2dsr});
  const teal_hop& hop = world.view().backends[world.backend_of(0)].hop;
  for (auto _ : state) {
    teal_write_eth(f.bytes + f.pkt.l3 - teal_eth_len(&hop), &hop, TEAL_ETH_IPV4);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(RewriteL2dsr);

void ipip(benchmark::State& state, uint8_t family) {
  const Shape shape{Forward::ipip, family};
  Frame f(shape);
  const BenchWorld& world = world_of(shape);
  const teal_backend& backend = world.view().backends[world.backend_of(0)];
  uint8_t* outer = f.bytes + f.pkt.l3 - teal_tunnel_len(family);
  for (auto _ : state) {
    teal_write_tunnel(outer, &backend, family, teal_traffic_class(f.bytes + f.pkt.l3, family), f.pkt.l3_len);
    teal_write_eth(outer - teal_eth_len(&backend.hop), &backend.hop, family == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6);
    benchmark::ClobberMemory();
  }
}
BENCHMARK_CAPTURE(ipip, RewriteIpip4in4, 4)->Name("RewriteIpip4in4");
BENCHMARK_CAPTURE(ipip, RewriteIpip6in6, 6)->Name("RewriteIpip6in6");

}  // namespace
