// SPDX-License-Identifier: Apache-2.0
#include "drain_meter.h"

#include <cmath>

namespace teal::control {
namespace {

constexpr int64_t window_ms = 120'000;
constexpr int64_t shortest_ms = 3'000;  // of a decay that is believed
constexpr double longest_s = 7 * 86400;

}  // namespace

void DrainMeter::count(int64_t now_ms, uint64_t flows) {
  counts_.emplace_back(now_ms, flows);
  while (counts_.back().first - counts_.front().first > window_ms) counts_.pop_front();
}

std::optional<uint64_t> DrainMeter::eta_s() const {
  if (counts_.empty()) return std::nullopt;
  const auto& [from, had] = counts_.front();
  const auto& [to, has] = counts_.back();
  if (has == 0) return 0;
  if (to - from < shortest_ms || has >= had) return std::nullopt;
  const double rate = std::log(static_cast<double>(had) / static_cast<double>(has)) / static_cast<double>(to - from);
  // Half a flow is none.
  const double seconds = std::log(2.0 * static_cast<double>(has)) / rate / 1000;
  if (!(seconds < longest_s)) return std::nullopt;
  return static_cast<uint64_t>(std::ceil(seconds));
}

}  // namespace teal::control
