// SPDX-License-Identifier: Apache-2.0
// What health checks say, and what becomes of it: which backends take new flows, and the flows of one that went down.
#include <spdlog/spdlog.h>

#include <vector>

#include "control/balancer.h"
#include "health/rise_fall.h"
#include "model/preview.h"

namespace teal::control {

void Balancer::set_health(const std::string& service, const std::string& backend, bool down) {
  const bool changed = down ? down_.insert({service, backend}).second : down_.erase({service, backend}) > 0;
  if (!changed) return;
  try {
    if (started_) publish();
  } catch (const std::exception& e) {
    spdlog::error("service {}: backend {}: what its health check says could not be published: {}", service, backend,
                  e.what());
  }
  if (!down) return;
  for (const std::string& name : {service, model::preview_name(service)}) {
    const uint16_t number = registry_.service_number(name);
    const uint16_t of = number == 0 ? 0 : registry_.backend_number(number, backend);
    const auto* config = of == 0 ? nullptr : config_of(number);
    if (config == nullptr || config->health.on_down != model::FlowsAction::reset) continue;
    const uint64_t marked =
        reset_flows(registry_.service(number).group, static_cast<model::Pool>(registry_.backend(of).pool), of);
    spdlog::info("service {}: backend {} is down, {} flows are being reset", name, backend, marked);
  }
}

// A preview's backends are those of its service, and are checked there.
bool Balancer::healthy(uint16_t backend) const {
  const auto& record = registry_.backend(backend);
  const std::string service = registry_.service(record.service).name;
  return !down_.contains({std::string(model::previewed_name(service).value_or(service)), record.name});
}

// Takes those that are down out of the input, pool by pool, unless so few are left that all are used.
void Balancer::leave_out_the_unhealthy(model::SnapshotInput& in) {
  spared_.clear();
  if (down_.empty()) return;
  std::map<std::pair<uint16_t, uint8_t>, std::vector<model::SnapshotBackend*>> pools;
  for (auto& b : in.backends)
    if (b.weight > 0) pools[{b.service, b.pool}].push_back(&b);
  for (auto& [key, backends] : pools) {
    std::vector<bool> flags;
    for (const auto* b : backends) flags.push_back(healthy(b->number));
    const auto* config = config_of(key.first);
    const auto use = health::pool_use(flags, config != nullptr ? config->health.panic_percent : 0);
    for (size_t i = 0; i < backends.size(); i++) {
      if (!use.use[i]) backends[i]->weight = 0;
      if (use.use[i] && !flags[i]) spared_.insert(backends[i]->number);
    }
    if (use.panic && panicking_.insert(key).second)
      spdlog::warn("service {}: fewer than {} % of {} are healthy: all of it is used rather than none",
                   registry_.service(key.first).name, config->health.panic_percent,
                   model::to_string(static_cast<model::Pool>(key.second)));
    if (!use.panic) panicking_.erase(key);
  }
}

}  // namespace teal::control
