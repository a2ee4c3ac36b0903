// SPDX-License-Identifier: Apache-2.0
// Configurations that are right: what is understood, the examples, the reference, and what a reload may change.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "model/config_file.h"

namespace {

using namespace teal::model;

const std::string source_dir = TEAL_SOURCE_DIR;

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// The configuration of `text`; a failure when there is an error in it.
Config good(const std::string& text) {
  const ConfigResult result = parse_config(text, "f");
  for (const ConfigError& e : result.errors) ADD_FAILURE() << e.str();
  return result.config;
}

const std::string port = "ports: [{name: p, device: d}]\n";

TEST(Config, DefaultsAreThoseOfTheStructs) {
  const Config read = good(port);
  Config expected;
  expected.ports.push_back({.name = "p", .device = "d", .vlan = {}, .addresses = {}});
  EXPECT_EQ(read, expected);
}

TEST(Config, EveryKeyIsUnderstood) {
  const Config c = good(R"(
control: {socket: /s, mode: "0600", group: wheel, audit_log: /a, state_dir: /v}
engine:
  workers: 2
  cpus: [3, 1]
  memory: ordinary
  packet_memory_mib: 64
  table_file: /t
  flows: 1Mi
  timeouts: {half_open_s: 1, established_s: 2, closing_s: 3, udp_s: 4}
  idle: adaptive
  tunnel_source: {ipv4: 192.0.2.9, ipv6: "2001:db8::9"}
  hairpin: {ipv4: 10.9.8.7/16, ipv6: "fd00:9::/64"}
ports:
  - {name: p, engine: dpdk, device: "net_tap0,iface=x", vlan: [7, 8], addresses: [192.0.2.2/24, "2001:db8::2"],
     announce_vips: false, mtu: 9000}
  - {name: q, device: d, vlan: 9}
services:
  - name: web
    vip: 192.0.2.10
    port: 80
    protocol: tcp
    forward: nat
    group: shop
    split_by: flow
    active: green
    mss_clamp: 1400
    pools:
      blue: [10.0.0.1, "10.0.0.2:8080", {address: 10.0.0.3, port: 81, weight: 5, name: three}]
      green: []
)");
  EXPECT_EQ(c.control, (ControlConfig{"/s", 0600, "wheel", "/a", "/v"}));
  EXPECT_EQ(c.engine.workers, 2u);
  EXPECT_EQ(c.engine.cpus, (std::vector<unsigned>{3, 1}));
  EXPECT_EQ(c.engine.memory, Memory::ordinary);
  EXPECT_EQ(c.engine.packet_memory_mib, 64u);
  EXPECT_EQ(c.engine.table_file, "/t");
  EXPECT_EQ(c.engine.flows, 1048576u);
  EXPECT_EQ(c.engine.timeouts, (Timeouts{1, 2, 3, 4}));
  EXPECT_EQ(c.engine.idle, Idle::adaptive);
  EXPECT_EQ(c.engine.tunnel_source_ipv4.str(), "192.0.2.9");
  EXPECT_EQ(c.engine.tunnel_source_ipv6.str(), "2001:db8::9");
  EXPECT_EQ(c.engine.hairpin_ipv4.str(), "10.9.0.0/16");
  EXPECT_EQ(c.engine.hairpin_ipv6.str(), "fd00:9::/64");
  ASSERT_EQ(c.ports.size(), 2u);
  EXPECT_EQ(c.ports[0], (PortConfig{"p",
                                    Engine::dpdk,
                                    "net_tap0,iface=x",
                                    {7, 8},
                                    {*Prefix::parse("192.0.2.2/24"), *Prefix::parse("2001:db8::2/128")},
                                    false,
                                    9000,
                                    XdpMode::native}));
  EXPECT_EQ(c.ports[1], (PortConfig{"q", Engine::dpdk, "d", {9}, {}, true, 1500, XdpMode::native}));
  ASSERT_EQ(c.services.size(), 1u);
  ServiceConfig expected{
      "web", *Address::parse("192.0.2.10"), 80, Protocol::tcp, Forward::nat, "shop", SplitBy::flow, Pool::green, 1400,
      {}};
  expected.pools[0] = {{"10.0.0.1:80", *Endpoint::parse("10.0.0.1:80"), 1},
                       {"10.0.0.2:8080", *Endpoint::parse("10.0.0.2:8080"), 1},
                       {"three", *Endpoint::parse("10.0.0.3:81"), 5}};
  EXPECT_EQ(c.services[0], expected);
}

TEST(Config, AnXdpPortIsTheKernelsInterface) {
  const Config c = good(R"(
engine: {bpf_pins: /sys/fs/bpf/other}
ports:
  - {name: outside, engine: xdp, device: eth0, mode: generic, addresses: [192.0.2.2/24], mtu: 9000}
  - {name: inside, engine: xdp, device: eth1}
  - {name: third, device: "0000:3b:00.1"}
)");
  EXPECT_EQ(c.engine.bpf_pins, "/sys/fs/bpf/other");
  EXPECT_TRUE(c.has_xdp_ports());
  EXPECT_EQ(
      c.ports[0],
      (PortConfig{"outside", Engine::xdp, "eth0", {}, {*Prefix::parse("192.0.2.2/24")}, true, 9000, XdpMode::generic}));
  EXPECT_EQ(c.ports[0].interface(), "eth0");
  EXPECT_EQ(c.ports[1].mode, XdpMode::native);
  EXPECT_EQ(c.ports[1].mtu, 0) << "an interface's MTU is its owner's";
  EXPECT_EQ(c.ports[2].interface(), "third");
  EXPECT_EQ(c.ports[2].mtu, 1500);
  const std::string text = describe(c);
  for (const char* part : {"port outside: xdp eth0, generic, addresses 192.0.2.2/24, announces VIPs, MTU 9000",
                           "port inside: xdp eth1, native, addresses none, announces VIPs, MTU the interface's",
                           "flows: 4194304 in /sys/fs/bpf/other/table"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\nin\n" << text;
  EXPECT_FALSE(good(port).has_xdp_ports());
}

TEST(Config, WhatIsLeftOutComesFromTheService) {
  const Config c = good(port + R"(services:
  - {pools: {green: ["2001:db8::1", "[2001:db8::2]:81", {address: "2001:db8::3"}]}, port: 80, vip: "2001:db8::a", name: v6}
)");
  const ServiceConfig& s = c.services.at(0);
  EXPECT_EQ(s.group, "v6");
  EXPECT_TRUE(s.pools[0].empty());
  ASSERT_EQ(s.pools[1].size(), 3u);
  EXPECT_EQ(s.pools[1][0].name, "[2001:db8::1]:80");
  EXPECT_EQ(s.pools[1][1].name, "[2001:db8::2]:81");
  EXPECT_EQ(s.pools[1][2].name, "[2001:db8::3]:80");
}

TEST(Config, NumbersOfFlowsTakeSuffixes) {
  const std::map<std::string, uint64_t> cases = {{"4194304", 4194304}, {"4Mi", 4194304}, {"1k", 1000},
                                                 {"2M", 2000000},      {"1Ki", 1024},    {"256Mi", 268435456}};
  for (const auto& [text, value] : cases) {
    const auto result = parse_config(port + "engine: {flows: " + text + "}", "f");
    if (value < 1024) {
      EXPECT_FALSE(result.ok()) << text;
    } else {
      EXPECT_TRUE(result.ok()) << text;
      EXPECT_EQ(result.config.engine.flows, value) << text;
    }
  }
}

TEST(Config, ModeIsOctalWithAndWithoutQuotes) {
  for (const char* text : {"0640", "\"0640\"", "640"})
    EXPECT_EQ(good(port + "control: {mode: " + text + "}").control.mode, 0640u) << text;
}

TEST(Config, IpipMixesFamilies) {
  const std::string rest = ", port: 80, forward: ipip, pools: {blue: [10.0.0.1], green: [\"2001:db8::1\"]}}\n";
  EXPECT_EQ(
      good(port + "services:\n  - {name: four, vip: 192.0.2.1" + rest + "  - {name: six, vip: \"2001:db8::a\"" + rest)
          .services.size(),
      2u);
}

TEST(Config, OneVipServesSeveralPortsAndProtocols) {
  good(port + R"(services:
  - {name: a, vip: 192.0.2.1, port: 80, pools: {}}
  - {name: b, vip: 192.0.2.1, port: 81, pools: {}}
  - {name: c, vip: 192.0.2.1, port: 80, protocol: udp, pools: {}}
  - {name: d, vip: 192.0.2.2, port: 80, pools: {}}
)");
}

TEST(Config, DescribeNamesWhatWasUnderstood) {
  const std::string text = describe(good(text_of(source_dir + "/config/single-port.yaml")));
  for (const char* part : {"socket /run/teal/teald.sock mode 0660", "workers 2 on CPUs 2, 3", "idle adaptive",
                           "flows: 4194304", "port edge0: dpdk 0000:3b:00.0", "service web: tcp 192.0.2.10:443, nat",
                           "blue:  10.0.0.11:8443, 10.0.0.12:8443",
                           "green: 10.0.0.21:8443, big 10.0.0.22:8443 weight 2", "ports 1, services 1, backends 4"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\nin\n" << text;
}

TEST(ConfigExamples, EachIsRight) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(source_dir + "/config")) {
    if (entry.path().extension() != ".yaml") continue;
    found.insert(entry.path().stem());
    const ConfigResult result = read_config(entry.path());
    for (const ConfigError& e : result.errors) ADD_FAILURE() << e.str();
    EXPECT_FALSE(result.config.services.empty()) << entry.path();
  }
  for (const char* scenario :
       {"single-port", "two-ports", "dsr", "ipip", "vlan", "ipv6", "groups", "xdp-port", "mixed-ports", "rollout"})
    EXPECT_TRUE(found.contains(scenario)) << scenario;
}

// The rows "| `key` | value | default |" of docs/configuration.md, by key.
std::map<std::string, std::string> documented_defaults() {
  std::map<std::string, std::string> rows;
  std::istringstream in(text_of(source_dir + "/docs/configuration.md"));
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("| `")) continue;
    const size_t end = line.find('`', 3), last = line.rfind('|'), before = line.rfind('|', last - 1);
    std::string value = line.substr(before + 1, last - before - 1);
    std::erase_if(value, [](char c) { return c == ' ' || c == '`'; });
    EXPECT_TRUE(rows.emplace(line.substr(3, end - 3), value).second) << "twice: " << line;
  }
  return rows;
}

TEST(ConfigReference, NamesTheParsersKeysAndNoOthers) {
  std::set<std::string> documented, known;
  for (const auto& [key, value] : documented_defaults()) documented.insert(key);
  for (const std::string& key : config_keys()) EXPECT_TRUE(known.insert(key).second) << key;
  EXPECT_EQ(documented, known);
  EXPECT_GT(known.size(), 90u);
}

TEST(ConfigReference, GivesTheRealDefaults) {
  const auto documented = documented_defaults();
  size_t compared = 0;
  for (auto [path, value] : settings(good(port))) {
    if (path.starts_with("ports.p.")) path = "ports[]." + path.substr(8);
    if (path == "ports[].device") continue;
    ASSERT_TRUE(documented.contains(path)) << path;
    EXPECT_EQ(documented.at(path), value) << path;
    ++compared;
  }
  EXPECT_EQ(compared, 27u);
  const ServiceConfig service;
  EXPECT_EQ(documented.at("services[].protocol"), to_string(service.protocol));
  EXPECT_EQ(documented.at("services[].forward"), to_string(service.forward));
  EXPECT_EQ(documented.at("services[].split_by"), to_string(service.split_by));
  EXPECT_EQ(documented.at("services[].active"), to_string(service.active));
  EXPECT_EQ(documented.at("services[].mss_clamp"), std::to_string(service.mss_clamp));
  EXPECT_EQ(documented.at("services[].pools.*[].weight"), std::to_string(BackendConfig{}.weight));
}

class Reload : public testing::Test {
 protected:
  const Config now = good(text_of(source_dir + "/config/groups.yaml"));
  Config next = now;
  std::vector<std::string> obstacles() { return reload_obstacles(now, next); }
};

using Lines = std::vector<std::string>;

TEST_F(Reload, TheSameIsNoObstacle) {
  EXPECT_EQ(obstacles(), Lines{});
}

TEST_F(Reload, ServicesComeGoAndChange) {
  next.services.erase(next.services.begin());
  next.services[0].pools[0][0].weight = 9;
  next.services[0].pools[1].clear();
  next.services[0].active = Pool::green;
  next.services[0].mss_clamp = 1000;
  next.services[1].vip = *Address::parse("192.0.2.99");
  next.services[1].port = 1;
  next.services[1].protocol = Protocol::udp;
  next.services[1].rollout.hold_s = 1;
  next.services[1].preview.vip = *Address::parse("192.0.2.98");
  next.services[1].affinity.by_client = true;
  next.services[1].health.check = CheckKind::tcp;
  next.services.push_back(now.services[0]);
  next.services.back().name = "new";
  next.services.back().forward = Forward::ipip;
  EXPECT_EQ(obstacles(), Lines{});
}

TEST_F(Reload, AServiceKeepsForwardGroupAndSplit) {
  next.services[0].forward = Forward::ipip;
  next.services[1].group = "other";
  next.services[2].split_by = SplitBy::flow;
  const std::string advice = "; give the changed service a name of its own, or restart teald";
  EXPECT_EQ(obstacles(),
            (Lines{"services.shop-http.forward: running with nat, the new configuration has ipip" + advice,
                   "services.shop-https.group: running with shop, the new configuration has other" + advice,
                   "services.postgres.split_by: running with client, the new configuration has flow" + advice}));
}

TEST_F(Reload, PortsThatComeGoOrChangePlaces) {
  next.ports.push_back(next.ports[0]);
  next.ports[1].name = "edge1";
  const std::string advice = "; this takes a restart of teald";
  EXPECT_EQ(obstacles(), Lines{"ports: running with edge0, the new configuration has edge0, edge1" + advice});
  EXPECT_EQ(reload_obstacles(next, now),
            Lines{"ports: running with edge0, edge1, the new configuration has edge0" + advice});
  Config swapped = next;
  std::swap(swapped.ports[0], swapped.ports[1]);
  EXPECT_EQ(reload_obstacles(next, swapped),
            Lines{"ports: running with edge0, edge1, the new configuration has edge1, edge0" + advice});
}

// Each setting by itself, every one there is: nothing of control, engine or ports may slip through.
TEST_F(Reload, EverySettingOutsideOfServicesTakesARestart) {
  const std::map<std::string, void (*)(Config&)> changes = {
      {"control.socket", [](Config& c) { c.control.socket = "/other"; }},
      {"control.mode", [](Config& c) { c.control.mode = 0600; }},
      {"control.group", [](Config& c) { c.control.group = ""; }},
      {"control.audit_log", [](Config& c) { c.control.audit_log = "/other"; }},
      {"control.state_dir", [](Config& c) { c.control.state_dir = "/other"; }},
      {"engine.workers", [](Config& c) { c.engine.workers = 3; }},
      {"engine.cpus", [](Config& c) { c.engine.cpus = {5}; }},
      {"engine.memory",
       [](Config& c) { c.engine.table_file = "/dev/hugepages/teal/flows", c.engine.memory = Memory::ordinary; }},
      {"engine.packet_memory_mib", [](Config& c) { c.engine.packet_memory_mib = 64; }},
      {"engine.table_file", [](Config& c) { c.engine.table_file = "/other"; }},
      {"engine.bpf_pins", [](Config& c) { c.engine.bpf_pins = "/other"; }},
      {"engine.flows", [](Config& c) { c.engine.flows = 1024; }},
      {"engine.timeouts.half_open_s", [](Config& c) { c.engine.timeouts.half_open_s = 1; }},
      {"engine.timeouts.established_s", [](Config& c) { c.engine.timeouts.established_s = 1; }},
      {"engine.timeouts.closing_s", [](Config& c) { c.engine.timeouts.closing_s = 1; }},
      {"engine.timeouts.udp_s", [](Config& c) { c.engine.timeouts.udp_s = 1; }},
      {"engine.idle", [](Config& c) { c.engine.idle = Idle::adaptive; }},
      {"engine.tunnel_source.ipv4", [](Config& c) { c.engine.tunnel_source_ipv4 = *Address::parse("10.9.9.9"); }},
      {"engine.tunnel_source.ipv6", [](Config& c) { c.engine.tunnel_source_ipv6 = *Address::parse("2001:db8::9"); }},
      {"engine.hairpin.ipv4", [](Config& c) { c.engine.hairpin_ipv4.length = 12; }},
      {"engine.hairpin.ipv6", [](Config& c) { c.engine.hairpin_ipv6.length = 64; }},
      {"ports.edge0.engine",
       [](Config& c) { c.engine.table_file = "/dev/hugepages/teal/flows", c.ports[0].engine = Engine::xdp; }},
      {"ports.edge0.mode", [](Config& c) { c.ports[0].mode = XdpMode::generic; }},
      {"ports.edge0.device", [](Config& c) { c.ports[0].device = "other"; }},
      {"ports.edge0.vlan", [](Config& c) { c.ports[0].vlan = {5}; }},
      {"ports.edge0.addresses", [](Config& c) { c.ports[0].addresses.clear(); }},
      {"ports.edge0.announce_vips", [](Config& c) { c.ports[0].announce_vips = false; }},
      {"ports.edge0.mtu", [](Config& c) { c.ports[0].mtu = 1400; }},
  };
  for (const auto& [path, value] : settings(now)) EXPECT_TRUE(changes.contains(path)) << path << " is not tried here";
  for (const auto& [path, change] : changes) {
    next = now;
    change(next);
    const Lines lines = obstacles();
    ASSERT_EQ(lines.size(), 1u) << path;
    const auto value_in = [&, &at = path](const Config& c) {
      for (const auto& [key, value] : settings(c))
        if (key == at) return value;
      return std::string("missing");
    };
    EXPECT_EQ(lines[0], path + ": running with " + value_in(now) + ", the new configuration has " + value_in(next) +
                            "; this takes a restart of teald");
  }
}

}  // namespace
