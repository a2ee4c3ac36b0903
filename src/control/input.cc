// SPDX-License-Identifier: Apache-2.0
#include "input.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <set>

#include "call.h"
#include "uri.h"

namespace teal::control {
namespace {

// "blue" or "green"; "a", "b" or "c"; nothing.
std::string listed(Words words) {
  if (words.size() == 0) return "nothing";
  std::string out;
  size_t left = words.size();
  for (const char* word : words) {
    out += std::string("\"") + word + "\"";
    if (--left > 0) out += left == 1 ? " or " : ", ";
  }
  return out;
}

bool contains(Words words, std::string_view word) {
  return std::any_of(words.begin(), words.end(), [&](const char* w) { return w == word; });
}

std::string shortened(std::string text) {
  if (text.size() > 60) text = text.substr(0, 60) + "...";
  return text;
}

// "the number 5", "the string \"x\"", "null", "an array": containers are not shown, they can be deep.
std::string described(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  if (value.is_null()) return "null";
  const std::string text = shortened(value.dump(-1, ' ', false, Json::error_handler_t::replace));
  return std::string("the ") + (value.is_number() ? "number " : value.is_boolean() ? "boolean " : "string ") + text;
}

[[noreturn]] void refuse_key(ProblemCode code, const std::string& key, const std::string& found,
                             const std::string& expected) {
  refuse(code, "key \"" + key + "\": found " + found + ", expected " + expected);
}

[[noreturn]] void refuse_parameter(ProblemCode code, const std::string& name, const std::string& found,
                                   const std::string& expected) {
  refuse(code, "query parameter \"" + name + "\": found " + found + ", expected " + expected);
}

}  // namespace

Body::Body(const std::string& text, Words known_keys) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return std::strchr(" \t\r\n", c) && c != '\0'; })) return;
  // A doubled key would silently win or lose; the parser tells of each as it goes.
  std::set<std::string> seen;
  std::string doubled;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::key && depth == 1 && !seen.insert(value.get<std::string>()).second)
      doubled = value.get<std::string>();
    return true;
  };
  try {
    object_ = Json::parse(text, watch);
  } catch (const Json::parse_error& error) {
    // nlohmann's sentence begins with its own error number in brackets.
    const std::string what = error.what();
    const auto bracket = what.find("] ");
    refuse(ProblemCode::malformed_json, "body: " + (bracket == std::string::npos ? what : what.substr(bracket + 2)));
  }
  if (!object_.is_object())
    refuse(ProblemCode::wrong_type, "body: found " + described(object_) + ", expected an object");
  if (!doubled.empty()) refuse_key(ProblemCode::malformed_json, doubled, "it twice", "it once");
  for (const auto& [key, value] : object_.items())
    if (!contains(known_keys, key))
      refuse(ProblemCode::unknown_key,
             "body: found the key \"" + shortened(key) + "\", expected " + listed(known_keys));
}

const Json* Body::find(const char* key) const {
  const auto place = object_.find(key);
  return place == object_.end() ? nullptr : &*place;
}

std::optional<uint64_t> Body::integer(const char* key, uint64_t max) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  const std::string expected = "an integer from 0 to " + std::to_string(max);
  if (!value->is_number()) refuse_key(ProblemCode::wrong_type, key, described(*value), expected);
  if (!value->is_number_unsigned() || value->get<uint64_t>() > max)
    refuse_key(ProblemCode::wrong_value, key, described(*value), expected);
  return value->get<uint64_t>();
}

std::optional<bool> Body::boolean(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_boolean()) refuse_key(ProblemCode::wrong_type, key, described(*value), "true or false");
  return value->get<bool>();
}

std::optional<std::string> Body::word(const char* key, Words choices) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse_key(ProblemCode::wrong_type, key, described(*value), listed(choices));
  if (!contains(choices, value->get_ref<const std::string&>()))
    refuse_key(ProblemCode::wrong_value, key, described(*value), listed(choices));
  return value->get<std::string>();
}

std::string Body::required_word(const char* key, Words choices) const {
  auto value = word(key, choices);
  if (!value) refuse_key(ProblemCode::missing_key, key, "nothing", listed(choices));
  return *value;
}

std::optional<std::string> Body::text(const char* key, const char* expected) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse_key(ProblemCode::wrong_type, key, described(*value), expected);
  if (value->get_ref<const std::string&>().empty())
    refuse_key(ProblemCode::wrong_value, key, "an empty string", expected);
  return value->get<std::string>();
}

std::optional<std::vector<std::string>> Body::texts(const char* key, Words choices) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  const std::string expected =
      choices.size() == 0 ? std::string("an array of strings") : "an array of " + listed(choices);
  if (!value->is_array()) refuse_key(ProblemCode::wrong_type, key, described(*value), expected);
  std::vector<std::string> out;
  for (const Json& item : *value) {
    if (!item.is_string()) refuse_key(ProblemCode::wrong_type, key, described(item) + " in it", expected);
    if (choices.size() != 0 && !contains(choices, item.get_ref<const std::string&>()))
      refuse_key(ProblemCode::wrong_value, key, described(item) + " in it", expected);
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::optional<std::vector<double>> Body::numbers(const char* key, const char* expected) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) refuse_key(ProblemCode::wrong_type, key, described(*value), expected);
  std::vector<double> out;
  for (const Json& item : *value) {
    if (!item.is_number()) refuse_key(ProblemCode::wrong_type, key, described(item) + " in it", expected);
    out.push_back(item.get<double>());
  }
  return out;
}

Query::Query(std::string_view text, Words known_names) {
  for (const auto& [name, value] : query_pairs(text)) {
    if (!contains(known_names, name))
      refuse(ProblemCode::unknown_parameter,
             "query: found the parameter \"" + shortened(name) + "\", expected " + listed(known_names));
    if (!values_.try_emplace(name, value).second)
      refuse_parameter(ProblemCode::wrong_parameter, name, "it twice", "it once");
  }
}

std::string Query::text(const char* name) const {
  const auto place = values_.find(name);
  return place == values_.end() ? std::string() : place->second;
}

std::string Query::required(const char* name, const char* expected) const {
  auto value = text(name);
  if (value.empty()) refuse_parameter(ProblemCode::missing_parameter, name, "nothing", expected);
  return value;
}

std::string Query::word(const char* name, Words choices) const {
  auto value = text(name);
  if (values_.contains(name) && !contains(choices, value))
    refuse_parameter(ProblemCode::wrong_parameter, name, "\"" + shortened(value) + "\"", listed(choices));
  return value;
}

uint64_t Query::integer(const char* name, uint64_t absent, uint64_t min, uint64_t max) const {
  const auto place = values_.find(name);
  if (place == values_.end()) return absent;
  const std::string& value = place->second;
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size() || number < min || number > max)
    refuse_parameter(ProblemCode::wrong_parameter, name, "\"" + shortened(value) + "\"",
                     "an integer from " + std::to_string(min) + " to " + std::to_string(max));
  return number;
}

}  // namespace teal::control
