// SPDX-License-Identifier: Apache-2.0
// Services, flow table and snapshot for measurements in one process: the real registry and snapshot over ordinary
// memory with transparent huge pages, no device, the secret always the same. Clients and backends are behind one
// gateway on port 0.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "flow/registry.h"
#include "flow/storage.h"
#include "flow/table.h"
#include "model/snapshot.h"

namespace teal::perf {

// What is served, and so what a packet looks like.
struct Shape {
  model::Forward forward = model::Forward::nat;
  uint8_t family = 4;
  uint32_t services = 1;
  uint32_t backends = 4;  // of each service, half of them blue's
  bool settled = false;   // a sweeper has been by (teal/settled.h); takes 2 backends: flows are where Maglev has them
  auto operator<=>(const Shape&) const = default;
};

class BenchWorld {
 public:
  static constexpr model::Mac port_mac{2, 0, 0, 0, 0x5e, 1};
  static constexpr model::Mac gateway_mac{2, 0, 0, 0, 0x5e, 2};

  // `capacity`: flows that the table is made for. Throws std::runtime_error.
  BenchWorld(const Shape& shape, uint64_t capacity);
  ~BenchWorld();
  BenchWorld(const BenchWorld&) = delete;
  BenchWorld& operator=(const BenchWorld&) = delete;

  // Flow i is of service i % services and of one of its blue backends. Enters flows first to end - 1 as established,
  // under way. Throws when more than one in 1,000 finds no place.
  void enter(uint32_t first, uint32_t end, uint32_t now);
  void remove(uint32_t first, uint32_t end);
  // Walks until what can be is settled, now.
  void settle();

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] flow::Storage& storage() { return *storage_; }
  [[nodiscard]] flow::Table& table() { return *table_; }
  [[nodiscard]] const model::View& view() const { return snapshot_->view(); }
  [[nodiscard]] const teal_secret& secret() const { return storage_->head().secret; }
  [[nodiscard]] teal_flow_key key_of(uint32_t flow) const;
  [[nodiscard]] uint16_t service_of(uint32_t flow) const { return services_[flow % shape_.services]; }
  [[nodiscard]] uint16_t backend_of(uint32_t flow) const;

 private:
  void publish(const std::vector<model::ServiceConfig>& services);

  Shape shape_;
  size_t bytes_;
  void* memory_;
  std::unique_ptr<flow::Storage> storage_;
  std::unique_ptr<flow::Registry> registry_;
  std::unique_ptr<flow::Table> table_;
  std::unique_ptr<const model::Snapshot> snapshot_;
  std::vector<uint16_t> services_;  // numbers
  std::vector<uint16_t> blue_;      // backends' numbers, those of a service side by side
};

// ---- the packets of flow i

// Network order. Clients are 1.0.0.0 upwards, and never martian; ports vary as well.
inline uint32_t client4_of(uint32_t flow) {
  return teal_swap32(0x01000000u + flow);
}
inline uint16_t client_port_of(uint32_t flow) {
  return teal_swap16(static_cast<uint16_t>(0x8000u | (flow * 40503u >> 20)));
}
teal_addr client_of(uint32_t flow, uint8_t family);
model::Address vip_of(uint32_t service, uint8_t family);

inline constexpr uint16_t vip_port = 80, backend_port = 8080;

// A frame of `shape` with room to be put in front of: client's ACK to service 0, or a backend's answer; addresses and
// ports of flow 0. Every checksum is right.
std::vector<uint8_t> bench_frame(const Shape& shape, bool reply, uint8_t tcp_flags);

}  // namespace teal::perf
