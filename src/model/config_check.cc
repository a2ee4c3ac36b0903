// SPDX-License-Identifier: Apache-2.0
// Checks over a whole configuration: engine and ports. Services: config_services.cc.
#include <map>
#include <set>

#include "config_report.h"

namespace teal::model {

namespace {

constexpr size_t most_ports = 32;

void check_engine(const EngineConfig& engine, ConfigReport& report) {
  if (engine.cpus.empty()) return;
  if (engine.cpus.size() != engine.workers && !report.unread("engine.workers"))
    report.add_at("engine.cpus", "found a list of " + std::to_string(engine.cpus.size()) +
                                     ", expected one CPU for each of the " + std::to_string(engine.workers) +
                                     " workers (engine.workers)");
  std::set<unsigned> taken;
  for (size_t i = 0; i < engine.cpus.size(); ++i) {
    const std::string path = item("engine.cpus", i);
    if (!report.unread(path) && !taken.insert(engine.cpus[i]).second)
      report.add_at(path, "CPU " + std::to_string(engine.cpus[i]) +
                              " stands in the list twice, expected another CPU for each worker");
  }
}

// As the kernel takes them (dev_valid_name), less ',', which only a DPDK vdev has.
bool interface_name(const std::string& text) {
  return text.size() <= 15 && text != "." && text != ".." && text.find_first_of("/:, \t") == std::string::npos;
}

void check_engine_of_port(const PortConfig& port, const std::string& path, ConfigReport& report) {
  if (report.unread(path + ".engine")) return;
  if (port.engine == Engine::dpdk) {
    if (report.given(path + ".mode"))
      report.add_at(path + ".mode",
                    "found on a dpdk port, expected on xdp ports only: it says where a driver runs XDP");
    return;
  }
  if (!port.device.empty() && !interface_name(port.device))
    report.add_at(path + ".device", "found " + quoted(port.device) +
                                        ", expected the name of a kernel interface, 1 to 15 characters: the device of "
                                        "an xdp port stays with the kernel");
  if (report.given(path + ".vlan"))
    report.add_at(path + ".vlan",
                  "found on an xdp port, expected none: an xdp port's VLANs are the kernel's: make a VLAN device, teal "
                  "follows it");
}

void check_ports(const std::vector<PortConfig>& ports, ConfigReport& report) {
  if (ports.size() > most_ports)
    report.add_at("ports",
                  "found " + std::to_string(ports.size()) + " ports, expected at most " + std::to_string(most_ports));
  std::map<std::string, size_t> names, devices;
  for (size_t i = 0; i < ports.size(); ++i) {
    const std::string path = item("ports", i);
    const auto line_of = [&](size_t other) { return std::to_string(report.place(item("ports", other)).line); };
    if (const auto [it, fresh] = names.emplace(ports[i].name, i); !fresh && !ports[i].name.empty())
      report.add_at(path + ".name", "port name " + quoted(ports[i].name) + " is taken by the port in line " +
                                        line_of(it->second) + ", expected another");
    if (const auto [it, fresh] = devices.emplace(ports[i].device, i); !fresh && !ports[i].device.empty())
      report.add_at(path + ".device", "device " + quoted(ports[i].device) + " is taken by port " +
                                          quoted(ports[it->second].name) + " in line " + line_of(it->second) +
                                          ", expected another");
    check_engine_of_port(ports[i], path, report);
  }
  // The tap of a dpdk port and the interface of an xdp port live in one namespace.
  for (size_t i = 0; i < ports.size(); ++i) {
    if (ports[i].engine != Engine::xdp) continue;
    const auto tap = names.find(ports[i].device);
    if (tap != names.end() && ports[tap->second].engine == Engine::dpdk)
      report.add_at(item("ports", i) + ".device", "device " + quoted(ports[i].device) +
                                                      " is the tap of the dpdk port " + "in line " +
                                                      std::to_string(report.place(item("ports", tap->second)).line) +
                                                      ", expected an interface that teal does not make itself");
  }
}

}  // namespace

std::string_view unfit(const Address& address) {
  const auto& b = address.bytes;
  if (address.family == 4) {
    if (b[0] == 0) return "unspecified";
    if (b[0] == 127) return "a loopback address";
    if (b[0] >= 224 && b[0] < 240) return "a multicast address";
    if (b[0] >= 240) return "reserved or broadcast";
    return {};
  }
  static const Prefix mapped{*Address::parse("::ffff:0.0.0.0"), 96};
  static const Address unspecified = *Address::parse("::"), loopback = *Address::parse("::1");
  if (address == unspecified) return "unspecified";
  if (address == loopback) return "a loopback address";
  if (b[0] == 0xff) return "a multicast address";
  if (mapped.contains(address)) return "an IPv4 address in IPv6 form";
  return {};
}

void check_config(const Config& config, ConfigReport& report) {
  check_engine(config.engine, report);
  // A missing `ports`, or one that is no list, is the reader's to report.
  if (config.ports.empty() && report.given("ports") && !report.unread("ports"))
    report.add_at("ports", "found no port, expected at least one");
  check_ports(config.ports, report);
  if (config.has_xdp_ports() && report.given("engine.table_file"))
    report.add_at("engine.table_file", "found " + quoted(config.engine.table_file) +
                                           ", expected none: with xdp ports the flow table is pinned in " +
                                           "engine.bpf_pins, " + config.engine.bpf_pins);
  check_services(config, report);
}

}  // namespace teal::model
