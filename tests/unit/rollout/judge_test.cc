// SPDX-License-Identifier: Apache-2.0
// The judge over known windows, and what must hold over all. By chance: judge_chance_test.cc.
#include "rollout/judge.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace {

using namespace teal::rollout;
using teal::model::Pool;
using teal::model::Rule;

constexpr uint32_t min_sample = 50;
constexpr double confidence = 0.999;
constexpr size_t fast = 3, slow = 12;  // buckets: below 2 ms, below 1 s

std::vector<Rule> rules(std::initializer_list<const char*> texts) {
  std::vector<Rule> out;
  for (const char* text : texts) out.push_back(teal::model::parse_rule(text).rule.value());
  return out;
}

PoolSignals good_flows(uint64_t n, size_t bucket = fast) {
  PoolSignals s;
  s.begun = s.handshakes = s.handshake[bucket] = n;
  return s;
}
PoolSignals refused(uint64_t n) {
  PoolSignals s;
  s.begun = s.refused = n;
  return s;
}
PoolSignals timed_out(uint64_t n) {
  PoolSignals s;
  s.begun = s.timed_out = n;
  return s;
}
PoolSignals under_way(uint64_t n) {
  PoolSignals s;
  s.begun = n;
  return s;
}
PoolSignals early_resets(uint64_t n) {
  PoolSignals s = good_flows(n);
  s.early_resets = n;
  return s;
}
PoolSignals later_resets(uint64_t n) {
  PoolSignals s = good_flows(n);
  s.resets = n;
  return s;
}
PoolSignals retransmitted(uint64_t n, uint64_t times = 1) {
  PoolSignals s = good_flows(n);
  s.syn_retransmits = n * times;
  return s;
}
PoolSignals operator+(PoolSignals a, const PoolSignals& b) {
  return a += b;
}

Judged judged(const std::vector<Rule>& r, const PoolSignals& target, const PoolSignals& other = {},
              Pool pool = Pool::green) {
  return judge(r, target, other, pool, min_sample, confidence);
}
Verdict verdict(const std::vector<Rule>& r, const PoolSignals& target, const PoolSignals& other = {},
                Pool pool = Pool::green) {
  return judged(r, target, other, pool).judgement.verdict;
}

const char* name(Verdict v) {
  return v == Verdict::pass ? "pass" : v == Verdict::fail ? "fail" : "insufficient";
}

struct Case {
  const char* what;
  std::vector<Rule> rules;
  PoolSignals target, other;
  Verdict expected;
};

