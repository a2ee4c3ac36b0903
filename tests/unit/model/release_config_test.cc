// SPDX-License-Identifier: Apache-2.0
// rollout, preview, affinity and health of a service as they are read; what is wrong with them: bad_configs.txt.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "model/config_file.h"
#include "model/quantity.h"

namespace {

using namespace teal::model;

Config good(const std::string& text) {
  const ConfigResult result = parse_config(text, "f");
  for (const ConfigError& e : result.errors) ADD_FAILURE() << e.str();
  return result.config;
}

const std::string head = R"(
ports: [{name: p, device: d}]
services:
  - name: web
    vip: 192.0.2.10
    port: 80
    pools: {blue: [10.0.0.1], green: [10.0.0.2]}
)";

ServiceConfig web(const std::string& rest) {
  const Config c = good(head + rest);
  return c.services.empty() ? ServiceConfig{} : c.services[0];
}

TEST(ReleaseConfig, LeftOutItIsAtItsDefaults) {
  const ServiceConfig s = web("");
  EXPECT_EQ(s.rollout, RolloutConfig{});
  EXPECT_EQ(s.preview, PreviewConfig{});
  EXPECT_EQ(s.affinity, AffinityConfig{});
  EXPECT_EQ(s.health, HealthConfig{});
  EXPECT_EQ(web("    rollout: {}").rollout, RolloutConfig{});
}

TEST(ReleaseConfig, EveryKeyOfARollout) {
  const RolloutConfig c = web(R"(
    rollout:
      steps: [1%, 0.25, 1/2, 100%]
      hold: 5s
      bake: 2m
      drain_deadline: 1h
      at_deadline: reset
      rollback_flows: reset
      rules: [target.reset_ratio < 2 %, green.handshake_p99 < 2 x blue]
      min_sample: 7
      confidence: 0.99
      prometheus:
        - {name: a, url: "http://h:9090", query: "up > 0", below: -1.5e3}
        - {name: b, url: "https://h", query: down, above: 2}
      prometheus_interval: 3s
      hooks:
        - {at: pre_start, name: migrate, run: [/bin/x, -v, "a b", ""], timeout: 10m}
        - {at: pre_step, post: "http://h/x"}
        - {at: post_step, run: [/bin/x]}
        - {at: pre_promote, run: [/bin/x]}
        - {at: post_promote, run: [/bin/x]}
        - {at: on_rollback, run: [/bin/x]}
        - {at: on_done, run: [/bin/x]}
)")
                              .rollout;
  EXPECT_EQ(c.steps, (std::vector<uint32_t>{655, 16384, 32768, 65536}));
  EXPECT_EQ(c.hold_s, 5u);
  EXPECT_EQ(c.bake_s, 120u);
  EXPECT_EQ(c.drain_deadline_s, 3600u);
  EXPECT_EQ(c.at_deadline, FlowsAction::reset);
  EXPECT_EQ(c.rollback_flows, FlowsAction::reset);
  EXPECT_EQ(c.rules, (std::vector<Rule>{*parse_rule("target.reset_ratio < 2 %").rule,
                                        *parse_rule("green.handshake_p99 < 2 x blue").rule}));
  EXPECT_EQ(c.min_sample, 7u);
  EXPECT_EQ(c.confidence, 0.99);
  EXPECT_EQ(c.prometheus, (std::vector<PrometheusRule>{{"a", "http://h:9090", "up > 0", true, -1500},
                                                       {"b", "https://h", "down", false, 2}}));
  EXPECT_EQ(c.prometheus_interval_s, 3u);
  ASSERT_EQ(c.hooks.size(), 7u);
  EXPECT_EQ(c.hooks[0], (Hook{HookPoint::pre_start, "migrate", {"/bin/x", "-v", "a b", ""}, "", 600}));
  EXPECT_EQ(c.hooks[1], (Hook{HookPoint::pre_step, "pre_step", {}, "http://h/x", 30}));
  for (size_t i = 0; i < c.hooks.size(); ++i) EXPECT_EQ(static_cast<size_t>(c.hooks[i].point), i);
}

TEST(ReleaseConfig, NoDeadlineOfADrain) {
  EXPECT_EQ(web("    rollout: {drain_deadline: 0, bake: 0s}").rollout.drain_deadline_s, 0u);
}

