// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "config_release.h"
#include "model/preview.h"
#include "model/quantity.h"

namespace teal::model {

namespace {

template <class List, class Text>
std::string joined(const List& list, const char* between, Text text) {
  std::string out;
  for (const auto& element : list) out.append(out.empty() ? "" : between).append(text(element));
  return out;
}

std::string seconds(uint64_t s) {
  return duration_text(s * 1000);
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

std::string rollout_lines(const RolloutConfig& c) {
  std::string out =
      "  rollout: steps " + joined(c.steps, ", ", share_text) + ", hold " + seconds(c.hold_s) + ", bake " +
      seconds(c.bake_s) + ", drain " +
      (c.drain_deadline_s == 0 ? "without a deadline"
                               : "for " + seconds(c.drain_deadline_s) + ", then " + to_string(c.at_deadline)) +
      "; rollback: " + to_string(c.rollback_flows) + " flows; judged from " + std::to_string(c.min_sample) +
      " flows with confidence " + number(c.confidence) + "\n";
  for (const Rule& r : c.rules.empty() ? default_rules() : c.rules) out += "    rule " + r.text + "\n";
  for (const PrometheusRule& p : c.prometheus)
    out += "    prometheus " + p.name + ": " + p.query + (p.below ? " below " : " above ") + number(p.threshold) +
           ", " + p.url + " every " + seconds(c.prometheus_interval_s) + "\n";
  for (const Hook& h : c.hooks)
    out += std::string("    hook ") + to_string(h.point) + " " + h.name + ": " +
           (h.command.empty() ? "POST " + h.url
                              : joined(h.command, " ", [](const std::string& word) { return quoted(word); })) +
           ", at most " + seconds(h.timeout_s) + "\n";
  return out;
}

std::string health_line(const HealthConfig& h) {
  std::string out = std::string("  health: ") + to_string(h.check);
  if (h.port != 0) out += " port " + std::to_string(h.port);
  if (h.check != CheckKind::tcp) {
    out += " GET " + h.path + (h.host.empty() ? "" : " of " + h.host) + " expects " +
           joined(h.expect_status, ", ", [](uint16_t s) { return std::to_string(s); });
    if (h.check == CheckKind::https) out += h.verify_certificate ? ", certificate verified" : ", any certificate";
  }
  out += ", every " + duration_text(h.interval_ms) + ", at most " + duration_text(h.timeout_ms) + ", rise " +
         std::to_string(h.rise) + ", fall " + std::to_string(h.fall) +
         "; flows of a backend that is down: " + to_string(h.on_down);
  return out + (h.panic_percent == 0 ? "" : "; panic below " + std::to_string(h.panic_percent) + " %") + "\n";
}

}  // namespace

std::string describe_release(const ServiceConfig& s) {
  std::string out;
  if (!(s.rollout == RolloutConfig{})) out += rollout_lines(s.rollout);
  if (const auto endpoint = preview_endpoint(s))
    out += std::string("  preview: ") + to_string(s.protocol) + " " + endpoint->str() + "\n";
  if (!s.preview.clients.empty())
    out += "  preview for: " + joined(s.preview.clients, ", ", [](const Prefix& p) { return p.str(); }) + "\n";
  if (s.affinity.by_client)
    out += "  affinity: client /" + std::to_string(s.vip.family == 6 ? s.affinity.prefix6 : s.affinity.prefix4) +
           " for " + seconds(s.affinity.timeout_s) + "\n";
  if (s.health.check != CheckKind::none) out += health_line(s.health);
  return out;
}

}  // namespace teal::model
