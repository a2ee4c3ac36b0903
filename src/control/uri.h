// SPDX-License-Identifier: Apache-2.0
// Request targets in origin form (RFC 9112, 3.2.1): "/v1/services/web/backends/%5B2001:db8::1%5D:80?limit=5".
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace teal::control {

// Percent-decoding (RFC 3986, 2.1). '+' stands for itself. Refuses (malformed_path) a '%' without two hex digits.
std::string percent_decode(std::string_view text);

// The segments between the slashes, each decoded after the split, so that "%2F" does not split.
std::vector<std::string> path_segments(std::string_view path);

// name=value pairs in their order, decoded; a name without '=' has an empty value.
std::vector<std::pair<std::string, std::string>> query_pairs(std::string_view query);

}  // namespace teal::control
