// SPDX-License-Identifier: Apache-2.0
#include "model/rule.h"

#include <charconv>
#include <string_view>

#include "config_report.h"
#include "teal/signals.h"

namespace teal::model {

namespace {

constexpr Signal signals[] = {Signal::handshake_failure_ratio, Signal::syn_retransmit_ratio,
                              Signal::early_reset_ratio,       Signal::reset_ratio,
                              Signal::handshake_p50,           Signal::handshake_p99};

// The last bucket has no upper edge: whether a handshake in it took longer than that cannot be told.
constexpr double longest_limit_s = static_cast<double>(1u << (TEAL_HANDSHAKE_BUCKETS - 2)) / TEAL_FINE_TICKS_PER_S;
static_assert(longest_limit_s == 4);  // as the messages and docs/configuration.md say

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(' '), end = text.find_last_not_of(' ');
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin, end - begin + 1);
}

// A decimal number at the front of `text`, which is then what follows it, without blanks.
std::optional<double> take_number(std::string_view& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
  // "inf" and "nan" are numbers to from_chars.
  if (error != std::errc{} || text.find_first_of("0123456789.") != 0) return std::nullopt;
  text = trimmed(text.substr(static_cast<size_t>(stop - text.data())));
  return value;
}

std::string listed_signals() {
  std::string out;
  for (const Signal s : signals) out.append(out.empty() ? "" : ", ").append(to_string(s));
  return out;
}

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) { rule_.text = std::string(trimmed(text)); }

  RuleResult parse() {
    const std::string_view all = trimmed(text_);
    const size_t less = all.find('<');
    if (less == std::string_view::npos) return refuse(all, "POOL.SIGNAL < LIMIT, as in target.reset_ratio < 5 %");
    const std::string_view left = trimmed(all.substr(0, less));
    const size_t dot = left.find('.');
    if (dot == std::string_view::npos) return refuse(left, "POOL.SIGNAL before the <, as in target.reset_ratio");
    if (!subject(left.substr(0, dot), rule_.subject) || rule_.subject == Subject::other)
      return refuse(left.substr(0, dot), "target, blue or green before the dot");
    if (!signal(left.substr(dot + 1))) return refuse(left.substr(dot + 1), "one of " + listed_signals());
    return limit(trimmed(all.substr(less + 1)));
  }

 private:
  static bool subject(std::string_view name, Subject& out) {
    for (const Subject s : {Subject::target, Subject::other, Subject::blue, Subject::green})
      if (name == to_string(s)) {
        out = s;
        return true;
      }
    return false;
  }

  bool signal(std::string_view name) {
    for (const Signal s : signals)
      if (name == to_string(s)) {
        rule_.signal = s;
        return true;
      }
    return false;
  }

  RuleResult limit(std::string_view text) {
    std::string_view rest = text;
    const auto value = take_number(rest);
    const std::string pool = to_string(counterpart(rule_.subject));
    if (!value) return refuse(text, expected_limit());
    if (rest.starts_with('x') || rest.starts_with('*')) {
      if (trimmed(rest.substr(1)) != pool)
        return refuse(trimmed(rest.substr(1)),
                      pool + " after the factor: " + to_string(rule_.subject) + " is compared with it");
      if (*value < 1 || *value > 1000) return refuse(text, "a factor from 1 to 1000");
      rule_.factor = *value;
      return {rule_, {}};
    }
    return is_ratio(rule_.signal) ? ratio(text, *value, rest) : time(text, *value, rest);
  }

  RuleResult ratio(std::string_view text, double value, std::string_view unit) {
    if (!unit.empty() && unit != "%") return refuse(text, expected_limit());
    if (unit == "%") value /= 100;
    if (value <= 0 || value >= 1) return refuse(text, "a ratio between 0 and 1 or between 0 % and 100 %");
    rule_.absolute = value;
    return {rule_, {}};
  }

  RuleResult time(std::string_view text, double value, std::string_view unit) {
    if (unit != "ms" && unit != "s") return refuse(text, expected_limit());
    if (unit == "ms") value /= 1000;
    if (value <= 0 || value > longest_limit_s) return refuse(text, "a time above 0 and of at most 4 s");
    rule_.absolute = value;
    return {rule_, {}};
  }

  [[nodiscard]] std::string expected_limit() const {
    return std::string(is_ratio(rule_.signal) ? "a ratio, as in 5 % or 0.05" : "a time, as in 250 ms or 1.5 s") +
           ", or a factor, as in 1.5 x " + to_string(counterpart(rule_.subject));
  }

  [[nodiscard]] RuleResult refuse(std::string_view found, const std::string& expected) const {
    const std::string part = found.empty() ? "nothing" : quoted(found);
    return {std::nullopt, "found " + part +
                              (found.size() == rule_.text.size() ? "" : " in the rule " + quoted(rule_.text)) +
                              ", expected " + expected};
  }

  const std::string& text_;
  Rule rule_;
};

}  // namespace

const char* to_string(Signal v) {
  switch (v) {
    case Signal::handshake_failure_ratio:
      return "handshake_failure_ratio";
    case Signal::syn_retransmit_ratio:
      return "syn_retransmit_ratio";
    case Signal::early_reset_ratio:
      return "early_reset_ratio";
    case Signal::reset_ratio:
      return "reset_ratio";
    case Signal::handshake_p50:
      return "handshake_p50";
    case Signal::handshake_p99:
      return "handshake_p99";
  }
  return "unknown";
}

bool is_ratio(Signal v) {
  return v != Signal::handshake_p50 && v != Signal::handshake_p99;
}

const char* to_string(Subject v) {
  switch (v) {
    case Subject::target:
      return "target";
    case Subject::other:
      return "other";
    case Subject::blue:
      return "blue";
    case Subject::green:
      return "green";
  }
  return "unknown";
}

Subject counterpart(Subject v) {
  switch (v) {
    case Subject::target:
      return Subject::other;
    case Subject::other:
      return Subject::target;
    case Subject::blue:
      return Subject::green;
    case Subject::green:
      break;
  }
  return Subject::blue;
}

RuleResult parse_rule(const std::string& text) {
  return Parser(text).parse();
}

std::vector<Rule> default_rules() {
  std::vector<Rule> out;
  for (const char* text : {"target.handshake_failure_ratio < 5 %", "target.early_reset_ratio < 5 %",
                           "target.syn_retransmit_ratio < 10 %", "target.handshake_p99 < 3 x other"})
    out.push_back(*parse_rule(text).rule);
  return out;
}

}  // namespace teal::model
