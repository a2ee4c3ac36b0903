// SPDX-License-Identifier: Apache-2.0
// The configuration as plain values, after it has been read and checked whole. Reading: model/config_file.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/address.h"
#include "model/release_config.h"

namespace teal::model {

enum class Pool : uint8_t { blue = 0, green = 1 };
enum class Forward : uint8_t { nat = 0, l2dsr = 1, ipip = 2 };
enum class Protocol : uint8_t { tcp = 6, udp = 17 };
enum class SplitBy : uint8_t { client = 0, flow = 1 };
enum class Memory : uint8_t { hugepages, ordinary };
enum class Idle : uint8_t { poll, adaptive };
enum class Engine : uint8_t { dpdk, xdp };
enum class XdpMode : uint8_t { native, generic };

inline Pool other(Pool p) {
  return p == Pool::blue ? Pool::green : Pool::blue;
}
const char* to_string(Pool v);
inline const char* pool_name(int pool) {
  return to_string(static_cast<Pool>(pool));
}
const char* to_string(Forward v);
const char* to_string(Protocol v);
const char* to_string(SplitBy v);
const char* to_string(Memory v);
const char* to_string(Idle v);
const char* to_string(Engine v);
const char* to_string(XdpMode v);

struct ControlConfig {
  std::string socket = "/run/teal/teald.sock";
  unsigned mode = 0660;  // permission bits of the socket
  std::string group;     // owning group of the socket; empty: that of the process
  std::string audit_log = "/var/log/teal/audit.jsonl";
  std::string state_dir = "/var/lib/teal";  // where rollouts under way are kept over a restart
  bool operator==(const ControlConfig&) const = default;
};

struct Timeouts {
  uint32_t half_open_s = 10;
  uint32_t established_s = 3600;
  uint32_t closing_s = 10;
  uint32_t udp_s = 60;
  bool operator==(const Timeouts&) const = default;
};

struct EngineConfig {
  unsigned workers = 1;        // 1 to 64
  std::vector<unsigned> cpus;  // CPU of each worker; empty: chosen from those the process may run on
  Memory memory = Memory::hugepages;
  unsigned packet_memory_mib = 256;           // for packet buffers, 64 to 65,536
  std::string table_file;                     // empty: /dev/hugepages/teal/flows or /dev/shm/teal/flows, by `memory`;
                                              // unused when there are xdp ports: the table lies in bpf_pins then
  std::string bpf_pins = "/sys/fs/bpf/teal";  // directory on a bpffs, where what xdp ports need is pinned
  uint64_t flows = 4ull << 20;                // capacity, 1,024 to 268,435,456
  Timeouts timeouts;
  Idle idle = Idle::poll;
  Address tunnel_source_ipv4;  // outer source of ipip; none: the kernel's choice for the route
  Address tunnel_source_ipv6;
  Prefix hairpin_ipv4{*Address::parse("100.127.0.0"), 16};  // a backend that is a client is seen by backends as an
  Prefix hairpin_ipv6{*Address::parse("fd7e:a100::"), 96};  // address of this prefix, so that replies come back
  bool operator==(const EngineConfig&) const = default;
};

struct PortConfig {
  std::string name;  // of a dpdk port's tap in the kernel, too: at most 15 characters
  Engine engine = Engine::dpdk;
  std::string device;             // dpdk: PCI address ("0000:3b:00.0") or vdev ("net_af_packet0,iface=eth1");
                                  // xdp: the kernel's interface
  std::vector<uint16_t> vlan;     // 0 to 2 VLAN ids, outer first, that all of a dpdk port's traffic carries
  std::vector<Prefix> addresses;  // given to interface()
  bool announce_vips = true;      // VIPs are given to it too, so that the kernel answers ARP, ND and ping
  uint16_t mtu = 1500;            // 68 to 9,000; 0 (xdp): the interface's own, left alone
  XdpMode mode = XdpMode::native;
  bool operator==(const PortConfig&) const = default;

  // The port's interface in the kernel: its tap, or for xdp itself.
  [[nodiscard]] const std::string& interface() const { return engine == Engine::xdp ? device : name; }
};

struct BackendConfig {
  std::string name;  // unique in its service; default: the endpoint's text
  Endpoint endpoint;
  uint32_t weight = 1;  // 0 to 65,535; 0: no new flows
  bool operator==(const BackendConfig&) const = default;
};

struct ServiceConfig {
  std::string name;
  Address vip;
  uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  Forward forward = Forward::nat;
  std::string group;  // services of one group share a split; left out in a file: the service's name
  SplitBy split_by = SplitBy::client;
  Pool active = Pool::blue;             // where new flows go when the service (or its group) is seen for the first time
  uint16_t mss_clamp = 0;               // upper bound for the MSS option of SYNs, bytes, 88 to 65,535; 0: left alone
  std::vector<BackendConfig> pools[2];  // by Pool
  RolloutConfig rollout{};              // the same in all services of a group
  PreviewConfig preview{};
  AffinityConfig affinity{};
  HealthConfig health{};
  bool operator==(const ServiceConfig&) const = default;
};

struct Config {
  ControlConfig control;
  EngineConfig engine;
  std::vector<PortConfig> ports;
  std::vector<ServiceConfig> services;
  bool operator==(const Config&) const = default;

  [[nodiscard]] bool has_xdp_ports() const {
    for (const PortConfig& p : ports)
      if (p.engine == Engine::xdp) return true;
    return false;
  }
};

}  // namespace teal::model
