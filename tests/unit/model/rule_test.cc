// SPDX-License-Identifier: Apache-2.0
#include "model/rule.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace {

using namespace teal::model;

Rule rule_of(const std::string& text) {
  const RuleResult result = parse_rule(text);
  EXPECT_TRUE(result.rule) << text << ": " << result.error;
  EXPECT_EQ(result.error, "") << text;
  return result.rule.value_or(Rule{});
}

TEST(Rule, AbsoluteRatios) {
  for (const char* text : {"green.handshake_failure_ratio < 1 %", "green.handshake_failure_ratio<1%",
                           "  green.handshake_failure_ratio  <  0.01  "}) {
    const Rule r = rule_of(text);
    EXPECT_EQ(r.subject, Subject::green);
    EXPECT_EQ(r.signal, Signal::handshake_failure_ratio);
    EXPECT_DOUBLE_EQ(r.absolute.value_or(0), 0.01) << text;
    EXPECT_EQ(r.factor, std::nullopt);
  }
  EXPECT_EQ(rule_of(" target.reset_ratio < 5 % ").text, "target.reset_ratio < 5 %");
}

TEST(Rule, AbsoluteTimes) {
  EXPECT_DOUBLE_EQ(*rule_of("target.handshake_p99 < 250 ms").absolute, 0.25);
  EXPECT_DOUBLE_EQ(*rule_of("blue.handshake_p50 < 1.5s").absolute, 1.5);
  EXPECT_DOUBLE_EQ(*rule_of("blue.handshake_p50 < 4 s").absolute, 4);
}

TEST(Rule, AgainstTheOtherPool) {
  const struct {
    const char* text;
    Subject subject;
    double factor;
  } cases[] = {{"green.handshake_p99 < 1.5 x blue", Subject::green, 1.5},
               {"blue.handshake_p99 < 2x green", Subject::blue, 2},
               {"target.reset_ratio < 1 * other", Subject::target, 1},
               {"target.syn_retransmit_ratio < 1000 xother", Subject::target, 1000}};
  for (const auto& c : cases) {
    const Rule r = rule_of(c.text);
    EXPECT_EQ(r.subject, c.subject) << c.text;
    EXPECT_EQ(r.absolute, std::nullopt) << c.text;
    EXPECT_DOUBLE_EQ(r.factor.value_or(0), c.factor) << c.text;
  }
}

TEST(Rule, EverySignal) {
  for (const Signal s : {Signal::handshake_failure_ratio, Signal::syn_retransmit_ratio, Signal::early_reset_ratio,
                         Signal::reset_ratio, Signal::handshake_p50, Signal::handshake_p99}) {
    const std::string left = std::string("target.") + to_string(s) + " < ";
    EXPECT_EQ(rule_of(left + "2 x other").signal, s);
    EXPECT_EQ(parse_rule(left + "5 %").rule.has_value(), is_ratio(s));
    EXPECT_EQ(parse_rule(left + "0.05").rule.has_value(), is_ratio(s));
    EXPECT_EQ(parse_rule(left + "5 ms").rule.has_value(), !is_ratio(s));
  }
}

// More of these, word for word: bad_configs.txt.
TEST(Rule, WhatIsNone) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "found nothing, expected POOL.SIGNAL < LIMIT, as in target.reset_ratio < 5 %"},
      {"<", "found nothing in the rule \"<\", expected POOL.SIGNAL before the <, as in target.reset_ratio"},
      {"target.reset_ratio <",
       "found nothing in the rule \"target.reset_ratio <\", expected a ratio, as in 5 % or 0.05, or a factor, as in "
       "1.5 x other"},
      {"target.reset_ratio < 5 % of other",
       "found \"5 % of other\" in the rule \"target.reset_ratio < 5 % of other\", expected a ratio, as in 5 % or 0.05, "
       "or a factor, as in 1.5 x other"},
      {"green.reset_ratio < 2 x",
       "found nothing in the rule \"green.reset_ratio < 2 x\", expected blue after the factor: green is compared with "
       "it"},
      {"green.reset_ratio < 2 x green",
       "found \"green\" in the rule \"green.reset_ratio < 2 x green\", expected blue after the factor: green is "
       "compared with it"}};
  for (const auto& [text, error] : cases) {
    EXPECT_FALSE(parse_rule(text).rule) << text;
    EXPECT_EQ(parse_rule(text).error, error);
  }
  for (const char* limit : {"nan", "inf", "-1 %", "0", "0 %", "1", "1e-2", "5 %%", "0x1p-4", "< 5 %", "5 % x other",
                            "0.999 x other", "1001 x other", "nan x other", "1,5 x other"})
    EXPECT_FALSE(parse_rule(std::string("target.reset_ratio < ") + limit).rule) << limit;
  for (const char* limit : {"250", "0 ms", "4.001 s", "5 m", "-1 s"})
    EXPECT_FALSE(parse_rule(std::string("target.handshake_p99 < ") + limit).rule) << limit;
  for (const char* left : {"Target.reset_ratio", "target .reset_ratio", "target.reset_ratio.x", "target", "target."})
    EXPECT_FALSE(parse_rule(std::string(left) + " < 5 %").rule) << left;
}

TEST(Rule, AnyTextIsARuleOrAnErrorOfOneLine) {
  std::mt19937 random(11);
  const std::string letters = "target.other.reset_ratio<5%x mshandshake_p99\n\t\xff\"0123456789";
  for (int i = 0; i < 20'000; ++i) {
    std::string text = i % 2 ? "target.reset_ratio < 1.5 x other" : "";
    for (unsigned n = random() % 6; n > 0; --n)
      text.insert(random() % (text.size() + 1), 1, letters[random() % letters.size()]);
    const RuleResult result = parse_rule(text);
    EXPECT_NE(result.rule.has_value(), !result.error.empty()) << text;
    EXPECT_EQ(result.error.find('\n'), std::string::npos) << text;
    if (!result.rule) continue;
    EXPECT_NE(result.rule->absolute.has_value(), result.rule->factor.has_value()) << text;
  }
}

TEST(Rule, Defaults) {
  const auto rules = default_rules();
  ASSERT_EQ(rules.size(), 4u);
  EXPECT_EQ(rules[0].text, "target.handshake_failure_ratio < 5 %");
  EXPECT_EQ(rules[1].text, "target.early_reset_ratio < 5 %");
  EXPECT_EQ(rules[2].text, "target.syn_retransmit_ratio < 10 %");
  EXPECT_EQ(rules[3].text, "target.handshake_p99 < 3 x other");
  for (const Rule& r : rules) EXPECT_EQ(r, rule_of(r.text));
}

TEST(Rule, WordsOfEnumerations) {
  for (const Subject s : {Subject::target, Subject::other, Subject::blue, Subject::green})
    EXPECT_EQ(counterpart(counterpart(s)), s) << to_string(s);
  EXPECT_EQ(counterpart(Subject::target), Subject::other);
  EXPECT_EQ(counterpart(Subject::green), Subject::blue);
}

}  // namespace
