// SPDX-License-Identifier: Apache-2.0
// Numbers and tables for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace teal::ctl {

std::string grouped(uint64_t number);    // "1,234,567"
std::string percent(double share);       // "12.5 %"
std::string byte_size(uint64_t bytes);   // "128.0 MiB"
std::string duration(uint64_t seconds);  // "1d 2h 3m 4s"
std::string nanoseconds(uint64_t ns);    // "41.2 us"
// Fit for a terminal: control characters, which could speak to it, become '?'.
std::string printable(std::string_view text);

class Table {
 public:
  // A title that begins with '>' makes its column right-aligned, as numbers want it.
  explicit Table(std::vector<std::string> titles);
  void row(std::vector<std::string> cells);
  [[nodiscard]] size_t rows() const { return rows_.size(); }
  // Columns two spaces apart, no space at the ends of lines.
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::string> titles_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace teal::ctl
