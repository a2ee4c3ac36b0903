// SPDX-License-Identifier: Apache-2.0
// The keys of a service that speak of releases: rollout, preview, affinity, health.
#pragma once

#include <yaml-cpp/yaml.h>

#include <string>
#include <vector>

#include "config_report.h"

namespace teal::model {

class Reader;

inline constexpr size_t longest_text = 4095;

// keep or reset: what becomes of flows.
void read_flows_action(Reader& reader, const YAML::Node& node, FlowsAction& out);
void read_rollout(Reader& reader, const YAML::Node& node, RolloutConfig& out);
void read_preview(Reader& reader, const YAML::Node& node, PreviewConfig& out);
void read_affinity(Reader& reader, const YAML::Node& node, AffinityConfig& out);
void read_health(Reader& reader, const YAML::Node& node, HealthConfig& out);
void append_rollout_keys(std::vector<std::string>& out, const std::string& prefix);
void append_release_keys(std::vector<std::string>& out, const std::string& prefix);

// Services of one group share a split, and so a rollout: where it stands in one of them only, the others get it; where
// it stands in several, it must be the same. (config_release_check.cc)
void share_rollouts(Config& config, ConfigReport& report);

// What describe() says of them, indented lines; empty where all are at their defaults. (config_release_describe.cc)
std::string describe_release(const ServiceConfig& service);

}  // namespace teal::model
