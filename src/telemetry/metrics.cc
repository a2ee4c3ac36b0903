// SPDX-License-Identifier: Apache-2.0
#include "telemetry/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <set>
#include <stdexcept>
#include <string_view>

namespace teal::telemetry {
namespace {

bool is_name(std::string_view text, bool colons) {
  const auto letter = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colons && c == ':');
  };
  return !text.empty() && letter(text.front()) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

// Label values: backslash, quote and newline are escaped; help texts: backslash and newline.
std::string escape(std::string_view text, bool quote) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quote) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
  return out;
}

std::string number(const MetricValue& value) {
  if (const auto* whole = std::get_if<uint64_t>(&value)) return std::to_string(*whole);
  const double x = std::get<double>(value);
  if (std::isnan(x)) return "NaN";
  if (std::isinf(x)) return x > 0 ? "+Inf" : "-Inf";
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, x);
  return {text, error == std::errc{} ? end : text};
}

MetricValue sum(const MetricValue& a, const MetricValue& b) {
  if (const auto* x = std::get_if<uint64_t>(&a), *y = std::get_if<uint64_t>(&b); x && y) return *x + *y;
  const auto real = [](const MetricValue& v) { return std::visit([](auto x) { return static_cast<double>(x); }, v); };
  return real(a) + real(b);
}

}  // namespace

MetricFamily::MetricFamily(std::string name, MetricType type, std::string help)
    : name_(std::move(name)), help_(std::move(help)), type_(type) {
  if (!is_name(name_, true)) throw std::logic_error("\"" + name_ + "\" is no metric name");
  if (type_ == MetricType::counter && !name_.ends_with("_total"))
    throw std::logic_error("the counter " + name_ + " does not end in _total");
  if (help_.empty()) throw std::logic_error(name_ + " has no help text");
}

MetricFamily& MetricFamily::add(const Labels& labels, uint64_t value) {
  if (type_ == MetricType::histogram) throw std::logic_error(name_ + " is a histogram and takes no single value");
  return add_value("", labels, value);
}
MetricFamily& MetricFamily::add(const Labels& labels, double value) {
  if (type_ == MetricType::histogram) throw std::logic_error(name_ + " is a histogram and takes no single value");
  return add_value("", labels, value);
}

// Buckets are cumulative in the exposition: each holds all that lies at or below its edge.
MetricFamily& MetricFamily::add(const Labels& labels, const Histogram& value) {
  if (type_ != MetricType::histogram) throw std::logic_error(name_ + " is no histogram");
  if (value.counts.size() != value.edges.size() + 1)
    throw std::logic_error(name_ + ": a histogram has one count more than edges");
  if (std::adjacent_find(value.edges.begin(), value.edges.end(), std::greater_equal<>()) != value.edges.end())
    throw std::logic_error(name_ + ": the edges of a histogram rise");
  uint64_t below = 0;
  for (size_t i = 0; i < value.counts.size(); ++i) {
    below += value.counts[i];
    Labels bucket = labels;
    bucket.emplace_back("le", i < value.edges.size() ? number(value.edges[i]) : "+Inf");
    add_value("_bucket", bucket, below);
  }
  add_value("_sum", labels, value.sum);
  return add_value("_count", labels, below);
}

MetricFamily& MetricFamily::add_value(const char* suffix, const Labels& labels, MetricValue value) {
  std::string text;
  for (const auto& [name, content] : labels) {
    if (!is_name(name, false)) throw std::logic_error("\"" + name + "\" is no label name");
    text += (text.empty() ? "{" : ",") + name + "=\"" + escape(content, true) + "\"";
  }
  if (!text.empty()) text += '}';
  text.insert(0, suffix);
  const auto [place, fresh] = index_.try_emplace(text, samples_.size());
  if (fresh) {
    samples_.emplace_back(std::move(text), value);
  } else {
    MetricValue& old = samples_[place->second].second;
    old = sum(old, value);
  }
  return *this;
}

std::string MetricFamily::text() const {
  if (samples_.empty()) return {};
  std::string out = "# HELP " + name_ + " " + escape(help_, false) + "\n# TYPE " + name_ +
                    (type_ == MetricType::counter ? " counter\n"
                     : type_ == MetricType::gauge ? " gauge\n"
                                                  : " histogram\n");
  for (const auto& [labels, value] : samples_) out += name_ + labels + " " + number(value) + "\n";
  return out;
}

std::string format_metrics(const std::vector<MetricFamily>& families) {
  std::set<std::string_view> seen;
  std::string out;
  for (const auto& family : families) {
    if (!seen.insert(family.name()).second) throw std::logic_error("two families are named " + family.name());
    out += family.text();
  }
  return out;
}

}  // namespace teal::telemetry
