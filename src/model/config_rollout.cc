// SPDX-License-Identifier: Apache-2.0
// The keys of services[].rollout.
#include <limits>

#include "config_release.h"
#include "model/quantity.h"
#include "teal/split.h"
#include "yaml_reader.h"

namespace teal::model {

namespace {

using Node = YAML::Node;
constexpr size_t longest_name = 63;
constexpr uint64_t hour_s = 3600, week_s = 7 * 24 * hour_s;
constexpr size_t most_steps = 100, most_rules = 32, most_queries = 32, most_hooks = 64, most_arguments = 64;

void read_steps(Reader& r, const Node& node, RolloutConfig& c) {
  std::vector<uint32_t> steps;
  bool good = true;
  r.bounded_list(node, 1, most_steps, "shares, as in [1%, 10%, 50%, 100%]", [&](const Node& n) {
    const auto share = n.IsScalar() ? parse_share(n.Scalar()) : std::nullopt;
    good &= share.has_value();
    if (!share) return r.fail(n, "a share from 0.0008% to 100%, as in 12.5%, 0.125 or 1/8");
    if (good && !steps.empty() && *share <= steps.back())
      r.refuse("found " + quoted(n.Scalar()) + " after " + share_text(steps.back()) +
               ", expected more than the step before");
    steps.push_back(*share);
  });
  if (!good || steps.empty()) return;
  if (steps.back() != TEAL_SPLIT_ALL)
    return r.refuse("found " + share_text(steps.back()) + " as the last step, expected 100%");
  c.steps = steps;
}

void read_rules(Reader& r, const Node& node, RolloutConfig& c) {
  r.bounded_list(node, 0, most_rules, "rules, as in target.reset_ratio < 5 %", [&](const Node& n) {
    if (!n.IsScalar()) return r.fail(n, "a rule, as in target.reset_ratio < 5 %");
    const RuleResult result = parse_rule(n.Scalar());
    if (!result.rule) return r.refuse(result.error);
    c.rules.push_back(*result.rule);
  });
}

constexpr double most_real = std::numeric_limits<double>::max();

template <bool below>
void read_threshold(Reader& r, const Node& n, PrometheusRule& p) {
  p.below = below;
  r.real(n, p.threshold, -most_real, most_real, "a number");
}

constexpr Field<PrometheusRule> prometheus_fields[] = {
    {"name", "a name", [](Reader& r, const Node& n, PrometheusRule& p) { r.name(n, p.name, longest_name); }},
    {"url", "a URL of the Prometheus server", [](Reader& r, const Node& n, PrometheusRule& p) { r.url(n, p.url); }},
    {"query", "a PromQL query", [](Reader& r, const Node& n, PrometheusRule& p) { r.text(n, p.query, longest_text); }},
    {"below", {}, read_threshold<true>},
    {"above", {}, read_threshold<false>},
};

void read_prometheus(Reader& r, const Node& node, RolloutConfig& c) {
  r.bounded_list(node, 0, most_queries, "queries",
                 [&](const Node& n) { r.object<PrometheusRule>(n, prometheus_fields, c.prometheus.emplace_back()); });
}

void read_command(Reader& r, const Node& node, Hook& h) {
  r.bounded_list(node, 1, most_arguments, "texts, an executable's absolute path and its arguments", [&](const Node& n) {
    std::string& word = h.command.emplace_back();
    if (h.command.size() == 1)
      r.file(n, word, longest_text);
    else if (!n.IsScalar() || !n.Scalar().empty())  // an empty argument is one
      r.text(n, word, longest_text);
  });
}

constexpr Field<Hook> hook_fields[] = {
    {"at", "pre_start, pre_step, post_step, pre_promote, post_promote, on_rollback or on_done",
     [](Reader& r, const Node& n, Hook& h) {
       r.choice(n, h.point,
                {HookPoint::pre_start, HookPoint::pre_step, HookPoint::post_step, HookPoint::pre_promote,
                 HookPoint::post_promote, HookPoint::on_rollback, HookPoint::on_done});
     }},
    {"name", {}, [](Reader& r, const Node& n, Hook& h) { r.name(n, h.name, longest_name); }},
    {"run", {}, read_command},
    {"post", {}, [](Reader& r, const Node& n, Hook& h) { r.url(n, h.url); }},
    {"timeout", {}, [](Reader& r, const Node& n, Hook& h) { r.duration_s(n, h.timeout_s, 1, hour_s); }},
};

void read_hooks(Reader& r, const Node& node, RolloutConfig& c) {
  r.bounded_list(node, 0, most_hooks, "hooks", [&](const Node& n) {
    Hook& h = c.hooks.emplace_back();
    r.object<Hook>(n, hook_fields, h);
    if (h.name.empty()) h.name = to_string(h.point);
  });
}

constexpr Field<RolloutConfig> rollout_fields[] = {
    {"steps", {}, read_steps},
    {"hold", {}, [](Reader& r, const Node& n, RolloutConfig& c) { r.duration_s(n, c.hold_s, 1, week_s); }},
    {"bake", {}, [](Reader& r, const Node& n, RolloutConfig& c) { r.duration_s(n, c.bake_s, 0, week_s); }},
    {"drain_deadline",
     {},
     [](Reader& r, const Node& n, RolloutConfig& c) { r.duration_s(n, c.drain_deadline_s, 0, week_s); }},
    {"at_deadline", {}, [](Reader& r, const Node& n, RolloutConfig& c) { read_flows_action(r, n, c.at_deadline); }},
    {"rollback_flows",
     {},
     [](Reader& r, const Node& n, RolloutConfig& c) { read_flows_action(r, n, c.rollback_flows); }},
    {"rules", {}, read_rules},
    {"min_sample", {}, [](Reader& r, const Node& n, RolloutConfig& c) { r.number(n, c.min_sample, 1, 1'000'000); }},
    {"confidence",
     {},
     [](Reader& r, const Node& n, RolloutConfig& c) {
       r.real(n, c.confidence, 0.9, 0.999999, "a number from 0.9 to 0.999999");
     }},
    {"prometheus", {}, read_prometheus},
    {"prometheus_interval",
     {},
     [](Reader& r, const Node& n, RolloutConfig& c) { r.duration_s(n, c.prometheus_interval_s, 1, hour_s); }},
    {"hooks", {}, read_hooks},
};

}  // namespace

void read_rollout(Reader& reader, const Node& node, RolloutConfig& out) {
  reader.object<RolloutConfig>(node, rollout_fields, out);
}

void append_rollout_keys(std::vector<std::string>& out, const std::string& prefix) {
  append_keys<RolloutConfig>(out, prefix, rollout_fields);
  append_keys<PrometheusRule>(out, prefix + "prometheus[].", prometheus_fields);
  append_keys<Hook>(out, prefix + "hooks[].", hook_fields);
}

}  // namespace teal::model
