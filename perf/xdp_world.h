// SPDX-License-Identifier: Apache-2.0
// A small world around the XDP engine, for measuring and for provoking it: a network and a mount namespace of the
// process's own (nothing is left behind, however it ends), one veth pair, the real engine on one end of it, and
// services by the real registry, snapshot and publisher. Needs root.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "flow/registry.h"
#include "flow/snapshot_input.h"
#include "flow/storage.h"
#include "flow/table.h"
#include "model/snapshot.h"
#include "settle_all.h"
#include "xdp/engine.h"

struct bpf_object;

namespace teal::perf {

void* map_array(int map_fd, size_t bytes);
void unmap_array(void* at, size_t bytes);

// The bytes of a BPF array that the program writes or reads, mapped.
template <class T>
class Shared {
 public:
  // Throws std::runtime_error.
  Shared(int map_fd, size_t count) : at_(static_cast<T*>(map_array(map_fd, count * sizeof(T)))), count_(count) {}
  ~Shared() { unmap_array(at_, count_ * sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T& operator[](size_t i) const { return at_[i]; }
  T* operator->() const { return at_; }
  [[nodiscard]] size_t count() const { return count_; }

 private:
  T* at_;
  size_t count_;
};

class XdpWorld {
 public:
  static constexpr model::Mac port_mac{2, 0, 0, 0, 0x5e, 1};  // of the interface that the program is attached to
  static constexpr model::Mac wire_mac{2, 0, 0, 0, 0x5e, 2};  // of the other end, and of all that is behind it

  // Empty when a world can be made, otherwise why not.
  static std::string missing();
  // `flows`: the table's capacity. The calling thread must be the process's only one. Throws std::runtime_error.
  explicit XdpWorld(uint64_t flows);

  // Publishes these services. Clients are anywhere, backends too: all by one gateway on the wire.
  void serve(const std::vector<model::ServiceConfig>& services);

  [[nodiscard]] xdp::Engine& engine() { return *engine_; }
  [[nodiscard]] flow::Storage& storage() { return *storage_; }
  [[nodiscard]] flow::Registry& registry() { return *registry_; }
  [[nodiscard]] flow::Table& table() { return *table_; }
  [[nodiscard]] const Shared<teal_xdp_cpu>& cpus() const { return *cpus_; }
  [[nodiscard]] const model::View& view() const { return snapshot_->view(); }
  [[nodiscard]] int port() const { return port_; }  // interface indexes
  [[nodiscard]] int wire() const { return wire_; }
  // One more veth pair, 0 and 1 its ends, that nobody uses.
  [[nodiscard]] static int spare(int end);
  [[nodiscard]] uint64_t event(teal_event which) const;  // sums over the CPUs
  [[nodiscard]] uint64_t dropped(teal_drop why) const;

  // An object that the engine pinned: "program", "table", "maglevs", ...; the caller closes it.
  [[nodiscard]] static int pinned(const std::string& name);
  // Attaches an XDP program to an interface, natively, until the caller closes the link's descriptor, which it gets.
  [[nodiscard]] static int attach(int program, int ifindex);
  // Walks until what can be is settled, at that tick; not wanted: nothing is. No program may be running.
  void settle(bool wanted, uint32_t tick);
  // Forgets every flow. No program may be running.
  void clear_flows();

 private:
  std::unique_ptr<xdp::Engine> engine_;
  std::unique_ptr<flow::Storage> storage_;
  std::unique_ptr<flow::Registry> registry_;
  std::unique_ptr<flow::Table> table_;
  std::unique_ptr<Shared<teal_xdp_cpu>> cpus_;
  model::MaglevCache maglevs_;
  std::unique_ptr<model::Snapshot> snapshot_;
  int port_ = 0, wire_ = 0;
};

// A compiled BPF object of the tests: opened, given maps that the engine pinned (by name), loaded.
class TestObject {
 public:
  struct Size {
    const char* map;
    uint32_t entries;
  };
  // `shared`: names of its maps that are the engine's. `sizes`: entries of others. Throws std::runtime_error.
  TestObject(std::span<const unsigned char> elf, const std::vector<std::string>& shared,
             const std::vector<Size>& sizes);
  ~TestObject();
  TestObject(const TestObject&) = delete;
  TestObject& operator=(const TestObject&) = delete;
  [[nodiscard]] int map(const char* name) const;
  [[nodiscard]] int program(const char* name) const;

 private:
  bpf_object* object_;
};

// The model of the CPU, as the kernel tells it.
std::string cpu_model();

}  // namespace teal::perf