TEST(ReleaseConfig, EveryKeyOfPreviewAffinityHealth) {
  const ServiceConfig s = web(R"(
    preview: {vip: 192.0.2.11, port: 81, clients: [198.51.100.9/24, 203.0.113.7]}
    affinity: {by: client, timeout: 1h, prefix: {ipv4: 24, ipv6: 64}}
    health: {check: https, port: 8443, path: "/up?x=1", host: h.example, expect_status: [200, 204], verify_certificate: true,
             interval: 5s, timeout: 250ms, rise: 1, fall: 100, on_down: reset, panic_percent: 50}
)");
  EXPECT_EQ(s.preview, (PreviewConfig{*Address::parse("192.0.2.11"),
                                      81,
                                      {*Prefix::parse("198.51.100.0/24"), *Prefix::parse("203.0.113.7/32")}}));
  EXPECT_EQ(s.affinity, (AffinityConfig{true, 3600, 24, 64}));
  EXPECT_EQ(s.health, (HealthConfig{CheckKind::https,
                                    8443,
                                    "/up?x=1",
                                    "h.example",
                                    {200, 204},
                                    true,
                                    5000,
                                    250,
                                    1,
                                    100,
                                    FlowsAction::reset,
                                    50}));
}

TEST(ReleaseConfig, OnePrefixLengthIsForTheVipsFamily) {
  EXPECT_EQ(web("    affinity: {by: client, prefix: 24}").affinity.prefix4, 24);
  EXPECT_EQ(web("    affinity: {by: client, prefix: 8}").affinity.prefix4, 8);
  const Config c = good(R"(
ports: [{name: p, device: d}]
services: [{name: v6, vip: "2001:db8::a", port: 80, pools: {}, affinity: {by: client, prefix: 64}}]
)");
  EXPECT_EQ(c.services[0].affinity.prefix6, 64);
  EXPECT_FALSE(web("    affinity: {by: none, timeout: 5s}").affinity.by_client);
}

TEST(ReleaseConfig, ACheckEndsWithinItsInterval) {
  EXPECT_EQ(web("    health: {check: tcp, interval: 300ms}").health.timeout_ms, 300u);
  EXPECT_EQ(web("    health: {check: tcp, interval: 5s}").health.timeout_ms, 1000u);
  EXPECT_EQ(web("    health: {check: http, expect_status: 301}").health.expect_status, std::vector<uint16_t>{301});
}

TEST(ReleaseConfig, AGroupSharesItsRollout) {
  const auto group = [](const char* a, const char* b, const char* c) {
    return std::string("ports: [{name: p, device: d}]\nservices:\n") +
           "  - {name: a, vip: 192.0.2.1, port: 1, group: g, pools: {}" + a + "}\n" +
           "  - {name: b, vip: 192.0.2.1, port: 2, group: g, pools: {}" + b + "}\n" +
           "  - {name: c, vip: 192.0.2.1, port: 3, pools: {}" + c + "}\n";
  };
  const char* five = ", rollout: {hold: 5s}";
  for (const auto& text : {group(five, "", ""), group("", five, ""), group(five, five, "")}) {
    const Config c = good(text);
    EXPECT_EQ(c.services[0].rollout.hold_s, 5u) << text;
    EXPECT_EQ(c.services[1].rollout.hold_s, 5u) << text;
    EXPECT_EQ(c.services[2].rollout.hold_s, 60u) << "a group of its own\n" << text;
  }
  EXPECT_EQ(parse_config(group(five, ", rollout: {}", ""), "f").errors.size(), 1u);
  good(group(five, "", ", rollout: {hold: 7s}"));
}

