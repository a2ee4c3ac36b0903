// SPDX-License-Identifier: Apache-2.0
// Checks over services: names, clashes of VIPs, groups, and the backends of each.
#include <map>
#include <tuple>

#include "config_report.h"
#include "model/preview.h"

namespace teal::model {

namespace {

constexpr size_t most_services = 4095;  // 12 bits in a flow entry's key; 0 is none
constexpr size_t most_backends = 60000;

std::string endpoint_of(const ServiceConfig& s) {
  return std::string(to_string(s.protocol)) + " " + Endpoint{s.vip, s.port}.str();
}

// What a backend's own address and port must be for its service to forward to it.
void check_backend(const ServiceConfig& s, const BackendConfig& b, const std::string& path, ConfigReport& report) {
  const bool same_family = b.endpoint.address.family == s.vip.family;
  if (s.vip && !same_family && s.forward != Forward::ipip)
    report.add_at(path, "found " + b.endpoint.address.str() + " behind the VIP " + s.vip.str() +
                            ", expected an address of the same family (only forward: ipip carries one in the other)");
  if (s.preview.vip && b.endpoint.address == s.preview.vip)
    report.add_at(path,
                  "found the service's own preview VIP " + s.preview.vip.str() + ", expected another host's address");
  if (b.endpoint.address == s.vip)
    report.add_at(path, "found the service's own VIP " + s.vip.str() + ", expected another host's address");
  if (s.port && b.endpoint.port != s.port && s.forward != Forward::nat)
    report.add_at(path, "found port " + std::to_string(b.endpoint.port) + ", expected the service's own, " +
                            std::to_string(s.port) + " (forward: " + to_string(s.forward) +
                            " leaves the destination port as it is)");
}

void check_pools(const ServiceConfig& s, const std::string& service_path, ConfigReport& report) {
  std::map<Endpoint, std::string> endpoints;  // to the path of who has it
  std::map<std::string, std::string> names;
  for (const Pool pool : {Pool::blue, Pool::green}) {
    const auto& backends = s.pools[static_cast<int>(pool)];
    for (size_t i = 0; i < backends.size(); ++i) {
      const BackendConfig& b = backends[i];
      const std::string path = item(service_path + ".pools." + to_string(pool), i);
      if (!b.endpoint.address || report.unread(path + ".port")) continue;
      check_backend(s, b, path, report);
      if (const auto [it, fresh] = endpoints.emplace(b.endpoint, path); !fresh) {
        const std::string text = b.endpoint.port ? b.endpoint.str() : b.endpoint.address.str();
        report.add_at(path, "found " + text + " a second time, first as " + it->second +
                                ", expected each backend once, in one of the pools");
        continue;  // two names made of the same endpoint are no second mistake
      }
      if (const auto [it, fresh] = names.emplace(b.name, path); !fresh)
        report.add_at(path + ".name", "backend name " + quoted(b.name) + " is taken by " + it->second +
                                          ", expected another in the same service");
    }
  }
}

class Services {
 public:
  Services(const std::vector<ServiceConfig>& services, ConfigReport& report) : all_(services), report_(report) {}

  void check() {
    size_t backends = 0, previews = 0;
    for (size_t i = 0; i < all_.size(); ++i) {
      const ServiceConfig& s = all_[i];
      const std::string path = item("services", i);
      backends += s.pools[0].size() + s.pools[1].size();
      unique_name(i, path);
      unique_vip(i, path);
      same_start(i, path);
      if (s.mss_clamp != 0 && s.protocol == Protocol::udp)
        report_.add_at(path + ".mss_clamp",
                       "found " + std::to_string(s.mss_clamp) + ", expected none: a udp service has no MSS option");
      check_pools(s, path, report_);
      check_release(s, path, report_);
      if (preview_endpoint(s)) {
        ++previews;
        backends += s.pools[0].size() + s.pools[1].size();
      }
    }
    // After all VIPs are known: of two that clash, the preview is told.
    for (size_t i = 0; i < all_.size(); ++i) unique_preview(i, item("services", i));
    if (previews != 0 && all_.size() + previews > most_services)
      report_.add_at("services", "found " + std::to_string(all_.size() + previews) + " services, " +
                                     std::to_string(previews) + " of them previews, expected at most " +
                                     std::to_string(most_services));
    else if (all_.size() > most_services)
      report_.add_at("services", "found " + std::to_string(all_.size()) + " services, expected at most " +
                                     std::to_string(most_services));
    if (backends > most_backends)
      report_.add_at("services", "found " + std::to_string(backends) + " backends in all, expected at most " +
                                     std::to_string(most_backends));
  }

 private:
  [[nodiscard]] std::string named(size_t index) const {
    const Place place = report_.place(item("services", index));
    return "service " + quoted(all_[index].name) + " in line " + std::to_string(place.line);
  }

  void unique_name(size_t i, const std::string& path) {
    const auto [it, fresh] = names_.emplace(all_[i].name, i);
    if (!fresh && !all_[i].name.empty())
      report_.add_at(path + ".name", "service name " + quoted(all_[i].name) + " is taken by the " + named(it->second) +
                                         ", expected another");
  }

  void unique_vip(size_t i, const std::string& path) {
    const ServiceConfig& s = all_[i];
    if (!s.vip || s.port == 0 || report_.unread(path + ".protocol")) return;
    const auto [it, fresh] = vips_.emplace(std::tuple(s.vip, s.port, s.protocol), i);
    if (!fresh)
      report_.add_at(path + ".vip", "service " + quoted(s.name) + " has " + endpoint_of(s) + ", and so has " +
                                        named(it->second) + ", expected another VIP, port or protocol");
  }

  void unique_preview(size_t i, const std::string& path) {
    const ServiceConfig& s = all_[i];
    const auto endpoint = preview_endpoint(s);
    if (!endpoint || !endpoint->address || endpoint->port == 0 || report_.unread_in(path + ".preview") ||
        report_.unread(path + ".protocol"))
      return;
    const auto [it, fresh] = vips_.emplace(std::tuple(endpoint->address, endpoint->port, s.protocol), i);
    if (!fresh)
      report_.add_at(path + ".preview", "service " + quoted(s.name) + " is previewed on " + to_string(s.protocol) +
                                            " " + endpoint->str() + ", which the " + named(it->second) +
                                            " has, expected another VIP or port");
  }

  void same_start(size_t i, const std::string& path) {
    const ServiceConfig& s = all_[i];
    if (s.group.empty() || report_.unread(path + ".active") || report_.unread(path + ".group")) return;
    const auto [it, fresh] = groups_.emplace(s.group, i);
    const ServiceConfig& first = all_[it->second];
    if (!fresh && first.active != s.active)
      report_.add_at(path + ".active", "group " + quoted(s.group) + " starts on " + to_string(s.active) +
                                           " here and on " + to_string(first.active) + " in " + named(it->second) +
                                           ", expected the same in all of a group");
  }

  const std::vector<ServiceConfig>& all_;
  ConfigReport& report_;
  std::map<std::string, size_t> names_, groups_;
  std::map<std::tuple<Address, uint16_t, Protocol>, size_t> vips_;
};

}  // namespace

void check_services(const Config& config, ConfigReport& report) {
  Services(config.services, report).check();
}

}  // namespace teal::model
