// SPDX-License-Identifier: Apache-2.0
#include "xdp_bench_subject.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "xdp_world.h"

namespace teal::perf {
namespace {

// Subjects' services differ in their ports; those that are many have one port and different addresses.
uint16_t port_of(const Subject& s) {
  return static_cast<uint16_t>((s.vips > 1 ? 9000 : s.settled ? 8500 : 8000) + static_cast<int>(s.forward));
}

void put_ip4(uint8_t* at, const model::Address& to) {
  auto* ip = reinterpret_cast<teal_ipv4*>(at);
  ip->version_ihl = 0x45;
  ip->total_len = teal_swap16(BENCH_FRAME4 - 14);
  ip->ttl = 64;
  ip->proto = TEAL_PROTO_TCP;
  std::memcpy(&ip->dst, to.bytes.data(), 4);
}

void put_ip6(uint8_t* at, const model::Address& to) {
  auto* ip = reinterpret_cast<teal_ipv6*>(at);
  ip->version_class_label = teal_swap32(6u << 28);
  ip->payload_len = teal_swap16(BENCH_FRAME6 - 54);
  ip->next = TEAL_PROTO_TCP;
  ip->hop_limit = 64;
  std::memcpy(ip->src, model::Address::parse(client_prefix6)->bytes.data(), 16);
  std::memcpy(ip->dst, to.bytes.data(), 16);
}

}  // namespace

double Subject::target(uint32_t flows) const {
  const uint32_t at[] = {1, 1'000, 100'000, 1'000'000};
  const auto* found = std::find(std::begin(at), std::end(at), flows);
  return found == std::end(at) ? 0 : targets[found - std::begin(at)];
}

bool Subject::grows() const {
  return does == Does::lru || does == Does::hit || does == Does::reply || does == Does::syn;
}

uint32_t Subject::tunnel() const {
  if (forward != model::Forward::ipip) return 0;
  return family == 4 ? sizeof(teal_ipv4) : sizeof(teal_ipv6);
}

model::Endpoint Subject::backend(uint32_t index, uint32_t peer) const {
  model::Endpoint e;
  e.address = *model::Address::parse(family == 4 ? "172.16.0.0" : "2001:db8:b::");
  uint8_t* last = &e.address.bytes[family == 4 ? 3 : 15];
  last[0] = static_cast<uint8_t>(1 + peer);
  last[-1] = static_cast<uint8_t>(index);
  last[-2] = static_cast<uint8_t>((settled ? 48 : 16) + (index >> 8) + 4 * static_cast<uint32_t>(forward));
  e.port = static_cast<uint16_t>(port_of(*this) + (forward == model::Forward::nat ? 80 : 0));
  return e;
}

model::ServiceConfig Subject::service(uint32_t index) const {
  model::ServiceConfig c;
  c.name = "ipv" + std::to_string(family) + "-" + std::to_string(port_of(*this)) + "-" + std::to_string(index);
  c.vip = *model::Address::parse(family == 4 ? "198.18.0.0" : "2001:db8:1::1");
  if (family == 4) {
    c.vip.bytes[2] = static_cast<uint8_t>(index >> 8);
    c.vip.bytes[3] = static_cast<uint8_t>(index);
  }
  c.port = port_of(*this);
  c.forward = forward;
  for (uint32_t peer = 0; peer < BENCH_PEERS; peer++) {
    model::BackendConfig b;
    b.endpoint = backend(index, peer);
    b.name = b.endpoint.str();
    if (settled && peer == 1) b.weight = 0;
    c.pools[peer / 2].push_back(std::move(b));
  }
  return c;
}

std::vector<uint8_t> Subject::frame() const {
  std::vector<uint8_t> f(family == 4 ? BENCH_FRAME4 : BENCH_FRAME6);
  auto* eth = reinterpret_cast<teal_eth*>(f.data());
  std::copy_n(XdpWorld::port_mac.begin(), 6, eth->dst);
  std::copy_n(XdpWorld::wire_mac.begin(), 6, eth->src);
  eth->type = teal_swap16(does == Does::not_ip ? 0x88cc : family == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6);  // LLDP
  model::Address to = service(0).vip;
  if (does == Does::not_ours) to.bytes[0] ^= 1;
  if (family == 4)
    put_ip4(&f[14], to);
  else
    put_ip6(&f[14], to);
  auto* tcp = reinterpret_cast<teal_tcp*>(&f[family == 4 ? 34 : 54]);
  tcp->dport = teal_swap16(port_of(*this));
  tcp->offset = 5 << 4;
  tcp->flags = does == Does::syn ? TEAL_TCP_SYN : TEAL_TCP_ACK;
  return f;
}

std::vector<model::ServiceConfig> services_of(const std::vector<Subject>& subjects) {
  std::vector<model::ServiceConfig> all;
  std::vector<std::string> names;
  for (const Subject& s : subjects) {
    if (std::find(names.begin(), names.end(), s.service(0).name) != names.end()) continue;
    names.push_back(s.service(0).name);
    for (uint32_t i = 0; i < s.vips; i++) all.push_back(s.service(i));
  }
  return all;
}

// The figures stand beside katran's, which are IPv4 TCP's.
std::vector<Subject> ordinary_subjects() {
  using F = model::Forward;
  std::vector<Subject> all;
  all.push_back({"empty XDP_TX program, no wrapper", Does::bare, 4});
  for (const uint8_t family : {4, 6}) {
    const std::string ip = family == 4 ? "IPv4 " : "IPv6 ";
    const auto add = [&](const std::string& name, Does does, F forward, std::initializer_list<double> targets) {
      Subject s{ip + name, does, family, forward};
      if (family == 4) std::copy(targets.begin(), targets.end(), s.targets);
      all.push_back(s);
    };
    add("LRU hash lookup", Does::lru, F::nat, {});
    add("nat hit", Does::hit, F::nat, {45, 55, 170, 220});
    add("nat reply", Does::reply, F::nat, {45, 55, 170, 220});
    add("ipip hit", Does::hit, F::ipip, {45, 55, 170, 220});
    add("l2dsr hit", Does::hit, F::l2dsr, {});
    for (const auto& [name, does, forward] :
         {std::tuple{"settled nat hit", Does::hit, F::nat}, std::tuple{"settled nat reply", Does::reply, F::nat},
          std::tuple{"settled ipip hit", Does::hit, F::ipip}}) {
      add(name, does, forward, {45, 45, 45, 45});
      all.back().settled = true;
    }
    add("nat SYN, inserted", Does::syn, F::nat, {80, 0, 0, 300});
    add("not ours", Does::not_ours, F::nat, {20});
  }
  all.push_back({"not IP", Does::not_ip, 4, F::nat, 1, {20}});
  return all;
}

std::vector<Subject> crowded_subjects(uint32_t services) {
  using F = model::Forward;
  const std::string suffix = " of " + std::to_string(services) + " services";
  return {{"IPv4 nat hit of 1 service", Does::hit, 4, F::nat},
          {"IPv4 nat hit" + suffix, Does::hit, 4, F::nat, services},
          {"IPv4 nat SYN" + suffix, Does::syn, 4, F::nat, services},
          {"IPv4 not ours" + suffix, Does::not_ours, 4, F::nat, services}};
}

}  // namespace teal::perf
