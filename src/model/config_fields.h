// SPDX-License-Identifier: Apache-2.0
// From the YAML tree to values, key by key; what concerns more than one value is config_check.cc's.
#pragma once

#include <yaml-cpp/yaml.h>

#include "config_report.h"

namespace teal::model {

void read_root(const YAML::Node& node, ConfigReport& report, Config& out);

}  // namespace teal::model
