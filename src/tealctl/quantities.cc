// SPDX-License-Identifier: Apache-2.0
#include "quantities.h"

#include <charconv>

#include "commands.h"

namespace teal::ctl {
namespace {

[[noreturn]] void refuse(const std::string& option, const std::string& found, const char* expected) {
  throw UsageError("option --" + option + ": found \"" + found + "\", expected " + expected);
}

}  // namespace

uint64_t seconds_of(const std::string& option, const std::string& text) {
  constexpr const char* expected = "a time of at most 30 days such as 60s, 10m, 2h or 1d";
  constexpr uint64_t longest = 30 * 86400;
  uint64_t number = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  const std::string unit(end, last);
  const uint64_t factor = unit.empty() || unit == "s" ? 1
                          : unit == "m"               ? 60
                          : unit == "h"               ? 3600
                          : unit == "d"               ? 86400
                                                      : 0;
  if (error != std::errc{} || factor == 0 || number > longest / factor) refuse(option, text, expected);
  return number * factor;
}

std::vector<double> shares_of(const std::string& option, const std::string& text) {
  constexpr const char* expected = "shares such as 1%,10%,50%,100% or 0.01,0.1,0.5,1";
  std::vector<double> shares;
  for (const std::string& part : listed_in(option, text)) {
    double number = 0;
    const char* const last = part.data() + part.size();
    const auto [end, error] = std::from_chars(part.data(), last, number);
    const std::string unit(end, last);
    if (error != std::errc{} || (!unit.empty() && unit != "%")) refuse(option, part, expected);
    shares.push_back(unit.empty() ? number : number / 100);
  }
  return shares;
}

std::vector<std::string> listed_in(const std::string& option, const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  for (const auto& part : parts)
    if (part.empty()) refuse(option, text, "one or more, with commas between them");
  return parts;
}

}  // namespace teal::ctl
