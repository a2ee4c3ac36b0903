// SPDX-License-Identifier: Apache-2.0
#include "flow/snapshot_input.h"

#include <algorithm>

namespace teal::flow {
namespace {

model::SnapshotService service_of(uint16_t number, const teal_service_record& record, const model::Config& config) {
  model::SnapshotService s;
  s.number = number;
  s.group = record.group;
  s.retired = record.retired != 0;
  const auto known = std::find_if(config.services.begin(), config.services.end(),
                                  [&](const model::ServiceConfig& c) { return c.name == record.name; });
  if (known != config.services.end() && !s.retired) s.config = *known;
  s.config.vip = model::Address::from_raw(record.family, record.vip);
  s.config.port = teal_swap16(record.port);
  s.config.protocol = static_cast<model::Protocol>(record.proto);
  s.config.forward = static_cast<model::Forward>(record.forward);
  return s;
}

}  // namespace

model::SnapshotInput snapshot_input(const Registry& registry, const teal_secret& secret, const model::Config& config) {
  model::SnapshotInput in;
  in.secret = secret;
  in.engine = config.engine;
  for (uint16_t number : registry.services()) {
    in.services.push_back(service_of(number, registry.service(number), config));
    // Preview clients see the standby pool, unless that is the one that drains after a cutover.
    const uint64_t split = registry.split(registry.service(number).group).current;
    const uint32_t share = teal_split_share(split);
    const bool left = teal_split_draining(split) && (share == 0 || share == TEAL_SPLIT_ALL);
    in.services.back().preview_pool = left ? -1 : 1 - teal_split_active(split);
  }
  for (uint16_t number : registry.backends()) {
    const teal_backend_record& record = registry.backend(number);
    const bool takes_new = record.state == 0 && !record.removed;
    in.backends.push_back({number,
                           record.service,
                           record.pool,
                           {model::Address::from_raw(record.family, record.addr), teal_swap16(record.port)},
                           takes_new ? record.weight : 0});
  }
  return in;
}

}  // namespace teal::flow
