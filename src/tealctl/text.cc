// SPDX-License-Identifier: Apache-2.0
#include "text.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>

namespace teal::ctl {
namespace {

// Characters, not bytes: continuation bytes of UTF-8 take no column.
size_t width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string tenths(double value, const char* unit) {
  std::array<char, 64> out{};
  snprintf(out.data(), out.size(), "%.1f %s", value, unit);
  return out.data();
}

}  // namespace

std::string grouped(uint64_t number) {
  std::string out = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(out.size()) - 3; at > 0; at -= 3) out.insert(static_cast<size_t>(at), ",");
  return out;
}

std::string percent(double share) {
  return tenths(share * 100, "%");
}

std::string byte_size(uint64_t bytes) {
  static constexpr std::array units = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
  return tenths(value, units[unit]);
}

std::string duration(uint64_t seconds) {
  std::string out;
  const auto part = [&](uint64_t size, char name) {
    if (seconds >= size || !out.empty()) out += std::to_string(seconds / size) + name + " ";
    seconds %= size;
  };
  part(86400, 'd');
  part(3600, 'h');
  part(60, 'm');
  return out + std::to_string(seconds) + "s";
}

std::string nanoseconds(uint64_t ns) {
  if (ns < 1000) return std::to_string(ns) + " ns";
  const auto value = static_cast<double>(ns);
  if (ns < 1000000) return tenths(value / 1e3, "us");
  if (ns < 1000000000) return tenths(value / 1e6, "ms");
  return tenths(value / 1e9, "s");
}

std::string printable(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return out;
}

Table::Table(std::vector<std::string> titles) : titles_(std::move(titles)) {
  for (auto& title : titles_) {
    right_.push_back(title.starts_with('>'));
    if (right_.back()) title.erase(0, 1);
  }
}

void Table::row(std::vector<std::string> cells) {
  cells.resize(titles_.size());
  for (auto& cell : cells) cell = printable(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (size_t column = 0; column < titles_.size(); ++column) {
    widths.push_back(width(titles_[column]));
    for (const auto& row : rows_) widths[column] = std::max(widths[column], width(row[column]));
  }
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t column = 0; column < cells.size(); ++column) {
      const std::string space(widths[column] - width(cells[column]), ' ');
      if (column > 0) text += "  ";
      text += right_[column] ? space + cells[column] : cells[column] + space;
    }
    out += text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
  };
  line(titles_);
  for (const auto& row : rows_) line(row);
  return out;
}

}  // namespace teal::ctl