TEST(ReleaseConfig, DescribeNamesWhatWasUnderstood) {
  const ConfigResult read = read_config(std::string(TEAL_SOURCE_DIR) + "/config/rollout.yaml");
  ASSERT_TRUE(read.ok());
  const std::string text = describe(read.config);
  for (const char* part :
       {"state in /var/lib/teal",
        "rollout: steps 1%, 10%, 50%, 100%, hold 1m, bake 10m, drain for 30m, then keep; rollback: keep flows; judged "
        "from 50 flows with confidence 0.999",
        "rule target.syn_retransmit_ratio < 10 %", "prometheus errors: sum(rate(",
        " below 0.5, http://127.0.0.1:9090 every 10s",
        "hook pre_start migrate: \"/usr/local/bin/migrate\" \"--online\", at most 10m",
        "hook on_rollback on_rollback: POST https://hooks.example.com/teal, at most 30s", "preview: tcp 192.0.2.11:443",
        "preview for: 198.51.100.0/24", "affinity: client /24 for 30m",
        "health: https GET /healthz of shop.example.com expects 200, 204, certificate verified, every 1s, at most "
        "500ms, rise 2, fall 3; flows of a backend that is down: keep; panic below 50 %",
        "health: tcp, every 1s, at most 1s"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\nin\n" << text;
  const std::string plain = describe(good(head));
  for (const char* part : {"rollout", "preview", "affinity", "health"})
    EXPECT_EQ(plain.find(part), std::string::npos) << part << "\nin\n" << plain;
}

// The defaults that docs/configuration.md gives are those of the structs. Which keys it names: config_test.cc.
TEST(ReleaseConfig, DocumentedDefaults) {
  std::ifstream in(std::string(TEAL_SOURCE_DIR) + "/docs/configuration.md");
  std::map<std::string, std::string> documented;
  for (std::string line; std::getline(in, line);) {
    const std::string start = "| `services[].";
    if (!line.starts_with(start)) continue;
    const size_t last = line.rfind('`'), before = line.rfind('`', last - 1);
    documented[line.substr(start.size(), line.find('`', start.size()) - start.size())] =
        line.substr(before + 1, last - before - 1);
  }
  const auto seconds = [](uint64_t s) { return *parse_duration_ms(std::to_string(s) + "s"); };
  const RolloutConfig r;
  EXPECT_EQ(documented["rollout.steps"], "[" + share_text(r.steps.at(0)) + "]");
  EXPECT_EQ(parse_duration_ms(documented["rollout.hold"]), seconds(r.hold_s));
  EXPECT_EQ(parse_duration_ms(documented["rollout.bake"]), seconds(r.bake_s));
  EXPECT_EQ(parse_duration_ms(documented["rollout.drain_deadline"]), seconds(r.drain_deadline_s));
  EXPECT_EQ(documented["rollout.at_deadline"], to_string(r.at_deadline));
  EXPECT_EQ(documented["rollout.rollback_flows"], to_string(r.rollback_flows));
  EXPECT_EQ(documented["rollout.min_sample"], std::to_string(r.min_sample));
  EXPECT_EQ(std::stod(documented["rollout.confidence"]), r.confidence);
  EXPECT_EQ(parse_duration_ms(documented["rollout.prometheus_interval"]), seconds(r.prometheus_interval_s));
  EXPECT_EQ(parse_duration_ms(documented["rollout.hooks[].timeout"]), seconds(Hook{}.timeout_s));
  const AffinityConfig a;
  EXPECT_EQ(parse_duration_ms(documented["affinity.timeout"]), seconds(a.timeout_s));
  EXPECT_EQ(documented["affinity.prefix.ipv4"], std::to_string(a.prefix4));
  EXPECT_EQ(documented["affinity.prefix.ipv6"], std::to_string(a.prefix6));
  const HealthConfig h;
  EXPECT_EQ(documented["health.path"], h.path);
  EXPECT_EQ(documented["health.expect_status"], std::to_string(h.expect_status.at(0)));
  EXPECT_EQ(documented["health.verify_certificate"], h.verify_certificate ? "true" : "false");
  EXPECT_EQ(parse_duration_ms(documented["health.interval"]), h.interval_ms);
  EXPECT_EQ(parse_duration_ms(documented["health.timeout"]), h.timeout_ms);
  EXPECT_EQ(documented["health.rise"], std::to_string(h.rise));
  EXPECT_EQ(documented["health.fall"], std::to_string(h.fall));
  EXPECT_EQ(documented["health.on_down"], to_string(h.on_down));
  EXPECT_EQ(documented["health.panic_percent"], std::to_string(h.panic_percent));
}

}  // namespace
