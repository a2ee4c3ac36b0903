// SPDX-License-Identifier: Apache-2.0
// Who is in which group, and what the configuration says of whom: asked all the time, changed seldom.
#include "control/balancer.h"
#include "model/preview.h"

namespace teal::control {

const Balancer::Directory& Balancer::directory() const {
  if (directory_) return *directory_;
  Directory d;
  std::unordered_map<std::string_view, const model::ServiceConfig*> by_name;
  for (const auto& s : config_.services) by_name.emplace(s.name, &s);
  for (uint16_t number : registry_.services()) {
    const auto& record = registry_.service(number);
    const std::string group = registry_.group_name(record.group);
    if (const auto found = by_name.find(record.name); found != by_name.end()) d.config[number] = found->second;
    d.members[record.group].push_back(number);
    if (d.number.emplace(group, record.group).second) d.configured.emplace(group, false);
    bool& configured = d.configured[group];
    if (configured || record.retired || model::previewed_name(group)) continue;
    configured = true;
    d.names.push_back(group);
  }
  return directory_.emplace(std::move(d));
}

const model::ServiceConfig* Balancer::config_of(uint16_t service) const {
  return directory().config[service];
}

uint16_t Balancer::group_number(const std::string& group) const {
  const auto found = directory().number.find(group);
  return found == directory().number.end() ? 0 : found->second;
}

const std::vector<uint16_t>& Balancer::group_members(uint16_t group) const {
  return directory().members[group];
}

std::vector<std::string> Balancer::group_names() {
  return directory().names;
}

std::optional<std::string> Balancer::group_of(const std::string& name) {
  std::string group = name;
  if (const uint16_t number = registry_.service_number(name); number != 0)
    group = registry_.group_name(registry_.service(number).group);
  const auto found = directory().configured.find(group);
  return found != directory().configured.end() && found->second ? std::optional(group) : std::nullopt;
}

std::optional<model::RolloutConfig> Balancer::rollout_config(const std::string& group) {
  for (uint16_t number : group_members(group_number(group)))
    if (const auto* config = config_of(number); config != nullptr && !registry_.service(number).retired)
      return config->rollout;
  return std::nullopt;
}

}  // namespace teal::control
