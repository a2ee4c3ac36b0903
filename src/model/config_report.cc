// SPDX-License-Identifier: Apache-2.0
#include "config_report.h"

#include <algorithm>
#include <cstdio>

namespace teal::model {

Place ConfigReport::place(std::string path) const {
  for (;;) {
    if (const auto it = places_.find(path); it != places_.end()) return it->second;
    if (path.empty()) return {};
    const size_t cut = path.find_last_of(".[");
    path.resize(cut == std::string::npos ? 0 : cut);  // the path of the file as a whole is empty
  }
}

void ConfigReport::add_at(const std::string& path, const std::string& what) {
  add(place(path), path.empty() ? what : path + ": " + what);
}

void ConfigReport::add_unread(const std::string& path, const std::string& what) {
  unread_.insert(path);
  add_at(path, what);
}

bool ConfigReport::unread_in(const std::string& path) const {
  return std::any_of(unread_.begin(), unread_.end(), [&](const std::string& p) {
    return p.starts_with(path) && (p.size() == path.size() || p[path.size()] == '.' || p[path.size()] == '[');
  });
}

std::vector<ConfigError> ConfigReport::finish() {
  std::stable_sort(found_.begin(), found_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<ConfigError> errors;
  for (auto& [place, what] : found_)
    errors.push_back({file_ + ":" + std::to_string(place.line) + ":" + std::to_string(place.column), std::move(what)});
  found_.clear();
  return errors;
}

std::string quoted(std::string_view text) {
  constexpr size_t longest = 60;
  std::string out = "\"";
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (i >= longest && (c & 0xc0) != 0x80) {  // not in the middle of a UTF-8 character
      out += "...";
      break;
    }
    if (c < 0x20 || c == 0x7f) {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", c);
      out += escaped;
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += text[i];
    }
  }
  return out + "\"";
}

std::string item(std::string_view list, size_t index) {
  std::string out(list);
  return out.append("[").append(std::to_string(index)).append("]");
}

}  // namespace teal::model
