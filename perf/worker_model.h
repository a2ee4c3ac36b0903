// SPDX-License-Identifier: Apache-2.0
// The bare cost of what a balancer with a flow table cannot do without, beside which teal is measured: its time is said
// as a multiple, which another machine, or a busy one, leaves as it is. IPv4 and TCP to one service; per packet one
// look at a table of services, at one bucket of four keys, a last-seen stamp, two counters and the rewrite. It knows no
// state, no census, no generations, no MTU, no TTL that ends; a packet that is not ordinary is thrown away.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "bench_world.h"

namespace teal::perf {

class Model {
 public:
  // Enters flows 0 to `flows` - 1 of `world`, which has one service, NAT or IPIP, and IPv4, at `load` percent of the
  // slots, but no more than half of them: it displaces nobody. Throws std::runtime_error.
  Model(const BenchWorld& world, uint32_t flows, uint32_t load);

  // Rewrites all of a burst of at most 64 in place. What it throws away is counted and stays as it is.
  void forward(rte_mbuf** packets, unsigned count);
  [[nodiscard]] uint64_t strangers() const { return strangers_; }  // packets of no flow, or no service
  [[nodiscard]] uint32_t unplaced() const { return unplaced_; }    // flows that found no slot

 private:
  struct alignas(64) Bucket {
    uint64_t key[4];
    uint64_t value[4];
  };
  struct alignas(64) Backend {
    uint8_t macs[12];
    uint32_t address, tunnel_source;
    uint16_t port, sum;
    uint64_t packets, bytes;
  };
  struct Service {
    uint32_t address;
    uint16_t port;
    uint8_t proto;
    bool used;
    uint64_t number;
  };
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };

  static uint32_t hash(uint64_t key);
  static uint32_t second(uint32_t h) { return h * 0x85ebca6bu + 0x1234567; }
  static uint32_t place(uint32_t address, uint16_t port, uint8_t proto);
  [[nodiscard]] Bucket& bucket(uint32_t h) const { return buckets_[uint64_t{h} * count_ >> 32]; }
  static uint64_t* find(Bucket& b, uint64_t key);
  uint64_t* find_second(uint64_t key, uint32_t h);
  void enter(uint64_t key, uint64_t backend);
  template <bool tunnel>
  void rewrite(rte_mbuf** packets, const uint64_t* keys, const uint32_t* hashes, unsigned count);

  const bool tunnel_;
  uint32_t count_ = 0;
  std::unique_ptr<Bucket[], Free> buckets_;
  std::array<Service, 1024> services_{};
  std::array<Backend, 256> backends_{};
  uint32_t now_ = 1, unplaced_ = 0;
  uint64_t strangers_ = 0;
};

}  // namespace teal::perf
