// SPDX-License-Identifier: Apache-2.0
// Checks over what a service says of releases, and the agreement of a group on its rollout.
#include <algorithm>
#include <map>
#include <set>

#include "config_release.h"
#include "model/preview.h"

namespace teal::model {

namespace {

// One of two keys must stand in the map at `path`, and not both.
void one_of(const std::string& path, const std::string& a, const std::string& b, ConfigReport& report) {
  const bool has_a = report.given(path + "." + a), has_b = report.given(path + "." + b);
  if (has_a != has_b) return;
  report.add_at(has_a ? path + "." + b : path,
                (has_a ? "found beside " + quoted(a) : "found neither " + quoted(a) + " nor " + quoted(b)) +
                    ", expected one of the two");
}

void check_rollout(const RolloutConfig& c, const std::string& path, ConfigReport& report) {
  std::map<std::string, size_t> names;
  for (size_t i = 0; i < c.prometheus.size(); ++i) {
    const std::string at = item(path + ".prometheus", i);
    if (report.unread(at)) continue;
    one_of(at, "below", "above", report);
    if (const auto [it, fresh] = names.emplace(c.prometheus[i].name, i); !fresh && !c.prometheus[i].name.empty())
      report.add_at(at + ".name", "query name " + quoted(c.prometheus[i].name) + " is taken by " +
                                      item(path + ".prometheus", it->second) + ", expected another");
  }
  for (size_t i = 0; i < c.hooks.size(); ++i)
    if (const std::string at = item(path + ".hooks", i); !report.unread(at)) one_of(at, "run", "post", report);
}

void check_clients(const ServiceConfig& s, const std::string& path, ConfigReport& report) {
  std::set<Prefix> seen;
  for (size_t i = 0; i < s.preview.clients.size(); ++i) {
    const Prefix& client = s.preview.clients[i];
    const std::string at = item(path, i);
    if (report.unread(at)) continue;
    if (s.vip && client.address.family != s.vip.family)
      report.add_at(at, "found " + client.str() + " for the VIP " + s.vip.str() + ", expected clients of its family");
    if (!seen.insert(client).second) report.add_at(at, "found " + client.str() + " a second time, expected it once");
  }
}

void check_preview(const ServiceConfig& s, const std::string& path, ConfigReport& report) {
  const PreviewConfig& p = s.preview;
  if (report.given(path) && !report.unread_in(path) && !preview_endpoint(s) && !report.given(path + ".clients"))
    report.add_at(path, "found nothing in it, expected vip, port or clients");
  if (p.vip && s.vip && p.vip.family != s.vip.family)
    report.add_at(path + ".vip", "found " + p.vip.str() + " beside the VIP " + s.vip.str() +
                                     ", expected an address of the same family");
  check_clients(s, path + ".clients", report);
  if (!preview_endpoint(s)) return;
  constexpr size_t longest = 63 - preview_suffix.size();  // TEAL_NAME - 1, less what is appended
  const auto fits = [&](const char* what, const std::string& name) {
    if (name.size() > longest)
      report.add_at(path, std::string("found with a ") + what + " of " + std::to_string(name.size()) +
                              " characters, expected at most " + std::to_string(longest) + ": the preview is called " +
                              quoted(preview_name("NAME")));
  };
  fits("service name", s.name);
  if (s.group != s.name) fits("group name", s.group);
}

void check_affinity(const ServiceConfig& s, const std::string& path, ConfigReport& report) {
  const std::string prefix = path + ".prefix";
  if (!report.given(prefix) || report.unread_in(prefix) || report.given(prefix + ".ipv4") ||
      report.given(prefix + ".ipv6"))
    return;
  const AffinityConfig& a = s.affinity;
  if (s.vip.family == 4 && a.prefix6 > 32)
    report.add_at(prefix, "found " + std::to_string(a.prefix6) + ", expected 8 to 32, as the VIP is an IPv4 address");
  if (s.vip.family == 6 && a.prefix4 < 16)
    report.add_at(prefix, "found " + std::to_string(a.prefix4) + ", expected 16 to 128, as the VIP is an IPv6 address");
}

void check_health(const HealthConfig& h, const std::string& path, ConfigReport& report) {
  if (!report.given(path) || report.unread(path) || report.unread(path + ".check")) return;
  const auto only_for = [&](const char* key, bool allowed, const char* kinds) {
    if (!allowed && report.given(path + "." + key))
      report.add_at(path + "." + key,
                    std::string("found with check: ") + to_string(h.check) + ", expected with " + kinds + " only");
  };
  const bool http = h.check == CheckKind::http || h.check == CheckKind::https;
  for (const char* key : {"path", "host", "expect_status"}) only_for(key, http, "http and https");
  only_for("verify_certificate", h.check == CheckKind::https, "https");
  if (h.timeout_ms > h.interval_ms && !report.unread(path + ".timeout") && !report.unread(path + ".interval"))
    report.add_at(path + ".timeout", "found " + std::to_string(h.timeout_ms) + " ms, expected at most the interval, " +
                                         std::to_string(h.interval_ms) + " ms");
}

}  // namespace

void check_release(const ServiceConfig& service, const std::string& path, ConfigReport& report) {
  // A rollout that was taken over from another service of the group is told of there.
  if (report.given(path + ".rollout")) check_rollout(service.rollout, path + ".rollout", report);
  check_preview(service, path + ".preview", report);
  check_affinity(service, path + ".affinity", report);
  check_health(service.health, path + ".health", report);
}

void share_rollouts(Config& config, ConfigReport& report) {
  std::map<std::string, size_t> first;  // of each group that has a rollout
  for (size_t i = 0; i < config.services.size(); ++i) {
    const ServiceConfig& s = config.services[i];
    const std::string path = item("services", i) + ".rollout";
    if (!report.given(path)) continue;
    const auto [it, fresh] = first.emplace(s.group, i);
    const std::string firsts = item("services", it->second);
    if (fresh || report.unread_in(path) || report.unread_in(firsts + ".rollout")) continue;
    const ServiceConfig& one = config.services[it->second];
    if (!(one.rollout == s.rollout))
      report.add_at(path, "found another one than in service " + quoted(one.name) + " in line " +
                              std::to_string(report.place(firsts).line) + ", expected the same in all of the group " +
                              quoted(s.group) + ", or in one of them only");
  }
  for (ServiceConfig& s : config.services)
    if (const auto it = first.find(s.group); it != first.end()) s.rollout = config.services[it->second].rollout;
}

}  // namespace teal::model
