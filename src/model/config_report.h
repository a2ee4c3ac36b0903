// SPDX-License-Identifier: Apache-2.0
// Where each value of a configuration stands in its file, and what is wrong with it. The reader notes the places; the
// checks over the finished values find them again by path ("services[1].pools.blue[0]"), so that the plain values of
// model/config.h carry no positions.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "model/config_file.h"

namespace teal::model {

struct Place {  // as editors count: the first line is 1, the first column is 1
  int line = 1, column = 1;
  auto operator<=>(const Place&) const = default;
};

class ConfigReport {
 public:
  explicit ConfigReport(std::string file) : file_(std::move(file)) {}

  void note(const std::string& path, Place place) { places_[path] = place; }
  [[nodiscard]] bool given(const std::string& path) const { return places_.contains(path); }
  // Of the value itself, or where the file leaves it out, of what it would stand in.
  [[nodiscard]] Place place(std::string path) const;

  void add(Place place, std::string what) { found_.emplace_back(place, std::move(what)); }
  // At the place of `path`, which is named first.
  void add_at(const std::string& path, const std::string& what);
  // As add_at, for a value that could not be read at all: it holds its default now, which nobody should judge.
  void add_unread(const std::string& path, const std::string& what);
  [[nodiscard]] bool unread(const std::string& path) const { return unread_.contains(path); }
  // Something of the value at `path`, or in it, could not be read.
  [[nodiscard]] bool unread_in(const std::string& path) const;
  // All of them, in the order of the file.
  [[nodiscard]] std::vector<ConfigError> finish();

 private:
  std::string file_;
  std::unordered_map<std::string, Place> places_;
  std::unordered_set<std::string> unread_;
  std::vector<std::pair<Place, std::string>> found_;
};

// Text of the file for a message: quoted, on one line, shortened when it is long.
std::string quoted(std::string_view text);

// What cannot be said of one value alone: clashes, agreement between values, limits. (config_check.cc,
// config_services.cc, config_release_check.cc)
void check_config(const Config& config, ConfigReport& report);
void check_services(const Config& config, ConfigReport& report);
void check_release(const ServiceConfig& service, const std::string& path, ConfigReport& report);

// Why an address cannot be a host's or a VIP's; empty when it can.
std::string_view unfit(const Address& address);

// "services[3]"
std::string item(std::string_view list, size_t index);

}  // namespace teal::model
