// SPDX-License-Identifier: Apache-2.0
// EAL's arguments out of the configuration, and its start.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

namespace teal::dataplane {

// CPUs of the workers: engine.cpus, or the last ones that this process may run on.
std::vector<unsigned> worker_cpus(const model::EngineConfig& engine);

std::vector<std::string> eal_arguments(const model::Config& config, const std::vector<unsigned>& cpus);

// Throws std::runtime_error with one sentence when EAL refuses.
void start_eal(const model::Config& config, const std::vector<unsigned>& cpus);

// "net_af_packet0" of "net_af_packet0,iface=eth1"; a PCI address as it is.
std::string device_name(const std::string& device);
bool is_pci(const std::string& device);

}  // namespace teal::dataplane
