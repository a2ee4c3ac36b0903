// SPDX-License-Identifier: Apache-2.0
#include "uri.h"

#include <algorithm>
#include <charconv>

#include "call.h"

namespace teal::control {

std::string percent_decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const auto digits = text.substr(i + 1, 2);
    unsigned byte = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (digits.size() != 2 || error != std::errc{} || end != digits.data() + 2)
      refuse(ProblemCode::malformed_path,
             "found \"%" + std::string(digits) + "\" in the target, expected '%' and two hexadecimal digits");
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

std::vector<std::string> path_segments(std::string_view path) {
  if (!path.starts_with('/'))
    refuse(ProblemCode::malformed_path,
           "found the target \"" + std::string(path) + "\", expected a path that begins with '/'");
  std::vector<std::string> segments;
  do {
    path.remove_prefix(1);
    const auto end = std::min(path.find('/'), path.size());
    segments.push_back(percent_decode(path.substr(0, end)));
    path.remove_prefix(end);
  } while (!path.empty());
  return segments;
}

std::vector<std::pair<std::string, std::string>> query_pairs(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.empty()) continue;
    const auto equals = std::min(pair.find('='), pair.size());
    pairs.emplace_back(percent_decode(pair.substr(0, equals)),
                       percent_decode(pair.substr(std::min(equals + 1, pair.size()))));
  }
  return pairs;
}

}  // namespace teal::control
