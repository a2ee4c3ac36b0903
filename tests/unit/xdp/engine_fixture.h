// SPDX-License-Identifier: Apache-2.0
// A bpffs of the test's own (in a mount namespace of its own: nothing is left behind, however the test ends) and a veth
// pair. Needs root.
#pragma once

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "../host/net_namespace.h"
#include "handles.h"
#include "links.h"
#include "model/snapshot.h"
#include "xdp/engine.h"

namespace teal::xdp {

inline const std::string pins_at = "/sys/fs/bpf/teal";
constexpr uint32_t table_buckets = 4096;
constexpr uint64_t table_bytes = TEAL_AT_END(table_buckets);

inline model::Mac mac_of(const std::string& device) {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  device.copy(request.ifr_name, IFNAMSIZ - 1);
  if (ioctl(socket.get(), SIOCGIFHWADDR, &request) != 0) throw std::runtime_error("no MAC address: " + device);
  model::Mac mac;
  std::copy_n(reinterpret_cast<uint8_t*>(request.ifr_hwaddr.sa_data), 6, mac.begin());
  return mac;
}

inline PortSpec port_spec(const std::string& device, bool generic = false, uint16_t number = 0) {
  return {number, "p_" + device, device, static_cast<int>(if_nametoindex(device.c_str())), mac_of(device), 0, generic};
}

inline Engine::Options options_of(uint64_t bytes = table_bytes) {
  Engine::Options o;
  o.pins = pins_at;
  o.table_bytes = bytes;
  return o;
}

// What flow::Storage does to a new table.
inline teal_head& make_head(const TableMemory& table) {
  auto& head = *static_cast<teal_head*>(table.base);
  head.layout = TEAL_LAYOUT;
  head.buckets = table_buckets;
  head.capacity = 1000;
  head.secret = {{11, 22}, {0x9e3779b97f4a7c15ull, 0xc2b2ae3d27d4eb4full}};
  head.magic = TEAL_MAGIC;
  return head;
}

// `services` services, each with a backend in blue and one in green.
inline model::SnapshotInput world(uint16_t services) {
  model::SnapshotInput in;
  in.secret = {{11, 22}, {0x9e3779b97f4a7c15ull, 0xc2b2ae3d27d4eb4full}};
  in.ports = {{0, 5, {2, 0, 0, 0, 0, 1}, 1500, {}}};
  in.topology.links = {{5, "edge0", {}, 1500, true, 0, 0, false}};
  in.topology.routes = {{*model::Prefix::parse("10.0.0.0/8"), 5, {}, {}, 0},
                        {*model::Prefix::parse("0.0.0.0/0"), 5, *model::Address::parse("10.0.0.9"), {}, 0}};
  for (uint16_t n = 1; n <= services; n++) {
    model::SnapshotService s;
    s.number = n;
    s.group = n;
    s.config.vip = *model::Address::parse("192.0.2." + std::to_string(n));
    s.config.port = 80;
    in.services.push_back(s);
    for (uint8_t pool = 0; pool < 2; pool++) {
      const auto number = static_cast<uint16_t>(n * 2 + pool);
      const auto at = *model::Address::parse("10.0." + std::to_string(n) + "." + std::to_string(pool + 1));
      in.backends.push_back({number, n, pool, {at, 8080}, 1});
    }
  }
  return in;
}

inline std::string error_of(auto&& call) {
  try {
    call();
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "no error";
}

inline bool mentions(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

class XdpTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (geteuid() != 0) return;
    // Once a process: tests share it, and each begins with an empty directory.
    static const bool ready = unshare(CLONE_NEWNS) == 0 &&
                              mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                              mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr) == 0;
    if (!ready) throw std::runtime_error("cannot mount a bpffs of the test's own");
  }
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: BPF, a mount and a network namespace";
    Engine::detach(pins_at);
    net_ = std::make_unique<test::NetNamespaces>();
    net_->far("ethtool -K far tx off gro on >/dev/null");
  }
  void TearDown() override {
    if (geteuid() == 0) Engine::detach(pins_at);
  }

  model::Snapshot snapshot(uint16_t services) { return model::Snapshot(world(services), cache_); }
  // An engine on `ports` that has published.
  std::unique_ptr<Engine> start(const std::vector<PortSpec>& ports, Engine::Options options = options_of()) {
    auto engine = std::make_unique<Engine>(options);
    if (!engine->table().found) make_head(engine->table());
    engine->load(ports, {});
    engine->publish(snapshot(2));
    return engine;
  }
  static bool pinned(const std::string& name) { return std::filesystem::exists(pins_at + "/" + name); }
  template <class T>
  static Mapping map_pin(const std::string& name, unsigned entries) {
    const Fd fd(bpf_obj_get((pins_at + "/" + name).c_str()));
    return Mapping(fd.get(), entries * sizeof(T), name);
  }
  static uint32_t link_id(const std::string& pin) {
    const Fd fd(bpf_obj_get((pins_at + "/" + pin).c_str()));
    bpf_link_info info{};
    uint32_t size = sizeof(info);
    return bpf_obj_get_info_by_fd(fd.get(), &info, &size) == 0 ? info.id : 0;
  }
  static uint32_t program_on(const std::string& device) {
    return attached(static_cast<int>(if_nametoindex(device.c_str()))).program_id;
  }

  model::MaglevCache cache_;
  std::unique_ptr<test::NetNamespaces> net_;
};

}  // namespace teal::xdp
