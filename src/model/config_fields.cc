// SPDX-License-Identifier: Apache-2.0
// The keys of the configuration: how each is called, whether it may be left out, and how it is read. config_keys() and
// the error messages are made from these tables, and docs/configuration.md is held against them by a test.
#include "config_fields.h"

#include "config_release.h"
#include "yaml_reader.h"

namespace teal::model {

namespace {

using Node = YAML::Node;
constexpr size_t longest_name = 63;
constexpr size_t longest_port_name = 15;        // IFNAMSIZ - 1
constexpr size_t longest_path = 4095;           // PATH_MAX - 1
constexpr size_t longest_directory = 4000;      // with room for the names in it
constexpr size_t longest_socket = 107;          // sizeof(sockaddr_un.sun_path) - 1
constexpr uint32_t longest_timeout_s = 518400;  // six days: stamps of 24 bits tell no more (teal/flow.h)

constexpr Field<ControlConfig> control_fields[] = {
    {"socket", {}, [](Reader& r, const Node& n, ControlConfig& c) { r.file(n, c.socket, longest_socket); }},
    {"mode", {}, [](Reader& r, const Node& n, ControlConfig& c) { r.octal(n, c.mode, 0777); }},
    {"group", {}, [](Reader& r, const Node& n, ControlConfig& c) { r.text(n, c.group, longest_name); }},
    {"audit_log", {}, [](Reader& r, const Node& n, ControlConfig& c) { r.file(n, c.audit_log, longest_path); }},
    {"state_dir", {}, [](Reader& r, const Node& n, ControlConfig& c) { r.file(n, c.state_dir, longest_directory); }},
};

constexpr Field<Timeouts> timeout_fields[] = {
    {"half_open_s", {}, [](Reader& r, const Node& n, Timeouts& t) { r.number(n, t.half_open_s, 1, 1800); }},
    {"established_s",
     {},
     [](Reader& r, const Node& n, Timeouts& t) { r.number(n, t.established_s, 1, longest_timeout_s); }},
    {"closing_s", {}, [](Reader& r, const Node& n, Timeouts& t) { r.number(n, t.closing_s, 1, longest_timeout_s); }},
    {"udp_s", {}, [](Reader& r, const Node& n, Timeouts& t) { r.number(n, t.udp_s, 1, longest_timeout_s); }},
};

constexpr Field<EngineConfig> tunnel_source_fields[] = {
    {"ipv4", {}, [](Reader& r, const Node& n, EngineConfig& e) { r.address(n, e.tunnel_source_ipv4, 4); }},
    {"ipv6", {}, [](Reader& r, const Node& n, EngineConfig& e) { r.address(n, e.tunnel_source_ipv6, 6); }},
};

template <uint8_t family, uint8_t longest>
void read_hairpin(Reader& r, const Node& n, EngineConfig& e) {
  Prefix& out = family == 4 ? e.hairpin_ipv4 : e.hairpin_ipv6;
  r.prefix(n, out, family, longest);
  out = out.network();
}

constexpr Field<EngineConfig> hairpin_fields[] = {
    {"ipv4", {}, read_hairpin<4, 24>},
    {"ipv6", {}, read_hairpin<6, 112>},
};

void read_cpus(Reader& r, const Node& node, EngineConfig& e) {
  r.list(node, "a list of CPU numbers, one a worker",
         [&](const Node& n) { r.number(n, e.cpus.emplace_back(), 0, 4095); });
}

constexpr Field<EngineConfig> engine_fields[] = {
    {"workers", {}, [](Reader& r, const Node& n, EngineConfig& e) { r.number(n, e.workers, 1, 64); }},
    {"cpus", {}, read_cpus},
    {"memory",
     {},
     [](Reader& r, const Node& n, EngineConfig& e) {
       r.choice(n, e.memory, {Memory::hugepages, Memory::ordinary});
     }},
    {"packet_memory_mib",
     {},
     [](Reader& r, const Node& n, EngineConfig& e) { r.number(n, e.packet_memory_mib, 64, 65536); }},
    {"table_file", {}, [](Reader& r, const Node& n, EngineConfig& e) { r.file(n, e.table_file, longest_path); }},
    {"bpf_pins", {}, [](Reader& r, const Node& n, EngineConfig& e) { r.file(n, e.bpf_pins, longest_directory); }},
    {"flows", {}, [](Reader& r, const Node& n, EngineConfig& e) { r.quantity(n, e.flows, 1024, 268435456); }},
    {"timeouts",
     {},
     [](Reader& r, const Node& n, EngineConfig& e) { r.object<Timeouts>(n, timeout_fields, e.timeouts); }},
    {"idle",
     {},
     [](Reader& r, const Node& n, EngineConfig& e) {
       r.choice(n, e.idle, {Idle::poll, Idle::adaptive});
     }},
    {"tunnel_source",
     {},
     [](Reader& r, const Node& n, EngineConfig& e) { r.object<EngineConfig>(n, tunnel_source_fields, e); }},
    {"hairpin", {}, [](Reader& r, const Node& n, EngineConfig& e) { r.object<EngineConfig>(n, hairpin_fields, e); }},
};

void read_vlan(Reader& r, const Node& node, PortConfig& p) {
  if (node.IsSequence() && node.size() > 2) return r.fail(node, "at most two VLAN ids, the outer one first");
  const auto one = [&](const Node& n) { r.number(n, p.vlan.emplace_back(), 1, 4094); };
  if (node.IsScalar()) return one(node);
  r.list(node, "a VLAN id from 1 to 4094, or a list of up to two", one);
}

void read_addresses(Reader& r, const Node& node, PortConfig& p) {
  r.list(node, "a list of addresses with prefix length",
         [&](const Node& n) { r.prefix(n, p.addresses.emplace_back(), 0, 128); });
}

constexpr Field<PortConfig> port_fields[] = {
    {"name", "a name of at most 15 characters",
     [](Reader& r, const Node& n, PortConfig& p) { r.name(n, p.name, longest_port_name); }},
    {"engine",
     {},
     [](Reader& r, const Node& n, PortConfig& p) {
       r.choice(n, p.engine, {Engine::dpdk, Engine::xdp});
     }},
    {"mode",
     {},
     [](Reader& r, const Node& n, PortConfig& p) {
       r.choice(n, p.mode, {XdpMode::native, XdpMode::generic});
     }},
    {"device", "a PCI address, a DPDK vdev or, with engine: xdp, an interface's name",
     [](Reader& r, const Node& n, PortConfig& p) { r.text(n, p.device, 255); }},
    {"vlan", {}, read_vlan},
    {"addresses", {}, read_addresses},
    {"announce_vips", {}, [](Reader& r, const Node& n, PortConfig& p) { r.boolean(n, p.announce_vips); }},
    {"mtu", {}, [](Reader& r, const Node& n, PortConfig& p) { r.number(n, p.mtu, 68, 9000); }},
};

constexpr Field<BackendConfig> backend_fields[] = {
    {"address", "an IPv4 or IPv6 address",
     [](Reader& r, const Node& n, BackendConfig& b) { r.address(n, b.endpoint.address, 0); }},
    {"port", {}, [](Reader& r, const Node& n, BackendConfig& b) { r.number(n, b.endpoint.port, 1, 65535); }},
    {"weight", {}, [](Reader& r, const Node& n, BackendConfig& b) { r.number(n, b.weight, 0, 65535); }},
    {"name", {}, [](Reader& r, const Node& n, BackendConfig& b) { r.name(n, b.name, longest_name); }},
};

void read_backend(Reader& r, const Node& node, BackendConfig& b) {
  if (node.IsMap()) return r.object<BackendConfig>(node, backend_fields, b);
  const std::string text = node.IsScalar() ? node.Scalar() : "";
  const auto endpoint = Endpoint::parse(text);
  const auto address = Address::parse(text);
  if (!address && !endpoint)
    return r.fail(node, "ADDRESS, ADDRESS:PORT, [IPV6]:PORT or a map with the keys address, port, weight, name");
  if (endpoint && endpoint->port == 0) return r.fail(node, "a port from 1 to 65535");
  const std::string_view why = unfit(address ? *address : endpoint->address);
  if (!why.empty()) return r.fail(node, "an address of a host, and this one is " + std::string(why));
  b.endpoint = address ? Endpoint{*address, 0} : *endpoint;
}

template <Pool pool>
void read_pool(Reader& r, const Node& node, ServiceConfig& s) {
  r.list(node, "a list of backends",
         [&](const Node& n) { read_backend(r, n, s.pools[static_cast<int>(pool)].emplace_back()); });
}

constexpr Field<ServiceConfig> pool_fields[] = {
    {"blue", {}, read_pool<Pool::blue>},
    {"green", {}, read_pool<Pool::green>},
};

void read_mss_clamp(Reader& r, const Node& n, ServiceConfig& s) {
  constexpr uint16_t least = 88;  // Linux refuses a smaller MSS itself (TCP_MIN_MSS)
  r.number(n, s.mss_clamp, 0, 65535);
  if (s.mss_clamp != 0 && s.mss_clamp < least) r.fail(n, "0 to leave it alone, or a number from 88 to 65535");
}

constexpr Field<ServiceConfig> service_fields[] = {
    {"name", "a name", [](Reader& r, const Node& n, ServiceConfig& s) { r.name(n, s.name, longest_name); }},
    {"vip", "an IPv4 or IPv6 address", [](Reader& r, const Node& n, ServiceConfig& s) { r.address(n, s.vip, 0); }},
    {"port", "a number from 1 to 65535",
     [](Reader& r, const Node& n, ServiceConfig& s) { r.number(n, s.port, 1, 65535); }},
    {"protocol",
     {},
     [](Reader& r, const Node& n, ServiceConfig& s) {
       r.choice(n, s.protocol, {Protocol::tcp, Protocol::udp});
     }},
    {"forward",
     {},
     [](Reader& r, const Node& n, ServiceConfig& s) {
       r.choice(n, s.forward, {Forward::nat, Forward::l2dsr, Forward::ipip});
     }},
    {"group", {}, [](Reader& r, const Node& n, ServiceConfig& s) { r.name(n, s.group, longest_name); }},
    {"split_by",
     {},
     [](Reader& r, const Node& n, ServiceConfig& s) {
       r.choice(n, s.split_by, {SplitBy::client, SplitBy::flow});
     }},
    {"active",
     {},
     [](Reader& r, const Node& n, ServiceConfig& s) {
       r.choice(n, s.active, {Pool::blue, Pool::green});
     }},
    {"mss_clamp", {}, read_mss_clamp},
    {"pools", "a map with the keys blue, green",
     [](Reader& r, const Node& n, ServiceConfig& s) { r.object<ServiceConfig>(n, pool_fields, s); }},
    {"rollout", {}, [](Reader& r, const Node& n, ServiceConfig& s) { read_rollout(r, n, s.rollout); }},
    {"preview", {}, [](Reader& r, const Node& n, ServiceConfig& s) { read_preview(r, n, s.preview); }},
    {"affinity", {}, [](Reader& r, const Node& n, ServiceConfig& s) { read_affinity(r, n, s.affinity); }},
    {"health", {}, [](Reader& r, const Node& n, ServiceConfig& s) { read_health(r, n, s.health); }},
};

// What the file may leave to the rest of the service.
void fill_in(ServiceConfig& s) {
  if (s.group.empty()) s.group = s.name;
  for (auto& pool : s.pools)
    for (BackendConfig& b : pool) {
      if (b.endpoint.port == 0) b.endpoint.port = s.port;
      if (b.name.empty()) b.name = b.endpoint.str();
    }
}

void read_ports(Reader& r, const Node& node, Config& c) {
  constexpr uint16_t not_given = 0;  // never read from a file
  r.list(node, "a list of ports", [&](const Node& n) {
    PortConfig& p = c.ports.emplace_back();
    p.mtu = not_given;
    r.object<PortConfig>(n, port_fields, p);
    if (p.mtu == not_given && p.engine == Engine::dpdk) p.mtu = PortConfig{}.mtu;
  });
}

void read_services(Reader& r, const Node& node, Config& c) {
  r.list(node, "a list of services", [&](const Node& n) {
    r.object<ServiceConfig>(n, service_fields, c.services.emplace_back());
    fill_in(c.services.back());
  });
}

constexpr Field<Config> root_fields[] = {
    {"control", {}, [](Reader& r, const Node& n, Config& c) { r.object<ControlConfig>(n, control_fields, c.control); }},
    {"engine", {}, [](Reader& r, const Node& n, Config& c) { r.object<EngineConfig>(n, engine_fields, c.engine); }},
    {"ports", "a list of at least one port", read_ports},
    {"services", {}, read_services},
};

}  // namespace

void read_root(const YAML::Node& node, ConfigReport& report, Config& out) {
  Reader reader(report);
  reader.object<Config>(node, root_fields, out);
}

std::vector<std::string> config_keys() {
  std::vector<std::string> keys;
  append_keys<Config>(keys, "", root_fields);
  append_keys<ControlConfig>(keys, "control.", control_fields);
  append_keys<EngineConfig>(keys, "engine.", engine_fields);
  append_keys<Timeouts>(keys, "engine.timeouts.", timeout_fields);
  append_keys<EngineConfig>(keys, "engine.tunnel_source.", tunnel_source_fields);
  append_keys<EngineConfig>(keys, "engine.hairpin.", hairpin_fields);
  append_keys<PortConfig>(keys, "ports[].", port_fields);
  append_keys<ServiceConfig>(keys, "services[].", service_fields);
  append_keys<ServiceConfig>(keys, "services[].pools.", pool_fields);
  append_keys<BackendConfig>(keys, "services[].pools.*[].", backend_fields);
  append_release_keys(keys, "services[].");
  return keys;
}

}  // namespace teal::model
