// SPDX-License-Identifier: Apache-2.0
// What the stages cost that need no table: parse, and the NAT rewrite with its checksums.
#include <benchmark/benchmark.h>

#include <cstring>

#include "teal/parse.h"
#include "teal/rewrite.h"

namespace {

struct Frame {
  alignas(64) uint8_t bytes[64]{};
  Frame() {
    auto* eth = reinterpret_cast<teal_eth*>(bytes);
    eth->type = teal_swap16(TEAL_ETH_IPV4);
    auto* ip = reinterpret_cast<teal_ipv4*>(bytes + 14);
    ip->version_ihl = 0x45;
    ip->total_len = teal_swap16(40);
    ip->ttl = 64;
    ip->proto = TEAL_PROTO_TCP;
    ip->src = 0x0100000a;
    ip->dst = 0x0200000a;
    auto* tcp = reinterpret_cast<teal_tcp*>(bytes + 34);
    tcp->offset = 5 << 4;
    tcp->flags = TEAL_TCP_ACK;
  }
};

void Parse(benchmark::State& state) {
  Frame f;
  teal_pkt pkt;
  for (auto _ : state) {
    teal_parse(f.bytes, f.bytes + 60, 60, &pkt);
    benchmark::DoNotOptimize(pkt);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(Parse);

void NatRewrite(benchmark::State& state) {
  Frame f;
  teal_pkt pkt;
  teal_parse(f.bytes, f.bytes + 60, 60, &pkt);
  teal_addr to{};
  const uint8_t* bytes = f.bytes;
  benchmark::DoNotOptimize(bytes);  // the frame is somebody else's to look at
  for (auto _ : state) {
    to.v4++;
    teal_nat(f.bytes + pkt.l3, f.bytes + pkt.l4, pkt.family, pkt.proto, TEAL_SIDE_DST, &to,
             static_cast<uint16_t>(to.v4));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(NatRewrite);

}  // namespace
