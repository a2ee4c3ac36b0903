// SPDX-License-Identifier: Apache-2.0
#include "model/quantity.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "teal/split.h"

namespace teal::model {

namespace {

constexpr std::pair<std::string_view, uint64_t> units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};

std::optional<uint64_t> whole(std::string_view text, uint64_t max) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stop != end || value > max) return std::nullopt;
  return value;
}

std::optional<uint32_t> rounded(uint64_t part, uint64_t of) {
  if (of == 0 || part > of) return std::nullopt;
  const uint64_t share = (part * TEAL_SPLIT_ALL + of / 2) / of;
  return share == 0 ? std::nullopt : std::optional(static_cast<uint32_t>(share));
}

// A decimal of up to nine digits after the point, as part of 10^digits times `of`.
std::optional<uint32_t> decimal_share(std::string_view text, uint64_t of) {
  const size_t point = text.find('.');
  const auto before = whole(text.substr(0, point), 100);
  if (!before) return std::nullopt;
  if (point == std::string_view::npos) return rounded(*before, of);
  const std::string_view digits = text.substr(point + 1);
  const auto after = whole(digits, 999'999'999);
  if (!after || digits.size() > 9) return std::nullopt;
  uint64_t scale = 1;
  for (size_t i = 0; i < digits.size(); ++i) scale *= 10;
  return rounded(*before * scale + *after, scale * of);
}

}  // namespace

std::optional<uint64_t> parse_duration_ms(std::string_view text) {
  if (text == "0") return 0;
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  for (const auto& [unit, ms] : units)
    if (text.substr(digits) == unit) {
      const auto value = whole(text.substr(0, digits), (uint64_t{1} << 63) / ms);
      return value ? std::optional(*value * ms) : std::nullopt;
    }
  return std::nullopt;
}

std::string duration_text(uint64_t ms) {
  if (ms == 0) return "0s";
  std::string out;
  for (const auto& [unit, length] : units)
    if (ms % length == 0) out = std::to_string(ms / length) + std::string(unit);
  return out;
}

std::optional<uint32_t> parse_share(std::string_view text) {
  if (text.ends_with('%')) {
    text.remove_suffix(1);
    if (text.ends_with(' ')) text.remove_suffix(1);
    return decimal_share(text, 100);
  }
  if (const size_t slash = text.find('/'); slash != std::string_view::npos) {
    const auto part = whole(text.substr(0, slash), 1'000'000'000), of = whole(text.substr(slash + 1), 1'000'000'000);
    return part && of ? rounded(*part, *of) : std::nullopt;
  }
  return text.find('.') == std::string_view::npos ? std::nullopt : decimal_share(text, 1);
}

std::string share_text(uint32_t share) {
  char text[32];
  for (int digits = 0;; ++digits) {
    std::snprintf(text, sizeof text, "%.*f%%", digits, share * 100.0 / TEAL_SPLIT_ALL);
    if (digits == 9 || parse_share(text) == share) return text;
  }
}

}  // namespace teal::model
