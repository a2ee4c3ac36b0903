// SPDX-License-Identifier: Apache-2.0
#include "telemetry/metrics.h"

#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

namespace teal::telemetry {
namespace {

TEST(Metrics, HelpAndTypeStandOnceAFamily) {
  MetricFamily drops("teal_drops_total", MetricType::counter, "Packets dropped.");
  drops.add({{"reason", "truncated"}}, uint64_t{5}).add({{"reason", "no_route"}}, uint64_t{0});
  MetricFamily share("teal_share_ratio", MetricType::gauge, "A share.");
  share.add({}, 0.25);
  EXPECT_EQ(format_metrics({drops, share}),
            "# HELP teal_drops_total Packets dropped.\n"
            "# TYPE teal_drops_total counter\n"
            "teal_drops_total{reason=\"truncated\"} 5\n"
            "teal_drops_total{reason=\"no_route\"} 0\n"
            "# HELP teal_share_ratio A share.\n"
            "# TYPE teal_share_ratio gauge\n"
            "teal_share_ratio 0.25\n");
}

TEST(Metrics, LabelValuesAndHelpAreEscaped) {
  MetricFamily f("x", MetricType::gauge, "a\\b\nc\"d");
  f.add({{"l", "a\\b\nc\"d"}, {"m", ""}}, uint64_t{1});
  EXPECT_EQ(f.text(),
            "# HELP x a\\\\b\\nc\"d\n# TYPE x gauge\n"
            "x{l=\"a\\\\b\\nc\\\"d\",m=\"\"} 1\n");
}

TEST(Metrics, NumbersAreExact) {
  const auto text = [](auto value) {
    MetricFamily f("x", MetricType::gauge, "h");
    const auto all = f.add({}, value).text();
    return all.substr(all.rfind("x ") + 2);
  };
  EXPECT_EQ(text(std::numeric_limits<uint64_t>::max()), "18446744073709551615\n");
  EXPECT_EQ(text(0.1), "0.1\n");
  EXPECT_EQ(text(1e-9), "1e-09\n");
  EXPECT_EQ(text(std::numeric_limits<double>::infinity()), "+Inf\n");
  EXPECT_EQ(text(-std::numeric_limits<double>::infinity()), "-Inf\n");
  EXPECT_EQ(text(std::numeric_limits<double>::quiet_NaN()), "NaN\n");
}

TEST(Metrics, AFamilyWithoutSamplesIsNotShown) {
  EXPECT_EQ(format_metrics({MetricFamily("x", MetricType::gauge, "h")}), "");
}

TEST(Metrics, SamplesWithTheSameLabelsAreOne) {
  MetricFamily f("x_total", MetricType::counter, "h");
  f.add({{"a", "1"}}, uint64_t{2}).add({{"a", "2"}}, uint64_t{1}).add({{"a", "1"}}, uint64_t{40});
  EXPECT_EQ(f.text(), "# HELP x_total h\n# TYPE x_total counter\nx_total{a=\"1\"} 42\nx_total{a=\"2\"} 1\n");
}

TEST(Metrics, WrongNamesAreRefused) {
  for (const char* name : {"", "1x", "a-b", "a b", "ä"})
    EXPECT_THROW(MetricFamily(name, MetricType::gauge, "h"), std::logic_error) << name;
  EXPECT_THROW(MetricFamily("x", MetricType::counter, "h"), std::logic_error);
  EXPECT_THROW(MetricFamily("x", MetricType::gauge, ""), std::logic_error);
  MetricFamily f("a:b", MetricType::gauge, "h");
  EXPECT_THROW(f.add({{"a:b", ""}}, uint64_t{1}), std::logic_error);
  EXPECT_THROW(format_metrics({f, f}), std::logic_error);
}

TEST(Metrics, AHistogramIsCumulativeAndEndsWithInfinity) {
  MetricFamily f("teal_time_seconds", MetricType::histogram, "Time.");
  f.add({{"pool", "blue"}}, Histogram{{0.5, 1}, {3, 0, 2}, 4.25});
  f.add({{"pool", "blue"}}, Histogram{{0.5, 1}, {1, 1, 0}, 1});
  EXPECT_EQ(f.text(),
            "# HELP teal_time_seconds Time.\n# TYPE teal_time_seconds histogram\n"
            "teal_time_seconds_bucket{pool=\"blue\",le=\"0.5\"} 4\n"
            "teal_time_seconds_bucket{pool=\"blue\",le=\"1\"} 5\n"
            "teal_time_seconds_bucket{pool=\"blue\",le=\"+Inf\"} 7\n"
            "teal_time_seconds_sum{pool=\"blue\"} 5.25\n"
            "teal_time_seconds_count{pool=\"blue\"} 7\n");
}

TEST(Metrics, AHistogramThatIsNoneIsRefused) {
  MetricFamily f("x", MetricType::histogram, "h"), gauge("y", MetricType::gauge, "h");
  EXPECT_THROW(f.add({}, uint64_t{1}), std::logic_error);
  EXPECT_THROW(f.add({}, 1.0), std::logic_error);
  EXPECT_THROW(gauge.add({}, Histogram{{}, {1}, 0}), std::logic_error);
  EXPECT_THROW(f.add({}, Histogram{{1}, {1}, 0}), std::logic_error);
  EXPECT_THROW(f.add({}, Histogram{{1, 1}, {1, 2, 3}, 0}), std::logic_error);
}

}  // namespace
}  // namespace teal::telemetry
