// SPDX-License-Identifier: Apache-2.0
#include "bench_world.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <stdexcept>

#include "bench_table.h"
#include "flow/snapshot_input.h"
#include "settle_all.h"

namespace teal::perf {
namespace {

constexpr size_t huge = size_t{2} << 20;

char* aligned(void* memory) {
  return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(memory) + huge - 1) & ~(huge - 1));
}

model::Address address(const char* text) {
  return *model::Address::parse(text);
}

// Adds to the last four bytes.
model::Address plus(model::Address a, uint32_t more) {
  uint32_t last = 0;
  uint8_t* at = &a.bytes[a.family == 4 ? 0 : 12];
  std::memcpy(&last, at, 4);
  last = teal_swap32(teal_swap32(last) + more);
  std::memcpy(at, &last, 4);
  return a;
}

model::Endpoint backend_at(uint32_t index, const Shape& shape) {
  // A service has one port: with l2dsr and ipip its backends must listen on it.
  const uint16_t port = shape.forward == model::Forward::nat ? backend_port : vip_port;
  return {plus(address(shape.family == 4 ? "172.16.0.1" : "2001:db8:b::1"), index), port};
}

model::ServiceConfig service_at(uint32_t index, const Shape& shape) {
  model::ServiceConfig c;
  c.name = "s" + std::to_string(index);
  c.vip = vip_of(index, shape.family);
  c.port = vip_port;
  c.forward = shape.forward;
  for (uint32_t i = 0; i < shape.backends; i++) {
    model::BackendConfig b;
    b.endpoint = backend_at(index * shape.backends + i, shape);
    b.name = b.endpoint.str();
    c.pools[i < (shape.backends + 1) / 2 ? TEAL_BLUE : TEAL_GREEN].push_back(b);
  }
  return c;
}

model::Topology topology() {
  model::Topology t;
  t.links.push_back({1, "port", BenchWorld::port_mac, 1500, true});
  for (const auto& [own, subnet, all, gateway] :
       {std::array{"192.0.2.2/24", "192.0.2.0/24", "0.0.0.0/0", "192.0.2.1"},
        std::array{"2001:db8::2/64", "2001:db8::/64", "::/0", "2001:db8::1"}}) {
    t.addresses.push_back({1, *model::Prefix::parse(own)});
    t.routes.push_back({*model::Prefix::parse(subnet), 1, {}, {}, 0});
    t.routes.push_back({*model::Prefix::parse(all), 1, address(gateway), {}, 0});
    t.neighbours.push_back({1, address(gateway), BenchWorld::gateway_mac, true});
  }
  return t;
}

uint16_t checksum(const uint8_t* p, size_t bytes, uint32_t sum) {
  for (size_t i = 0; i < bytes; i += 2) sum += static_cast<uint32_t>(p[i] << 8 | (i + 1 < bytes ? p[i + 1] : 0));
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return teal_swap16(static_cast<uint16_t>(~sum));
}

uint32_t plain_sum(const uint8_t* p, size_t bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes; i += 2) sum += static_cast<uint32_t>(p[i] << 8 | p[i + 1]);
  return sum;
}

}  // namespace

model::Address vip_of(uint32_t service, uint8_t family) {
  return plus(address(family == 4 ? "198.18.0.1" : "2001:db8:1::1"), service);
}

teal_addr client_of(uint32_t flow, uint8_t family) {
  teal_addr a{};
  if (family == 4) {
    a.v4 = client4_of(flow);
  } else {
    static const model::Address net = address("2001:db8:c::");
    std::memcpy(a.bytes, net.bytes.data(), 16);
    a.words[3] = teal_swap32(flow);
  }
  return a;
}

BenchWorld::BenchWorld(const Shape& shape, uint64_t capacity)
    : shape_(shape), bytes_((flow::Storage::bytes_for(capacity) + huge - 1) & ~(huge - 1)) {
  memory_ = mmap(nullptr, bytes_ + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory_ == MAP_FAILED) throw std::bad_alloc();
  madvise(aligned(memory_), bytes_, MADV_HUGEPAGE);
  storage_ = std::make_unique<flow::Storage>(flow::Storage::Mapped{aligned(memory_), bytes_, "the bench table", false},
                                             capacity);
  storage_->head().secret = bench_secret;
  registry_ = std::make_unique<flow::Registry>(*storage_);
  table_ = std::make_unique<flow::Table>(storage_->buckets(), storage_->head().buckets, storage_->locks(),
                                         storage_->owner(), storage_->cells());
  std::vector<model::ServiceConfig> services;
  for (uint32_t i = 0; i < shape.services; i++) services.push_back(service_at(i, shape));
  publish(services);
}

BenchWorld::~BenchWorld() {
  storage_.reset();
  munmap(memory_, bytes_ + huge);
}

