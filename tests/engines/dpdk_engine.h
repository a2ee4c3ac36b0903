// SPDX-License-Identifier: Apache-2.0
// The DPDK packet path as an Engine: the real Pipeline and Sink over net_ring devices, a table in ordinary memory.
#pragma once

#include <memory>
#include <string>

#include "engines/engine.h"

namespace teal::tests {

// EAL without hugepages, buffers and ring devices: once a process, before the first engine. Throws when EAL refuses.
void start_dpdk();

// `flows`: capacity of the table; `secret`: that its hash is keyed by.
std::unique_ptr<Engine> make_dpdk_engine(uint64_t flows, const teal_secret& secret);

}  // namespace teal::tests
