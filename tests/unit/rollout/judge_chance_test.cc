// SPDX-License-Identifier: Apache-2.0
// The judge over windows drawn by chance, seeded: how often it is wrong about a healthy pool, how soon right about a
// bad one. And the chances themselves against sums of their definition.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <string>

#include "rollout/judge.h"
#include "statistics.h"

namespace {

using namespace teal::rollout;
using teal::model::Pool;
using teal::model::Rule;

constexpr uint32_t min_sample = 50;
constexpr double confidence = 0.999;

std::vector<Rule> rule(const std::string& text) {
  return {teal::model::parse_rule(text).rule.value()};
}

// What a pool is like: each connection by itself.
struct Nature {
  double refused = 0, early_reset = 0, retransmit = 0;
  double median_s = 0.004, spread = 1;  // of log-normal handshakes
};

class Crowd {
 public:
  explicit Crowd(unsigned seed) : random_(seed) {}

  void connect(PoolSignals& s, const Nature& n) {
    s.begun++;
    // A flow's SYN that is lost is lost again as often.
    for (int i = 0; i < 3 && chance(n.retransmit); ++i) s.syn_retransmits++;
    if (chance(n.refused)) {
      s.refused++;
      return;
    }
    s.handshakes++;
    const double time = n.median_s * std::exp(n.spread * normal_(random_));
    s.handshake[teal_handshake_bucket(static_cast<uint32_t>(time * TEAL_FINE_TICKS_PER_S))]++;
    if (chance(n.early_reset)) s.early_resets++;
  }

  PoolSignals window(uint64_t flows, const Nature& n) {
    PoolSignals s;
    for (uint64_t i = 0; i < flows; ++i) connect(s, n);
    return s;
  }

  // Between the two, as often small as large.
  uint64_t size(double least, double most) {
    return static_cast<uint64_t>(
        std::exp(std::uniform_real_distribution<double>(std::log(least), std::log(most))(random_)));
  }

