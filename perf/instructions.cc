// SPDX-License-Identifier: Apache-2.0
// teal-instructions: each stage a number of times under callgrind, which writes one count a stage; perf/instructions
// reads them. Without callgrind it does the same work and counts nothing.
#include <valgrind/callgrind.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "bench_world.h"
#include "teal/decide.h"
#include "teal/parse.h"
#include "teal/rewrite.h"
#include "worker_lane.h"

namespace teal::perf {
namespace {

constexpr uint32_t times = 1024;  // perf/instructions divides by it
constexpr uint32_t flows = 4096, now = 1 << 20;

// The compiler must neither drop what is computed nor compute it once.
template <class T>
void keep(T& value) {
  asm volatile("" : "+m"(value) : : "memory");
}

// Counts `work`'s instructions from here to its end, under this name.
void count(const std::string& name, const std::function<void()>& work) {
  CALLGRIND_ZERO_STATS;
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_TOGGLE_COLLECT;
  work();
  CALLGRIND_TOGGLE_COLLECT;
  CALLGRIND_DUMP_STATS_AT(name.c_str());
  CALLGRIND_STOP_INSTRUMENTATION;
}

void parse_and_rewrite(const Shape& shape, BenchWorld& world) {
  const std::string ip = std::to_string(shape.family);
  auto frame = bench_frame(shape, false, TEAL_TCP_ACK);
  frame.insert(frame.begin(), 64, 0);  // room for a tunnel's header
  uint8_t* data = &frame[64];
  const auto len = static_cast<uint32_t>(frame.size() - 64);
  teal_pkt pkt;
  count("parse ipv" + ip, [&] {
    for (uint32_t i = 0; i < times; i++) {
      teal_parse(data, data + len, len, &pkt);
      keep(pkt);
    }
  });
  if (pkt.kind != TEAL_KIND_L4) throw std::runtime_error("a frame was not parsed as TCP");
  const teal_backend& backend = world.view().backends[world.backend_of(0)];
  const teal_hop hop = backend.hop;
  count("rewrite nat ipv" + ip, [&] {
    for (uint32_t i = 0; i < times; i++) {
      teal_nat(data + pkt.l3, data + pkt.l4, shape.family, TEAL_PROTO_TCP, TEAL_SIDE_DST, &backend.addr, backend.port);
      keep(*data);
    }
  });
  count("rewrite ipip ipv" + ip, [&] {
    for (uint32_t i = 0; i < times; i++) {
      uint8_t* outer = data + pkt.l3 - teal_tunnel_len(shape.family);
      teal_write_tunnel(outer, &backend, shape.family, teal_traffic_class(data + pkt.l3, shape.family), pkt.l3_len);
      keep(*outer);
    }
  });
  count("write ethernet ipv" + ip, [&] {
    for (uint32_t i = 0; i < times; i++) {
      teal_write_eth(data, &hop, TEAL_ETH_IPV4);
      keep(*data);
    }
  });
}

void match(const Shape& shape, BenchWorld& world) {
  const model::View& view = world.view();
  uint32_t missed = 0;
  teal_addr vip = vip_of(0, shape.family).raw();
  count("match service ipv" + std::to_string(shape.family), [&] {
    for (uint32_t i = 0; i < times; i++) {
      keep(vip);
      const uint64_t key =
          teal_match_key(&world.secret(), shape.family, &vip, teal_swap16(vip_port), TEAL_PROTO_TCP, TEAL_MATCH_VIP);
      const uint32_t at = teal_match_find(view.match, view.match_mask, &world.secret(), key);
      missed += at == 0 || !teal_addr_equal(&view.services[at].vip, &vip);
    }
  });
  if (missed != 0) throw std::runtime_error("a service was not found");
}

void find(const Shape& shape, BenchWorld& world) {
  const std::string ip = std::to_string(shape.family);
  uint32_t found = 0;
  const auto lookups = [&](uint32_t first) {
    for (uint32_t i = first; i < first + times; i++) {
      uint64_t val = 0;
      found += world.table().find(world.key_of(i), &val) != nullptr;
    }
  };
  count("key and find flow, hit ipv" + ip, [&] { lookups(0); });
  if (found + times / 100 < times) throw std::runtime_error("the table does not hold its flows");
  count("key and find flow, miss ipv" + ip, [&] { lookups(1u << 30); });
  count("key and insert flow ipv" + ip, [&] { world.enter(flows, flows + times, now); });
  count("key, find and delete flow ipv" + ip, [&] { world.remove(flows, flows + times); });
}

void decide(BenchWorld& world) {
  const model::View& view = world.view();
  const teal_service& service = view.services[world.service_of(0)];
  const teal_split& split = world.storage().splits()[service.group];
  uint64_t val = teal_val(1, 0, 1, TEAL_FLOW_established, 7, now), sum = 0;
  count("decide and state, established", [&] {
    for (uint32_t i = 0; i < times; i++) {
      keep(val);
      sum += static_cast<uint64_t>(teal_decide(&service, val, TEAL_PROTO_TCP, TEAL_TCP_ACK, now)) +
             teal_val_after(val, TEAL_PROTO_TCP, TEAL_TO_BACKEND, TEAL_TCP_ACK, 1, now);
    }
  });
  count("decide, new flow: split and Maglev", [&] {
    for (uint32_t i = 0; i < times; i++) {
      const teal_addr client = client_of(i, 4);
      const uint64_t key = static_cast<uint64_t>(client.v4) << 32 | 1;
      const auto action = teal_decide(&service, 0, TEAL_PROTO_TCP, TEAL_TCP_SYN, now);
      const uint64_t word = teal_deciding_split(action, TEAL_LOAD(&split.current), TEAL_LOAD(&split.previous));
      const uint32_t point = teal_point(&world.secret(), teal_point_basis(&world.secret(), &service, &client, key));
      sum += view.maglev[service.maglev[teal_pool_of(word, point)]]
                        [teal_maglev_slot(&world.secret(), teal_hash64(&world.secret(), key), 0, model::maglev_slots)];
    }
  });
  keep(sum);
}

// A worker's whole path and the loop around it, and the loop alone.
void worker(const std::string& name, const Shape& shape, Traffic traffic) {
  BenchWorld world(shape, flows * 4);
  traffic.flows = flows;
  Lane lane(world, 0);
  world.enter(0, flows, world.storage().now());
  if (shape.settled) world.settle();
  Source source(world, traffic, lane.pool(), flows);
  lane.forward(source, traffic, times, 10e6);  // the first packets are no measure
  count("worker: " + name, [&] { lane.forward(source, traffic, times, 10e6); });
  count("floor of worker: " + name, [&] { lane.floor(source, traffic, times); });
}

void main() {
  for (const uint8_t family : {4, 6}) {
    const Shape shape{model::Forward::nat, family};
    BenchWorld world(shape, flows * 2), tunnel({model::Forward::ipip, family}, 1024);
    parse_and_rewrite(shape, tunnel);
    match(shape, world);
    world.enter(0, flows, now);
    find(shape, world);
    if (family == 4) decide(world);
  }
  start_dpdk(1);
  Traffic both, fresh;
  both.reply_percent = 50;
  fresh.syn_percent = 100;
  worker("nat ipv4", {}, {});
  worker("nat ipv4, both ways", {}, both);
  worker("nat ipv4, new flows", {}, fresh);
  worker("ipip ipv4", {model::Forward::ipip}, {});
  worker("l2dsr ipv4", {model::Forward::l2dsr}, {});
  worker("nat ipv6", {model::Forward::nat, 6}, {});
  worker("settled nat ipv4", {model::Forward::nat, 4, 1, 2, true}, {});
  worker("settled nat ipv4, both ways", {model::Forward::nat, 4, 1, 2, true}, both);
  worker("settled ipip ipv4", {model::Forward::ipip, 4, 1, 2, true}, {});
  worker("settled nat ipv6", {model::Forward::nat, 6, 1, 2, true}, {});
}

}  // namespace
}  // namespace teal::perf

int main() {
  try {
    teal::perf::main();
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "teal-instructions: %s\n", e.what());
    return 1;
  }
}
