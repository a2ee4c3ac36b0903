// SPDX-License-Identifier: Apache-2.0
// What the table's records and a configuration make of services and backends, for the next snapshot.
#pragma once

#include "flow/registry.h"
#include "model/snapshot.h"

namespace teal::flow {

// Everything but ports and topology, which the caller adds. The records decide what a service is (VIP, port, protocol,
// forward) and which backends take new flows; `config` says the rest. A retired service has no configuration.
model::SnapshotInput snapshot_input(const Registry& registry, const teal_secret& secret, const model::Config& config);

}  // namespace teal::flow