void BenchWorld::publish(const std::vector<model::ServiceConfig>& services) {
  registry_->apply(services);
  model::Config config;
  config.services = services;
  model::SnapshotInput input = flow::snapshot_input(*registry_, secret(), config);
  input.ports.push_back({0, 1, port_mac, 1500, {}});
  input.topology = topology();
  model::MaglevCache maglevs;
  snapshot_ = std::make_unique<const model::Snapshot>(input, maglevs);
  for (const auto& s : services) {
    services_.push_back(registry_->service_number(s.name));
    for (const auto& b : s.pools[TEAL_BLUE]) blue_.push_back(registry_->backend_number(services_.back(), b.name));
  }
}

uint16_t BenchWorld::backend_of(uint32_t flow) const {
  const uint32_t each = (shape_.backends + 1) / 2;
  return blue_[flow % shape_.services * each + flow / shape_.services % each];
}

teal_flow_key BenchWorld::key_of(uint32_t flow) const {
  const teal_addr client = client_of(flow, shape_.family);
  return shape_.family == 4 ? teal_flow_key4(&secret(), client.v4, client_port_of(flow), service_of(flow))
                            : teal_flow_key6(&secret(), &client, client_port_of(flow), service_of(flow));
}

void BenchWorld::enter(uint32_t first, uint32_t end, uint32_t now) {
  flow::InsertCounts counts;
  uint64_t unplaced = 0;
  for (uint32_t i = first; i < end; i++) {
    const teal_flow_key key = key_of(i);
    uint64_t val = teal_val(backend_of(i), TEAL_BLUE, 1, TEAL_FLOW_established, key.check, now) | TEAL_VAL_DATA;
    if (table_->insert(secret(), key, &val, 0, now, counts) != flow::Inserted::entered) unplaced++;
  }
  if (unplaced > (end - first) / 1000)
    throw std::runtime_error(std::to_string(unplaced) + " of " + std::to_string(end - first) + " flows found no place");
}

void BenchWorld::settle() {
  const uint32_t now = storage_->now();
  TEAL_STORE(&storage_->head().tick, now);
  flow::Settler settler(*storage_);
  settle_all(settler, *table_, view(), secret(), now);
}

void BenchWorld::remove(uint32_t first, uint32_t end) {
  for (uint32_t i = first; i < end; i++) {
    const teal_flow_key key = key_of(i);
    uint64_t val = 0;
    const uint64_t* slot = table_->find(key, &val);
    if (slot == nullptr) continue;
    for (teal_bucket* b : {table_->first(key.hash), table_->second(key.hash)})
      if (slot >= b->val && slot < b->val + TEAL_BUCKET_SLOTS)
        table_->remove(secret(), b, static_cast<int>(slot - b->val), key.key, val);
  }
}

std::vector<uint8_t> bench_frame(const Shape& shape, bool reply, uint8_t tcp_flags) {
  const size_t head = shape.family == 4 ? 34 : 54;
  std::vector<uint8_t> f(std::max<size_t>(60, head + 20));  // without FCS: 64 bytes on the wire
  auto* eth = reinterpret_cast<teal_eth*>(f.data());
  std::copy_n(BenchWorld::port_mac.begin(), 6, eth->dst);
  std::copy_n(BenchWorld::gateway_mac.begin(), 6, eth->src);
  eth->type = teal_swap16(shape.family == 4 ? TEAL_ETH_IPV4 : TEAL_ETH_IPV6);
  const teal_addr client = client_of(0, shape.family);
  const teal_addr peer = (reply ? backend_at(0, shape).address : vip_of(0, shape.family)).raw();
  const teal_addr &src = reply ? peer : client, &dst = reply ? client : peer;
  const size_t total = f.size() - 14;
  uint32_t pseudo = TEAL_PROTO_TCP + static_cast<uint32_t>(f.size() - head);
  if (shape.family == 4) {
    auto* ip = reinterpret_cast<teal_ipv4*>(&f[14]);
    ip->version_ihl = 0x45;
    ip->total_len = teal_swap16(static_cast<uint16_t>(total));
    ip->ttl = 64;
    ip->proto = TEAL_PROTO_TCP;
    ip->src = src.v4;
    ip->dst = dst.v4;
    ip->csum = checksum(&f[14], 20, 0);
    pseudo += plain_sum(&f[26], 8);
  } else {
    auto* ip = reinterpret_cast<teal_ipv6*>(&f[14]);
    ip->version_class_label = teal_swap32(6u << 28);
    ip->payload_len = teal_swap16(static_cast<uint16_t>(total - 40));
    ip->next = TEAL_PROTO_TCP;
    ip->hop_limit = 64;
    std::memcpy(ip->src, src.bytes, 16);
    std::memcpy(ip->dst, dst.bytes, 16);
    pseudo += plain_sum(&f[22], 32);
  }
  auto* tcp = reinterpret_cast<teal_tcp*>(&f[head]);
  tcp->sport = reply ? teal_swap16(backend_at(0, shape).port) : client_port_of(0);
  tcp->dport = reply ? client_port_of(0) : teal_swap16(vip_port);
  tcp->offset = 5 << 4;
  tcp->flags = tcp_flags;
  tcp->window = teal_swap16(8192);
  tcp->csum = checksum(&f[head], f.size() - head, pseudo);
  return f;
}

}  // namespace teal::perf
