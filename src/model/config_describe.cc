// SPDX-License-Identifier: Apache-2.0
// A configuration as text: for people (describe), and setting by setting for comparing two (settings,
// reload_obstacles).
#include <algorithm>
#include <cstdio>
#include <map>

#include "config_release.h"
#include "model/config_file.h"

namespace teal::model {

namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

template <class List, class Text>
std::string joined(const List& list, Text text) {
  std::string out;
  for (const auto& element : list) out.append(out.empty() ? "" : ", ").append(text(element));
  return out.empty() ? "none" : out;
}

template <class N>
std::string numbers(const std::vector<N>& list) {
  return joined(list, [](N n) { return std::to_string(n); });
}

std::string or_none(const std::string& text) {
  return text.empty() ? "none" : text;
}

std::string octal(unsigned mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%04o", mode);
  return text;
}

std::string mtu_of(const PortConfig& p) {
  return p.mtu == 0 ? "the interface's" : std::to_string(p.mtu);
}

void append_port(Settings& out, const PortConfig& p) {
  const std::string at = "ports." + p.name + ".";
  out.emplace_back(at + "engine", to_string(p.engine));
  out.emplace_back(at + "device", p.device);
  out.emplace_back(at + "vlan", numbers(p.vlan));
  out.emplace_back(at + "addresses", joined(p.addresses, [](const Prefix& a) { return a.str(); }));
  out.emplace_back(at + "announce_vips", p.announce_vips ? "true" : "false");
  out.emplace_back(at + "mtu", mtu_of(p));
  out.emplace_back(at + "mode", to_string(p.mode));
}

std::string port_names(const Config& config) {
  return joined(config.ports, [](const PortConfig& p) { return p.name; });
}

std::string backend_text(const BackendConfig& b) {
  std::string out = b.endpoint.str();
  if (b.name != out) out = b.name + " " + out;
  return b.weight == 1 ? out : out + " weight " + std::to_string(b.weight);
}

void describe_service(std::string& out, const ServiceConfig& s) {
  out += "service " + s.name + ": " + to_string(s.protocol) + " " + Endpoint{s.vip, s.port}.str() + ", " +
         to_string(s.forward) + ", group " + s.group + ", split by " + to_string(s.split_by) + ", starts on " +
         to_string(s.active);
  if (s.mss_clamp != 0) out += ", MSS at most " + std::to_string(s.mss_clamp);
  out += "\n";
  constexpr size_t most_shown = 16;  // a pool, before the rest is only counted
  for (const Pool pool : {Pool::blue, Pool::green}) {
    const auto& backends = s.pools[static_cast<int>(pool)];
    const std::vector<BackendConfig> shown(backends.begin(),
                                           backends.begin() + static_cast<long>(std::min(backends.size(), most_shown)));
    out += std::string("  ") + (pool == Pool::blue ? "blue:  " : "green: ") + joined(shown, backend_text);
    if (backends.size() > most_shown) out += " and " + std::to_string(backends.size() - most_shown) + " more";
    out += "\n";
  }
  out += describe_release(s);
}

void compare_settings(std::vector<std::string>& out, const Config& now, const Config& next) {
  std::map<std::string, std::string> old_values;
  for (auto& [path, value] : settings(now)) old_values.emplace(path, value);
  for (const auto& [path, value] : settings(next)) {
    const auto it = old_values.find(path);
    // Settings of a port that is new or gone: the list of ports says it in one line.
    if (it != old_values.end() && it->second != value)
      out.push_back(path + ": running with " + it->second + ", the new configuration has " + value +
                    "; this takes a restart of teald");
  }
  if (port_names(now) != port_names(next))
    out.push_back("ports: running with " + port_names(now) + ", the new configuration has " + port_names(next) +
                  "; this takes a restart of teald");
}

void compare_service(std::vector<std::string>& out, const ServiceConfig& now, const ServiceConfig& next) {
  const auto compare = [&](const char* key, const std::string& was, const std::string& is) {
    if (was != is)
      out.push_back("services." + now.name + "." + key + ": running with " + was + ", the new configuration has " + is +
                    "; give the changed service a name of its own, or restart teald");
  };
  compare("forward", to_string(now.forward), to_string(next.forward));
  compare("group", now.group, next.group);
  compare("split_by", to_string(now.split_by), to_string(next.split_by));
}

}  // namespace

std::string table_file_of(const Config& config) {
  const EngineConfig& e = config.engine;
  if (!e.table_file.empty()) return e.table_file;
  if (config.has_xdp_ports()) return e.bpf_pins + "/table";
  return e.memory == Memory::hugepages ? "/dev/hugepages/teal/flows" : "/dev/shm/teal/flows";
}

