// SPDX-License-Identifier: Apache-2.0
// The keys of services[].preview, affinity and health.
#include "config_release.h"

#include <algorithm>

#include "yaml_reader.h"

namespace teal::model {

namespace {

using Node = YAML::Node;
constexpr uint64_t day_s = 86400;
constexpr size_t most_clients = 4096;

void read_clients(Reader& r, const Node& node, PreviewConfig& p) {
  r.bounded_list(node, 0, most_clients, "prefixes, as in [192.0.2.0/24, 198.51.100.7]", [&](const Node& n) {
    Prefix& client = p.clients.emplace_back();
    r.prefix(n, client, 0, 128);
    client = client.network();
  });
}

constexpr Field<PreviewConfig> preview_fields[] = {
    {"vip", {}, [](Reader& r, const Node& n, PreviewConfig& p) { r.address(n, p.vip, 0); }},
    {"port", {}, [](Reader& r, const Node& n, PreviewConfig& p) { r.number(n, p.port, 1, 65535); }},
    {"clients", {}, read_clients},
};

// The words of `affinity.by`.
enum class AffinityBy : uint8_t { none, client };
const char* to_string(AffinityBy v) {
  return v == AffinityBy::none ? "none" : "client";
}

void read_by(Reader& r, const Node& n, AffinityConfig& a) {
  AffinityBy by = AffinityBy::none;
  r.choice(n, by, {AffinityBy::client, AffinityBy::none});
  a.by_client = by == AffinityBy::client;
}

constexpr Field<AffinityConfig> affinity_prefix_fields[] = {
    {"ipv4", {}, [](Reader& r, const Node& n, AffinityConfig& a) { r.number(n, a.prefix4, 8, 32); }},
    {"ipv6", {}, [](Reader& r, const Node& n, AffinityConfig& a) { r.number(n, a.prefix6, 16, 128); }},
};

// One number is for the family of the VIP, which may be still to come: check_release holds it against that.
void read_affinity_prefix(Reader& r, const Node& n, AffinityConfig& a) {
  if (n.IsMap()) return r.object<AffinityConfig>(n, affinity_prefix_fields, a);
  if (!n.IsScalar()) return r.fail(n, "a prefix length, or a map with the keys ipv4, ipv6");
  uint8_t length = 0;
  r.number(n, length, 8, 128);
  if (length == 0) return;
  a.prefix4 = std::min<uint8_t>(length, 32);
  a.prefix6 = std::max<uint8_t>(length, 16);
}

constexpr Field<AffinityConfig> affinity_fields[] = {
    {"by", "client or none", read_by},
    {"timeout", {}, [](Reader& r, const Node& n, AffinityConfig& a) { r.duration_s(n, a.timeout_s, 1, day_s); }},
    {"prefix", {}, read_affinity_prefix},
};

void read_health_path(Reader& r, const Node& n, HealthConfig& h) {
  if (!n.IsScalar() || !n.Scalar().starts_with('/') || n.Scalar().find(' ') != std::string::npos)
    return r.fail(n, "a URL's path, as in /healthz, without blanks");
  r.text(n, h.path, longest_text);
}

void read_host(Reader& r, const Node& n, HealthConfig& h) {
  if (n.IsScalar() && n.Scalar().find_first_of(" /") != std::string::npos)
    return r.fail(n, "a host's name, as in shop.example.com, without blanks and slashes");
  r.text(n, h.host, 253);
}

void read_status(Reader& r, const Node& node, HealthConfig& h) {
  std::vector<uint16_t> expected;
  const auto one = [&](const Node& n) { r.number(n, expected.emplace_back(), 100, 599); };
  if (node.IsScalar()) {
    one(node);
  } else {
    r.bounded_list(node, 1, 64, "HTTP statuses, each from 100 to 599", one);
  }
  if (!expected.empty()) h.expect_status = expected;
}

constexpr Field<HealthConfig> health_fields[] = {
    {"check", "tcp, http, https or none",
     [](Reader& r, const Node& n, HealthConfig& h) {
       r.choice(n, h.check, {CheckKind::tcp, CheckKind::http, CheckKind::https, CheckKind::none});
     }},
    {"port", {}, [](Reader& r, const Node& n, HealthConfig& h) { r.number(n, h.port, 1, 65535); }},
    {"path", {}, read_health_path},
    {"host", {}, read_host},
    {"expect_status", {}, read_status},
    {"verify_certificate", {}, [](Reader& r, const Node& n, HealthConfig& h) { r.boolean(n, h.verify_certificate); }},
    {"interval",
     {},
     [](Reader& r, const Node& n, HealthConfig& h) { r.duration_ms(n, h.interval_ms, 100, 3'600'000); }},
    {"timeout", {}, [](Reader& r, const Node& n, HealthConfig& h) { r.duration_ms(n, h.timeout_ms, 10, 3'600'000); }},
    {"rise", {}, [](Reader& r, const Node& n, HealthConfig& h) { r.number(n, h.rise, 1, 100); }},
    {"fall", {}, [](Reader& r, const Node& n, HealthConfig& h) { r.number(n, h.fall, 1, 100); }},
    {"on_down", {}, [](Reader& r, const Node& n, HealthConfig& h) { read_flows_action(r, n, h.on_down); }},
    {"panic_percent", {}, [](Reader& r, const Node& n, HealthConfig& h) { r.number(n, h.panic_percent, 0, 100); }},
};

}  // namespace

void read_flows_action(Reader& r, const Node& n, FlowsAction& out) {
  r.choice(n, out, {FlowsAction::keep, FlowsAction::reset});
}

void read_preview(Reader& reader, const Node& node, PreviewConfig& out) {
  reader.object<PreviewConfig>(node, preview_fields, out);
}

void read_affinity(Reader& reader, const Node& node, AffinityConfig& out) {
  reader.object<AffinityConfig>(node, affinity_fields, out);
}

void read_health(Reader& reader, const Node& node, HealthConfig& out) {
  constexpr uint32_t not_given = 0;  // never read from a file
  out.timeout_ms = not_given;
  reader.object<HealthConfig>(node, health_fields, out);
  if (out.timeout_ms == not_given) out.timeout_ms = std::min(HealthConfig{}.timeout_ms, out.interval_ms);
}

void append_release_keys(std::vector<std::string>& out, const std::string& prefix) {
  append_rollout_keys(out, prefix + "rollout.");
  append_keys<PreviewConfig>(out, prefix + "preview.", preview_fields);
  append_keys<AffinityConfig>(out, prefix + "affinity.", affinity_fields);
  append_keys<AffinityConfig>(out, prefix + "affinity.prefix.", affinity_prefix_fields);
  append_keys<HealthConfig>(out, prefix + "health.", health_fields);
}

}  // namespace teal::model
