// SPDX-License-Identifier: Apache-2.0
// Values of options as people write them. Each throws UsageError naming the option, what was found and what was
// expected.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace teal::ctl {

// "60s", "10m", "2h", "1d", "90": seconds, at most 30 days.
uint64_t seconds_of(const std::string& option, const std::string& text);

// "1%,10%,50%,100%" or "0.01,0.1,0.5,1": shares from 0 to 1. teald checks that they rise and end with all.
std::vector<double> shares_of(const std::string& option, const std::string& text);

// "a,b,c"; no part is empty.
std::vector<std::string> listed_in(const std::string& option, const std::string& text);

}  // namespace teal::ctl
