// SPDX-License-Identifier: Apache-2.0
// Prometheus' text exposition format, version 0.0.4, as a pure formatter: families of samples in, text out.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace teal::telemetry {

enum class MetricType : uint8_t { counter, gauge, histogram };

using Labels = std::vector<std::pair<std::string, std::string>>;
using MetricValue = std::variant<uint64_t, double>;  // whole numbers stay exact

// Observations sorted into buckets; each bucket's own count, not yet added up.
struct Histogram {
  std::vector<double> edges;     // upper ends, rising, without +Inf
  std::vector<uint64_t> counts;  // one more than edges: the last takes what lies above all of them
  double sum = 0;                // of all observations
};

// All samples of one metric. `name` matches [a-zA-Z_:][a-zA-Z0-9_:]* and, for a counter, ends in "_total".
class MetricFamily {
 public:
  // Throws std::logic_error when `name` is not one, or `help` is empty: names are the program's, not the user's.
  MetricFamily(std::string name, MetricType type, std::string help);

  // Label names match [a-zA-Z_][a-zA-Z0-9_]*, else std::logic_error; label values may be anything. Adding to a sample
  // with the same labels adds the values: a scrape with two samples of one name would be refused whole. A histogram
  // goes to a family of that type, anything else to the others, and its edges are rising; else std::logic_error.
  MetricFamily& add(const Labels& labels, uint64_t value);
  MetricFamily& add(const Labels& labels, double value);
  MetricFamily& add(const Labels& labels, const Histogram& value);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string text() const;  // HELP, TYPE and the samples; empty when there is no sample

 private:
  // `suffix`: what a histogram's sample has behind the family's name.
  MetricFamily& add_value(const char* suffix, const Labels& labels, MetricValue value);

  std::string name_, help_;
  MetricType type_;
  std::vector<std::pair<std::string, MetricValue>> samples_;  // by suffix and labels, in the order of their coming
  std::map<std::string, size_t> index_;
};

// The whole exposition. Throws std::logic_error when two families share a name.
std::string format_metrics(const std::vector<MetricFamily>& families);

}  // namespace teal::telemetry
