// SPDX-License-Identifier: Apache-2.0
// What callers send, read strictly: a key or parameter that is unknown, doubled, missing, of the wrong type or out of
// bounds is refused with its name, what was found and what was expected.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace teal::control {

using Words = std::initializer_list<const char*>;

// The JSON object in the body of a request. An empty body is an empty object.
class Body {
 public:
  Body(const std::string& text, Words known_keys);

  [[nodiscard]] std::optional<uint64_t> integer(const char* key, uint64_t max) const;  // 0 to max
  [[nodiscard]] std::optional<bool> boolean(const char* key) const;
  [[nodiscard]] std::optional<std::string> word(const char* key, Words choices) const;
  [[nodiscard]] std::string required_word(const char* key, Words choices) const;
  [[nodiscard]] std::optional<std::string> text(const char* key, const char* expected) const;  // not empty
  // Arrays; nothing when the key is not there. Each string is one of `choices`, where there are any.
  [[nodiscard]] std::optional<std::vector<std::string>> texts(const char* key, Words choices) const;
  [[nodiscard]] std::optional<std::vector<double>> numbers(const char* key, const char* expected) const;

 private:
  [[nodiscard]] const Json* find(const char* key) const;
  Json object_ = Json::object();
};

// The query of a request: "limit=5&pool=blue".
class Query {
 public:
  Query(std::string_view text, Words known_names);

  [[nodiscard]] std::string text(const char* name) const;  // empty when it is not there
  [[nodiscard]] std::string required(const char* name, const char* expected) const;
  [[nodiscard]] std::string word(const char* name, Words choices) const;  // empty when it is not there
  [[nodiscard]] uint64_t integer(const char* name, uint64_t absent, uint64_t min, uint64_t max) const;

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace teal::control
