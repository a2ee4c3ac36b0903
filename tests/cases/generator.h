// SPDX-License-Identifier: Apache-2.0
// Random sequences for the differential run: a world, then packets that mean something in it (and some that mean
// nothing), with cutovers, reloads and time in between. The same seed gives the same sequence anywhere.
#pragma once

#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cases/frames.h"
#include "engines/engine.h"

namespace teal::tests {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t draw();  // splitmix64
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((draw() >> 32) * n >> 32); }
  bool one_in(uint32_t n) { return below(n) == 0; }
  template <class T>
  const T& of(const std::vector<T>& from) {
    return from[below(static_cast<uint32_t>(from.size()))];
  }

 private:
  uint64_t state_;
};

// One thing to do: a frame that comes in, or, where `control` is not null, a step as in a case file.
struct Step {
  uint16_t port = 0;
  Bytes frame;
  bool sound = true;  // its checksums are right, and it is no fragment: what leaves because of it must be right too
  nlohmann::json control;
};

// Where the ports are: of one layout, ports have the same MAC addresses and count of tags.
enum class Layout : uint8_t { two_ports, one_port, one_tag, two_tags };
inline constexpr unsigned layouts = 4;

class Generator {
 public:
  Generator(uint64_t seed, Layout layout);
  // As the head of a case: config, ports, topology, flows.
  [[nodiscard]] nlohmann::json head() const;
  Step next();
  [[nodiscard]] size_t steps() const { return crowded_ ? 6000 : 2500; }  // that are worth it

 private:
  struct Backend {
    model::Address address;
    uint16_t port = 0;
    std::string name() const;
  };
  struct Service {
    std::string name, forward, group;
    model::Address vip;
    uint16_t port = 0;
    uint8_t proto = 6;
    bool by_flow = false, configured = true;
    unsigned mss_clamp = 0;
    unsigned affinity_s = 0, affinity_prefix = 0;  // 0 s: none
    std::vector<std::string> preview_clients;
    uint16_t preview_port = 0;
    std::vector<Backend> pools[2];
  };
  struct Flow {
    size_t service = 0;
    model::Address client;
    uint16_t port = 0;
  };

  // generator.cc: the world, and what changes in it
  void make_services();
  void make_clients();
  [[nodiscard]] nlohmann::json world() const;
  [[nodiscard]] nlohmann::json topology() const;
  nlohmann::json control();
  nlohmann::json reload();

  // generator_releases.cc
  void make_affinity(Service& s);
  void make_preview(Service& s);
  static void add_release(const Service& s, nlohmann::json& config);
  nlohmann::json advance();
  nlohmann::json split(const Service& s);

  // traffic.cc
  Flow flow();
  Step traffic();
  void conversation();  // generator_releases.cc
  void settled();       // generator_settled.cc
  Step from_client();
  Step from_backend();
  Step fill();
  Step icmp_error();
  Step elsewhere();
  void fragments(Step whole, Packet p);
  void mutate(Step& step);
  Packet packet(const Service& s);
  uint16_t port_of(const Service& s);
  void sizes(Packet& p, uint32_t mtu, uint32_t tunnel);
  Step received(bool from_backends, const Bytes& packet);
  [[nodiscard]] uint16_t back_port() const { return layout_ == Layout::one_port ? 0 : 1; }
  model::Address seen_by_backend(const model::Address& client);

  Random random_;
  Layout layout_;
  bool vlan_link_ = false;  // backends behind a VLAN link of their port
  bool calm_ = false;       // services that settle (teal/settled.h), mostly
  uint32_t established_s_ = 20;
  bool crowded_ = false;  // more flows than the table holds
  unsigned to_fill_ = 0;  // packets to come that fill it
  uint16_t client_mtu_ = 1500, back_mtu_ = 1500;
  std::vector<model::Address> unknown_;  // neighbours without a MAC address
  std::vector<Service> services_;
  std::vector<Backend> backends_;           // of all services, past ones too
  std::vector<model::Address> clients_[2];  // by family
  std::optional<Flow> last_;
  std::deque<Step> pending_;  // fragments to come
};

}  // namespace teal::tests
