// SPDX-License-Identifier: Apache-2.0
#include "model/preview.h"

#include <algorithm>

namespace teal::model {

std::optional<Endpoint> preview_endpoint(const ServiceConfig& service) {
  const PreviewConfig& p = service.preview;
  if (!p.vip && p.port == 0) return std::nullopt;
  return Endpoint{p.vip ? p.vip : service.vip, p.port != 0 ? p.port : service.port};
}

std::string preview_name(std::string_view name) {
  return std::string(name).append(preview_suffix);
}

std::optional<std::string_view> previewed_name(std::string_view name) {
  if (!name.ends_with(preview_suffix)) return std::nullopt;
  return name.substr(0, name.size() - preview_suffix.size());
}

std::vector<ServiceConfig> with_previews(const std::vector<ServiceConfig>& services) {
  std::vector<ServiceConfig> out, derived;
  for (const ServiceConfig& s : services) {
    if (previewed_name(s.name)) continue;
    out.push_back(s);
    const auto endpoint = preview_endpoint(s);
    if (!endpoint) continue;
    ServiceConfig& d = derived.emplace_back(s);
    d.name = preview_name(s.name);
    d.group = preview_name(s.group);
    d.vip = endpoint->address;
    d.port = endpoint->port;
    d.active = other(s.active);
    // A preview is not released, and a client that looks at the standby pool must not be tied to what it was before.
    d.rollout = {};
    d.preview = {};
    d.affinity = {};
    if (s.forward == Forward::nat) continue;
    for (auto& pool : d.pools)
      for (BackendConfig& b : pool) b.endpoint.port = d.port;
  }
  std::move(derived.begin(), derived.end(), std::back_inserter(out));
  return out;
}

}  // namespace teal::model
