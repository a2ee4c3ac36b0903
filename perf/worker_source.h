// SPDX-License-Identifier: Apache-2.0
// Packets for a worker, made in its own loop: a template's bytes with one flow's addresses and ports, in buffers of a
// small pool that stay in the cache. Which flow comes from registers or from a list read in order, so that the source
// has no miss of its own at any number of flows.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "bench_world.h"

namespace teal::perf {

enum class Pick : uint8_t { uniform, zipf };  // zipf: exponent 1.1
enum class Sizes : uint8_t { least, imix };   // imix: 64, 576 and 1,518 bytes as 7:4:1

struct Traffic {
  uint32_t flows = 1000;
  Pick pick = Pick::uniform;
  Sizes sizes = Sizes::least;
  uint32_t reply_percent = 0;  // the backend's packets; the rest are the client's
  uint32_t syn_percent = 0;    // of the client's packets: each begins a flow that is not there yet
  uint32_t burst = 32;
};

class Source {
 public:
  // `fresh`: the number of the first flow that a SYN begins; they go on from there.
  Source(const BenchWorld& world, const Traffic& traffic, rte_mempool* pool, uint32_t fresh);

  // Fills `packets`; false when the pool is empty.
  bool fill(rte_mbuf** packets, unsigned count);

  [[nodiscard]] uint32_t fresh() const { return fresh_; }
  void set_fresh(uint32_t flow) { fresh_ = flow; }
  [[nodiscard]] uint64_t replies() const { return replies_; }
  [[nodiscard]] uint64_t syns() const { return syns_; }

 private:
  struct Template {
    alignas(64) std::array<uint8_t, 128> bytes{};
    uint16_t len;
    Template(const Shape& shape, bool reply, uint8_t flags);
  };
  struct Peer {
    teal_addr address;
    uint16_t port;
  };

  void make_zipf();
  void write(rte_mbuf* m, const Template& from, uint32_t flow, bool reply, uint16_t length) const;
  uint32_t next_flow() {
    if (!zipf_.empty()) return zipf_[++at_ & (zipf_.size() - 1)];
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;  // Knuth's MMIX
    return teal_reduce(static_cast<uint32_t>(state_ >> 32), traffic_.flows);
  }

  const Traffic traffic_;
  const uint8_t family_;
  const uint32_t services_;
  rte_mempool* pool_;
  Template ack_, syn_, reply_;
  std::vector<Peer> peers_;  // of flow i: i % its size
  std::vector<uint32_t> zipf_;
  size_t at_ = 0;
  uint64_t state_ = 88172645463325252ull;
  uint64_t count_ = 0, replies_ = 0, syns_ = 0;
  uint32_t reply_error_ = 0, syn_error_ = 0;
  uint32_t fresh_;
};

// Packet lengths without FCS, in the order in which they come.
std::array<uint16_t, 12> imix();

}  // namespace teal::perf
