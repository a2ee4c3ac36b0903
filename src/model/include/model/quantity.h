// SPDX-License-Identifier: Apache-2.0
// Durations and shares as people write them, in the configuration and on tealctl's command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace teal::model {

// Milliseconds of "500ms", "60s", "10m", "2h", "7d": a whole number and its unit; "0" needs none. Nothing when it is
// something else, or more than 2^63 ms.
std::optional<uint64_t> parse_duration_ms(std::string_view text);

// The shortest of those forms: "10m", "90s", "1500ms", "0s".
std::string duration_text(uint64_t ms);

// A share of new flows in 65,536ths, rounded to the nearest: "1%", "0.5 %" (up to nine digits after the point), "0.25",
// "1/3". 1 to 65,536; nothing when it is something else. A plain "1" is refused: it could be 1 % or all.
std::optional<uint32_t> parse_share(std::string_view text);

// In percent with as few digits as parse_share needs to find the same share: "1%", "0.002%", "100%".
std::string share_text(uint32_t share);

}  // namespace teal::model