 private:
  bool chance(double p) { return p > 0 && std::uniform_real_distribution<double>()(random_) < p; }

  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
};

TEST(Chance, OfABinomialIsTheSumOfItsTerms) {
  for (const uint64_t n : {1u, 7u, 50u, 200u})
    for (const double p : {0.001, 0.01, 0.05, 0.5, 0.9}) {
      double sum = 0;
      for (uint64_t k = n + 1; k-- > 0;) {
        const auto N = static_cast<double>(n), K = static_cast<double>(k);
        sum += std::exp(std::lgamma(N + 1) - std::lgamma(K + 1) - std::lgamma(N - K + 1) + K * std::log(p) +
                        (N - K) * std::log1p(-p));
        EXPECT_NEAR(chance_of_at_least(k, n, p), sum, 1e-9 + 1e-6 * sum) << k << " of " << n << " at " << p;
      }
    }
  EXPECT_EQ(chance_of_at_least(0, 10, 0.5), 1);
  EXPECT_DOUBLE_EQ(chance_of_at_least(10, 10, 0.5), std::pow(0.5, 10));
  EXPECT_GT(chance_of_at_least(50'000'000, 1'000'000'000, 0.05), 0.4);  // no loss of range
  EXPECT_LT(chance_of_at_least(50'100'000, 1'000'000'000, 0.05), 1e-9);
}

TEST(Chance, OfARatioDependsOnBothSamples) {
  EXPECT_EQ(chance_of_ratio(5, 0, 5, 10, 1), 1);
  EXPECT_EQ(chance_of_ratio(5, 10, 0, 0, 1), 1);
  EXPECT_DOUBLE_EQ(chance_of_ratio(10, 100, 0, 100, 1), std::pow(0.5, 10));
  EXPECT_DOUBLE_EQ(chance_of_ratio(10, 100, 0, 100, 3), std::pow(0.75, 10));
  EXPECT_GT(chance_of_ratio(10, 100, 0, 10, 1), chance_of_ratio(10, 100, 0, 1000, 1));
}

struct Alarm {
  const char* what;
  const char* rule;
  Nature target, other;
  double most;  // false alarms in 10,000
};

// Each rule over 10,000 windows of healthy pools, of 50 to 3,000 flows: at its limit fewer false alarms than
// 1 - confidence (10), and none where there is room to the limit.
TEST(JudgeByChance, FalseAlarmsAreRarerThanPromised) {
  const Nature plain;
  const Alarm cases[] = {
      {"failures, at the limit", "target.handshake_failure_ratio < 5 %", {.refused = 0.05}, {}, 10},
      {"failures, with room", "target.handshake_failure_ratio < 5 %", {.refused = 0.02}, {}, 0},
      {"early resets, at the limit", "target.early_reset_ratio < 2 %", {.early_reset = 0.02}, {}, 10},
      // 0.0909, its square and its cube are 10 % of retransmits.
      {"retransmits, at the limit", "target.syn_retransmit_ratio < 10 %", {.retransmit = 0.0909}, {}, 10},
      {"failures, the same as the other's",
       "target.handshake_failure_ratio < 1 x other",
       {.refused = 0.05},
       {.refused = 0.05},
       10},
      {"failures, with room", "target.handshake_failure_ratio < 2 x other", {.refused = 0.03}, {.refused = 0.03}, 0},
      {"p99, the same as the other's", "target.handshake_p99 < 1 x other", plain, plain, 10},
      {"p99, heavy tails", "target.handshake_p99 < 1.5 x other", {.spread = 2}, {.spread = 2}, 10},
      {"p50, the same as the other's", "target.handshake_p50 < 1 x other", plain, plain, 10},
      // 4 ms x e^(2.326): 1 % take longer than 41 ms
      {"p99, at an absolute limit", "target.handshake_p99 < 40.9 ms", plain, {}, 10},
      {"p50, just below an edge", "target.handshake_p50 < 15.625 ms", {.median_s = 0.015625}, {}, 10},
  };
  unsigned seed = 100;
  for (const Alarm& c : cases) {
    Crowd crowd(seed++);
    const auto rules = rule(c.rule);
    int alarms = 0, judged = 0;
    // A few large crowds are cut into windows: drawing is what takes the time.
    for (int i = 0; i < 10'000; ++i) {
      const bool compared = rules[0].factor.has_value();
      const uint64_t n = crowd.size(min_sample, i % 10 == 0 ? 3000 : 300);
      const PoolSignals target = crowd.window(n, c.target);
      const PoolSignals other =
          compared ? crowd.window(crowd.size(min_sample, i % 10 == 0 ? 3000 : 300), c.other) : PoolSignals{};
      const Judged j = judge(rules, target, other, Pool::green, min_sample, confidence);
      alarms += j.judgement.verdict == Verdict::fail;
      judged += j.findings[0].verdict.has_value();
    }
    EXPECT_LE(alarms, c.most) << c.what;
    EXPECT_GT(judged, 9000) << c.what;
  }
}

// A window is judged again and again while it grows: with room to the limit that rolls nothing back either.
TEST(JudgeByChance, LookingOftenRollsBackNothingHealthy) {
  Crowd crowd(7);
  int alarms = 0;
  for (int release = 0; release < 200; ++release) {
    PoolSignals target, other;
    const Nature healthy{.refused = 0.01, .early_reset = 0.01};
    for (int flow = 0; flow < 3000; ++flow) {
      crowd.connect(target, healthy);
      crowd.connect(other, healthy);
      if (flow % 10 == 9)
        alarms += judge({}, target, other, Pool::green, min_sample, confidence).judgement.verdict == Verdict::fail;
    }
  }
  EXPECT_EQ(alarms, 0);
}

// The first window to fail, connection by connection, after so many bad ones.
uint64_t bad_until_failed(const Nature& bad, const std::function<uint64_t(const PoolSignals&)>& count, unsigned seed,
                          const PoolSignals& start = {}) {
  Crowd crowd(seed);
  const PoolSignals other = crowd.window(2000, {.refused = 0.005});
  PoolSignals target = start;
  for (int i = 0; i < 5000; ++i) {
    crowd.connect(target, bad);
    if (judge({}, target, other, Pool::green, min_sample, confidence).judgement.verdict == Verdict::fail)
      return count(target - start);
  }
  return UINT64_MAX;
}

TEST(JudgeByChance, BadPoolsAreFoundWithinAHundredBadConnections) {
  const auto refused = [](const PoolSignals& s) { return s.refused; };
  const auto reset = [](const PoolSignals& s) { return s.early_resets; };
  const auto slow = [](const PoolSignals& s) { return s.handshakes; };
  for (unsigned seed = 1; seed <= 50; ++seed) {
    EXPECT_LE(bad_until_failed({.refused = 1}, refused, seed), min_sample);
    EXPECT_LE(bad_until_failed({.refused = 0.5}, refused, seed), 100u) << "half of its backends down";
    EXPECT_LE(bad_until_failed({.refused = 0.2}, refused, seed), 100u) << "one of five down";
    EXPECT_LE(bad_until_failed({.early_reset = 1}, reset, seed), min_sample);
    EXPECT_LE(bad_until_failed({.early_reset = 0.3}, reset, seed), 100u);
    EXPECT_LE(bad_until_failed({.median_s = 0.5, .spread = 0.3}, slow, seed), min_sample);
    // After a good beginning: as soon as the ratio can have it.
    Crowd good(seed);
    EXPECT_LE(bad_until_failed({.refused = 1}, refused, seed, good.window(500, {})), 100u);
  }
}

}  // namespace