TEST(Judge, KnownWindows) {
  const auto pass = Verdict::pass, fail = Verdict::fail, insufficient = Verdict::insufficient;
  const auto failures = rules({"target.handshake_failure_ratio < 5 %"});
  const auto defaults = teal::model::default_rules();
  const auto warm = good_flows(10'000);
  const Case cases[] = {
      {"nothing at all", defaults, {}, warm, insufficient},
      {"a hundred refused", defaults, refused(100), warm, fail},
      {"as many as the least sample, all refused", defaults, refused(50), warm, fail},
      {"ten refused, no other", defaults, refused(10), warm, insufficient},
      {"ten refused of a thousand", defaults, refused(10) + good_flows(990), warm, pass},
      {"ten refused of sixty: 17 %, but ten", failures, refused(10) + good_flows(50), {}, pass},
      {"eleven refused of sixty", failures, refused(11) + good_flows(49), {}, fail},
      {"a thousand refused of ten thousand", defaults, refused(1000) + good_flows(9000), warm, fail},
      {"1 % noise in 10,000", defaults, refused(100) + good_flows(9900), warm, pass},
      {"at the limit", failures, refused(500) + good_flows(9500), {}, pass},
      {"over it, as chance allows: z = 2.3", failures, refused(550) + good_flows(9450), {}, pass},
      {"over it by more: z = 3.7", failures, refused(580) + good_flows(9420), {}, fail},
      {"a hundred timed out", defaults, timed_out(100), warm, fail},
      {"a hundred under way", defaults, under_way(100), warm, insufficient},
      {"half of all under way", failures, under_way(5000) + good_flows(5000), {}, insufficient},
      {"a few under way", failures, under_way(100) + good_flows(9900), {}, pass},
      {"so many under way that they decide", failures, under_way(600) + good_flows(9400), {}, insufficient},
      {"ended in this window, begun before it", failures, refused(0) + good_flows(100), {}, pass},
      {"a hundred reset early", defaults, early_resets(100), warm, fail},
      {"ten reset early of a thousand", defaults, early_resets(10) + good_flows(990), warm, pass},
      {"reset later is another rule's", defaults, later_resets(100), warm, pass},
      {"reset at any time", rules({"target.reset_ratio < 5 %"}), later_resets(50) + early_resets(50), {}, fail},
      {"reset later, within the limit",
       rules({"target.reset_ratio < 20 %"}),
       later_resets(10) + good_flows(90),
       {},
       pass},
      {"retransmitted SYNs", rules({"target.syn_retransmit_ratio < 10 %"}), retransmitted(100), {}, fail},
      {"each of a hundred three times, none completed",
       rules({"target.syn_retransmit_ratio < 10 %"}),
       [] {
         auto s = under_way(100);
         s.syn_retransmits = 300;
         return s;
       }(),
       {},
       fail},
      {"eleven flows of 300 that sent three each: 11 %, in clusters",
       rules({"target.syn_retransmit_ratio < 10 %"}),
       retransmitted(11, 3) + good_flows(289),
       {},
       pass},
      {"slow", defaults, good_flows(100, slow), warm, fail},
      {"one in a hundred slow, as the other", defaults, good_flows(10, slow) + good_flows(990),
       good_flows(100, slow) + good_flows(9900), pass},
      {"one in ten slow", defaults, good_flows(100, slow) + good_flows(900), warm, fail},
      {"the next bucket, which may begin where the other's ends", rules({"target.handshake_p99 < 1.01 x other"}),
       good_flows(10'000, fast + 1), good_flows(10'000, fast), pass},
      {"the one after it", rules({"target.handshake_p99 < 1.01 x other"}), good_flows(10'000, fast + 2),
       good_flows(10'000, fast), fail},
      {"the next bucket is surely slower", rules({"target.handshake_p99 < 1 x other"}), good_flows(10'000, fast + 1),
       good_flows(10'000, fast), fail},
      {"half of them at twice the time", rules({"target.handshake_p50 < 1.5 x other"}),
       good_flows(400, fast) + good_flows(600, fast + 2), good_flows(1000, fast), fail},
      {"fewer than half", rules({"target.handshake_p50 < 1.5 x other"}),
       good_flows(600, fast) + good_flows(400, fast + 2), good_flows(1000, fast), pass},
      {"p99 within an absolute limit", rules({"target.handshake_p99 < 1 s"}), good_flows(1000, slow), {}, pass},
      {"p99 over it", rules({"target.handshake_p99 < 1 s"}), good_flows(1000, slow + 1), {}, fail},
      {"a limit inside of a bucket is not held against it",
       rules({"target.handshake_p99 < 600 ms"}),
       good_flows(1000, slow),
       {},
       pass},
      {"p99 in the last bucket",
       rules({"target.handshake_p99 < 4 s"}),
       good_flows(100, TEAL_HANDSHAKE_BUCKETS - 1),
       {},
       fail},
      {"too few handshakes for a percentile",
       rules({"target.handshake_p99 < 1 s"}),
       good_flows(49) + under_way(10),
       {},
       insufficient},
      {"more failures than the other", rules({"target.handshake_failure_ratio < 1.5 x other"}),
       refused(100) + good_flows(900), refused(100) + good_flows(9900), fail},
      {"as many as the other", rules({"target.handshake_failure_ratio < 1.5 x other"}), refused(20) + good_flows(980),
       refused(200) + good_flows(9800), pass},
      {"the other is as bad", rules({"target.handshake_failure_ratio < 2 x other"}), refused(1000), refused(1000),
       pass},
      {"the other has failed never", rules({"target.handshake_failure_ratio < 2 x other"}),
       refused(20) + good_flows(980), good_flows(9900), fail},
      {"ten failures are ten, whatever the other", rules({"target.handshake_failure_ratio < 2 x other"}),
       refused(10) + good_flows(90), good_flows(9900), pass},
      {"too few have ended", failures, good_flows(45) + under_way(8), {}, insufficient},
      {"too few of the other, nothing else", rules({"target.handshake_failure_ratio < 2 x other"}), refused(1000),
       good_flows(49), insufficient},
      {"no rule has a verdict", rules({"blue.reset_ratio < 1 %"}), early_resets(1000), warm, insufficient},
  };
  for (const Case& c : cases) {
    const Judged j = judged(c.rules, c.target, c.other);
    EXPECT_STREQ(name(j.judgement.verdict), name(c.expected)) << c.what << ": " << j.judgement.text;
  }
}

TEST(Judge, AtTheEndThereIsNothingToCompareWith) {
  // 100 % on the target: the other pool begins no flow. The comparison is left out, the rest decides.
  const auto defaults = teal::model::default_rules();
  const Judged j = judged(defaults, good_flows(1000));
  EXPECT_EQ(j.judgement.verdict, Verdict::pass);
  EXPECT_EQ(j.findings.at(0).verdict, Verdict::pass);
  EXPECT_EQ(j.findings.at(3).verdict, std::nullopt);
  EXPECT_EQ(verdict(defaults, early_resets(1000)), Verdict::fail);
}

TEST(Judge, NoRulesAreTheDefaultRules) {
  const auto target = refused(100), other = good_flows(100);
  const Judged none = judged({}, target, other), defaults = judged(teal::model::default_rules(), target, other);
  EXPECT_EQ(none.judgement.text, defaults.judgement.text);
  EXPECT_EQ(none.judgement.verdict, Verdict::fail);
  EXPECT_EQ(none.findings.size(), 4u);
}

TEST(Judge, AColourIsJudgedWhileItIsTheTarget) {
  const auto both = rules({"green.early_reset_ratio < 5 %", "blue.early_reset_ratio < 50 %"});
  const auto target = early_resets(100) + good_flows(300);
  EXPECT_EQ(verdict(both, target, {}, Pool::green), Verdict::fail);
  EXPECT_EQ(verdict(both, target, {}, Pool::blue), Verdict::pass);
  const Judged j = judged(both, target, {}, Pool::blue);
  EXPECT_EQ(j.findings[0].verdict, std::nullopt);
  EXPECT_EQ(j.findings[0].text, "green.early_reset_ratio < 5 %: not judged, the rollout goes to blue");
}

TEST(Judge, SaysWhatWasMeasured) {
  EXPECT_EQ(judged({}, refused(100), good_flows(1000)).judgement.text,
            "target.handshake_failure_ratio < 5 %: 100 % (100 of 100 flows)");
  EXPECT_EQ(
      judged({}, good_flows(100, slow), good_flows(1000)).judgement.text,
      "target.handshake_p99 < 3 x other: up to 1 s (100 of 100 slower than 5.86 ms) against up to 1.95 ms (0 of 1000 "
      "slower)");
  EXPECT_EQ(judged({}, refused(7)).judgement.text, "7 flows begun, too few to judge: expected 50");
  EXPECT_EQ(judged(rules({"target.handshake_failure_ratio < 5 %"}), under_way(900) + good_flows(100)).judgement.text,
            "target.handshake_failure_ratio < 5 %: 0 % (0 of 1000 flows), and 900 under way decide");
  EXPECT_EQ(judged(rules({"target.early_reset_ratio < 5 %"}), under_way(60) + good_flows(20)).judgement.text,
            "target.early_reset_ratio < 5 %: 0 % (0 of 20 connections), too few to judge: expected 50");
  EXPECT_EQ(judged(rules({"target.syn_retransmit_ratio < 10 %"}), retransmitted(100, 2)).judgement.text,
            "target.syn_retransmit_ratio < 10 %: 200 % (200 of 100 SYNs)");
  const Judged two = judged(rules({"target.reset_ratio < 1 %", "target.early_reset_ratio < 1 %"}), early_resets(60));
  EXPECT_EQ(two.judgement.text,
            "target.reset_ratio < 1 %: 100 % (60 of 60 connections); target.early_reset_ratio < 1 %: 100 % (60 of 60 "
            "connections)");
  const Finding& f = two.findings.at(0);
  EXPECT_EQ(f.measured, 1);
  EXPECT_EQ(f.limit, 0.01);
  EXPECT_EQ(f.bad, 60u);
  EXPECT_EQ(f.samples, 60u);
}

TEST(Judge, NothingIsJudgedOnFewerThanTheLeastSample) {
  for (uint64_t n = 0; n < min_sample; ++n)
    for (const PoolSignals& s :
         {refused(n), early_resets(n), good_flows(n, slow), retransmitted(n, 3), good_flows(n)}) {
      const Judged j = judged({}, s, good_flows(1000));
      EXPECT_EQ(j.judgement.verdict, Verdict::insufficient) << n;
      for (const Finding& f : j.findings) EXPECT_EQ(f.verdict, Verdict::insufficient) << n << " " << f.text;
    }
}

TEST(Judge, NeverFailsForTenOrFewer) {
  for (uint64_t bad = 0; bad <= 10; ++bad)
    for (uint64_t rest = 0; rest < 200; rest += 10) {
      EXPECT_NE(verdict(rules({"target.handshake_failure_ratio < 0.1 %"}), refused(bad) + good_flows(rest)),
                Verdict::fail);
      EXPECT_NE(verdict(rules({"target.handshake_p99 < 1 x other"}), good_flows(bad, slow) + good_flows(rest),
                        good_flows(100'000)),
                Verdict::fail);
    }
}

// One more bad connection never turns a failure into something better, nor does a lower limit, nor less confidence.
TEST(Judge, IsMonotone) {
  std::mt19937 random(5);
  const char* signals[] = {"handshake_failure_ratio", "syn_retransmit_ratio", "early_reset_ratio", "reset_ratio",
                           "handshake_p50",           "handshake_p99"};
  int failed = 0;
  for (int round = 0; round < 20'000; ++round) {
    const auto some = [&](unsigned most) { return uint64_t{random() % (1u << random() % most)}; };
    PoolSignals t = good_flows(some(14)) + refused(some(9)) + timed_out(some(9)) + under_way(some(9)) +
                    early_resets(some(9)) + later_resets(some(9)) + retransmitted(some(9));
    PoolSignals o = good_flows(some(14)) + refused(some(9)) + early_resets(some(9)) + later_resets(some(9)) +
                    retransmitted(some(9)) + good_flows(some(9), slow);
    t += good_flows(some(9), slow);
    const std::string left = std::string("target.") + signals[round % 6] + " < ";
    const bool time = round % 6 >= 4;
    const bool relative = random() % 2;
    const auto rule = [&](bool strict) {
      const std::string limit = relative ? (strict ? "1.2 x other" : "1.7 x other")
                                : time   ? (strict ? "100 ms" : "300 ms")
                                         : (strict ? "5 %" : "7 %");
      return std::vector{teal::model::parse_rule(left + limit).rule.value()};
    };
    if (verdict(rule(false), t, o) != Verdict::fail) continue;
    ++failed;
    EXPECT_EQ(verdict(rule(true), t, o), Verdict::fail) << left;
    EXPECT_EQ(judge(rule(false), t, o, Pool::green, min_sample, 0.99).judgement.verdict, Verdict::fail) << left;
    const PoolSignals worse[] = {t + refused(1),      t + retransmitted(1, 3), t + early_resets(1),
                                 t + later_resets(1), t + good_flows(1, slow), t + good_flows(1, slow)};
    EXPECT_EQ(verdict(rule(false), worse[round % 6], o), Verdict::fail) << left;
  }
  EXPECT_GT(failed, 1000);
}

// Counters are read while they rise: whatever stands in them, there is a judgement.
TEST(Judge, TakesAnyCounters) {
  std::mt19937_64 random(6);
  const auto r = rules({"target.handshake_failure_ratio < 5 %", "target.syn_retransmit_ratio < 2 x other",
                        "target.early_reset_ratio < 5 %", "target.reset_ratio < 3 x other",
                        "target.handshake_p50 < 1 ms", "target.handshake_p99 < 2 x other"});
  for (int round = 0; round < 5000; ++round) {
    const auto any = [&] {
      PoolSignals s;
      for (uint64_t* counter :
           {&s.begun, &s.handshakes, &s.syn_retransmits, &s.refused, &s.timed_out, &s.early_resets, &s.resets})
        *counter = random() >> (20 + random() % 44);
      for (uint64_t& n : s.handshake) n = random() >> (20 + random() % 44);
      return s;
    };
    const Judged j = judged(r, any(), any());
    EXPECT_EQ(j.findings.size(), r.size());
    EXPECT_FALSE(j.judgement.text.empty());
  }
}

}  // namespace
