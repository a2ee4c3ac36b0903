// SPDX-License-Identifier: Apache-2.0
// Typed reading of a YAML tree: each call takes a node and a value to fill, and either fills it or reports what was
// found and what was expected. A value that was reported keeps its default, so that reading can go on.
#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config_report.h"

namespace teal::model {

class Reader;

// One key of a map that fills a T. The tables of these (config_fields.cc) are the only list of keys there is.
template <class T>
struct Field {
  std::string_view key;
  std::string_view needs;  // what is expected when the key is missing; empty: it may be left out
  void (*read)(Reader&, const YAML::Node&, T&);
};

// The paths of a table's keys, as config_keys() lists them.
template <class T>
void append_keys(std::vector<std::string>& out, const std::string& prefix, std::span<const Field<T>> fields) {
  for (const Field<T>& f : fields) out.push_back(prefix + std::string(f.key));
}

class Reader {
 public:
  explicit Reader(ConfigReport& report) : report_(report) {}

  template <class T>
  void object(const YAML::Node& node, std::span<const Field<T>> fields, T& out);
  // Calls `read` for each element.
  void list(const YAML::Node& node, std::string_view expected, const std::function<void(const YAML::Node&)>& read);
  // As list, of `least` to `most` elements; `what` they are, with an example.
  void bounded_list(const YAML::Node& node, size_t least, size_t most, const std::string& what,
                    const std::function<void(const YAML::Node&)>& read);

  template <class N>
  void number(const YAML::Node& node, N& out, uint64_t min, uint64_t max);
  // As number, with the suffixes k, M (thousands), Ki, Mi, Gi (powers of 1,024).
  void quantity(const YAML::Node& node, uint64_t& out, uint64_t min, uint64_t max);
  void octal(const YAML::Node& node, unsigned& out, unsigned max);
  void boolean(const YAML::Node& node, bool& out);
  template <class E>
  void choice(const YAML::Node& node, E& out, std::initializer_list<E> all);
  // 1 to `longest` printable characters.
  void text(const YAML::Node& node, std::string& out, size_t longest);
  // A letter or digit, then letters, digits, '.', '_' and '-'.
  void name(const YAML::Node& node, std::string& out, size_t longest);
  void file(const YAML::Node& node, std::string& out, size_t longest);
  // family 4 or 6, or 0 for either.
  void address(const YAML::Node& node, Address& out, uint8_t family);
  void prefix(const YAML::Node& node, Prefix& out, uint8_t family, uint8_t longest);

  // A number and its unit ("60s"), in `out`'s unit: seconds, which must be whole, or milliseconds.
  template <class N>
  void duration_s(const YAML::Node& node, N& out, uint64_t min_s, uint64_t max_s);
  template <class N>
  void duration_ms(const YAML::Node& node, N& out, uint64_t min_ms, uint64_t max_ms);
  // A decimal number, with or without a sign, point and exponent.
  void real(const YAML::Node& node, double& out, double min, double max, std::string_view expected);
  // "http://..." or "https://...", without blanks.
  void url(const YAML::Node& node, std::string& out);

  void fail(const YAML::Node& node, std::string_view expected);
  // As fail, for a value that says itself what is wrong with it.
  void refuse(const std::string& what) { report_.add_unread(path_, what); }

 private:
  std::optional<uint64_t> duration(const YAML::Node& node, uint64_t unit_ms, uint64_t min, uint64_t max);
  static Place place_of(const YAML::Node& node) { return {node.Mark().line + 1, node.Mark().column + 1}; }
  [[nodiscard]] std::string prefix_of_path() const { return path_.empty() ? "" : path_ + ": "; }
  [[nodiscard]] std::optional<uint64_t> plain_number(const YAML::Node& node) const;
  void enter(std::string_view step, const YAML::Node& node, Place otherwise, const std::function<void()>& read);
  void unknown_key(const std::string& key, Place place, const std::vector<std::string_view>& known);

  ConfigReport& report_;
  std::string path_;  // of the value being read
};

template <class T>
void Reader::object(const YAML::Node& node, std::span<const Field<T>> fields, T& out) {
  std::vector<std::string_view> known;
  std::string keys;
  for (const Field<T>& f : fields) {
    known.push_back(f.key);
    keys.append(keys.empty() ? "" : ", ").append(f.key);
  }
  if (!node.IsMap()) return fail(node, "a map with the keys " + keys);
  std::vector<std::pair<std::string, Place>> seen;
  for (const auto& entry : node) {
    const Place place = place_of(entry.first);
    if (!entry.first.IsScalar()) {
      report_.add(place, prefix_of_path() + "found a key that is not plain text, expected one of " + keys);
      continue;
    }
    const std::string& key = entry.first.Scalar();
    bool again = false;
    for (const auto& [earlier, where] : seen)
      if (earlier == key) {
        report_.add(place, prefix_of_path() + "key " + quoted(key) + " stands here a second time, first in line " +
                               std::to_string(where.line));
        again = true;
      }
    if (again) continue;
    seen.emplace_back(key, place);
    const Field<T>* field = nullptr;
    for (const Field<T>& f : fields)
      if (f.key == key) field = &f;
    if (!field) {
      unknown_key(key, place, known);
      continue;
    }
    enter(path_.empty() ? key : "." + key, entry.second, place, [&] { field->read(*this, entry.second, out); });
  }
  for (const Field<T>& f : fields) {
    if (f.needs.empty()) continue;
    bool given = false;
    for (const auto& [key, where] : seen) given |= key == f.key;
    if (!given) report_.add_at(path_, "key " + quoted(f.key) + " is missing, expected " + std::string(f.needs));
  }
}

template <class N>
void Reader::number(const YAML::Node& node, N& out, uint64_t min, uint64_t max) {
  const auto value = plain_number(node);
  if (!value || *value < min || *value > max)
    return fail(node, "a number from " + std::to_string(min) + " to " + std::to_string(max));
  out = static_cast<N>(*value);
}

template <class N>
void Reader::duration_s(const YAML::Node& node, N& out, uint64_t min_s, uint64_t max_s) {
  if (const auto value = duration(node, 1000, min_s, max_s)) out = static_cast<N>(*value);
}

template <class N>
void Reader::duration_ms(const YAML::Node& node, N& out, uint64_t min_ms, uint64_t max_ms) {
  if (const auto value = duration(node, 1, min_ms, max_ms)) out = static_cast<N>(*value);
}

template <class E>
void Reader::choice(const YAML::Node& node, E& out, std::initializer_list<E> all) {
  std::string expected;
  size_t left = all.size();
  for (const E value : all) {
    if (node.IsScalar() && node.Scalar() == to_string(value)) {
      out = value;
      return;
    }
    --left;
    expected.append(to_string(value)).append(left > 1 ? ", " : left == 1 ? " or " : "");
  }
  fail(node, expected);
}

}  // namespace teal::model