Settings settings(const Config& config) {
  const ControlConfig& c = config.control;
  const EngineConfig& e = config.engine;
  Settings out = {
      {"control.socket", c.socket},
      {"control.mode", octal(c.mode)},
      {"control.group", or_none(c.group)},
      {"control.audit_log", c.audit_log},
      {"control.state_dir", c.state_dir},
      {"engine.workers", std::to_string(e.workers)},
      {"engine.cpus", numbers(e.cpus)},
      {"engine.memory", to_string(e.memory)},
      {"engine.packet_memory_mib", std::to_string(e.packet_memory_mib)},
      {"engine.table_file", table_file_of(config)},
      {"engine.bpf_pins", e.bpf_pins},
      {"engine.flows", std::to_string(e.flows)},
      {"engine.timeouts.half_open_s", std::to_string(e.timeouts.half_open_s)},
      {"engine.timeouts.established_s", std::to_string(e.timeouts.established_s)},
      {"engine.timeouts.closing_s", std::to_string(e.timeouts.closing_s)},
      {"engine.timeouts.udp_s", std::to_string(e.timeouts.udp_s)},
      {"engine.idle", to_string(e.idle)},
      {"engine.tunnel_source.ipv4", e.tunnel_source_ipv4.str()},
      {"engine.tunnel_source.ipv6", e.tunnel_source_ipv6.str()},
      {"engine.hairpin.ipv4", e.hairpin_ipv4.str()},
      {"engine.hairpin.ipv6", e.hairpin_ipv6.str()},
  };
  for (const PortConfig& p : config.ports) append_port(out, p);
  return out;
}

std::string describe(const Config& config) {
  const ControlConfig& c = config.control;
  const EngineConfig& e = config.engine;
  const Timeouts& t = e.timeouts;
  const auto source = [](const Address& a) { return a ? a.str() : std::string("by route"); };
  std::string out;
  out += "control: socket " + c.socket + " mode " + octal(c.mode) + (c.group.empty() ? "" : " group " + c.group) +
         ", audit log " + c.audit_log + ", state in " + c.state_dir + "\n";
  out += "engine:  workers " + std::to_string(e.workers) + (e.cpus.empty() ? "" : " on CPUs " + numbers(e.cpus)) +
         ", idle " + to_string(e.idle) + ", memory " + to_string(e.memory) + ", packet buffers " +
         std::to_string(e.packet_memory_mib) + " MiB\n";
  out += "  flows: " + std::to_string(e.flows) + " in " + table_file_of(config) + "\n";
  out += "  timeouts: half-open " + std::to_string(t.half_open_s) + " s, established " +
         std::to_string(t.established_s) + " s, closing " + std::to_string(t.closing_s) + " s, udp " +
         std::to_string(t.udp_s) + " s\n";
  out += "  tunnel source: " + source(e.tunnel_source_ipv4) + " (IPv4), " + source(e.tunnel_source_ipv6) + " (IPv6)\n";
  out += "  hairpin: " + e.hairpin_ipv4.str() + ", " + e.hairpin_ipv6.str() + "\n";
  for (const PortConfig& p : config.ports)
    out += "port " + p.name + ": " + to_string(p.engine) + " " + p.device +
           (p.engine == Engine::xdp ? std::string(", ") + to_string(p.mode) : ", VLAN " + numbers(p.vlan)) +
           ", addresses " + joined(p.addresses, [](const Prefix& a) { return a.str(); }) +
           (p.announce_vips ? ", announces VIPs" : "") + ", MTU " + mtu_of(p) + "\n";
  for (const ServiceConfig& s : config.services) describe_service(out, s);
  size_t backends = 0;
  for (const ServiceConfig& s : config.services) backends += s.pools[0].size() + s.pools[1].size();
  out += "in all: ports " + std::to_string(config.ports.size()) + ", services " +
         std::to_string(config.services.size()) + ", backends " + std::to_string(backends) + "\n";
  return out;
}

std::vector<std::string> reload_obstacles(const Config& now, const Config& next) {
  std::vector<std::string> out;
  compare_settings(out, now, next);
  std::map<std::string, const ServiceConfig*> running;
  for (const ServiceConfig& s : now.services) running.emplace(s.name, &s);
  for (const ServiceConfig& s : next.services)
    if (const auto it = running.find(s.name); it != running.end()) compare_service(out, *it->second, s);
  return out;
}

}  // namespace teal::model
