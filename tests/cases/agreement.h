// SPDX-License-Identifier: Apache-2.0
// The third oracle: two engines that were given the same must have done the same.
#pragma once

#include <string>
#include <vector>

#include "engines/engine.h"

namespace teal::tests {

// Empty, or what differs: frames that left, entries of the table, counters. `a` and `b` name the engines.
std::string disagreement(const std::string& a, const Engine& engine_a, const std::vector<Output>& out_a,
                         const std::string& b, const Engine& engine_b, const std::vector<Output>& out_b);

}  // namespace teal::tests
