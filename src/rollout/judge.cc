// SPDX-License-Identifier: Apache-2.0
#include "rollout/judge.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "statistics.h"

namespace teal::rollout {

namespace {

// Failures come in clusters (one backend restarts), which the tests below do not know of; and a handful is no reason to
// stop a release.
constexpr uint64_t most_unlucky = 10;

// A flow sends its SYN again up to three times (after 1, 3 and 7 s) before its entry runs out of time: three
// retransmits say no more than one. Counting a third of both is the usual correction for clusters of up to three.
constexpr uint64_t syn_cluster = 3;

// What a rule counts: `bad` of `samples`, of which `open` are not yet decided.
struct Count {
  uint64_t bad = 0, samples = 0, open = 0;
  [[nodiscard]] double ratio() const {
    return samples == 0 ? 0 : static_cast<double>(bad) / static_cast<double>(samples);
  }
};

// Counters are read one after the other while they rise, and a flow may end in a later window than it began in: no
// count may exceed what it is of.
Count count_of(model::Signal signal, const PoolSignals& s) {
  Count c;
  switch (signal) {
    case model::Signal::handshake_failure_ratio: {
      c.bad = s.refused + s.timed_out;
      const uint64_t ended = s.handshakes + c.bad;
      c.samples = std::max(s.begun, ended);
      c.open = c.samples - ended;
      break;
    }
    case model::Signal::syn_retransmit_ratio:
      c.bad = s.syn_retransmits / syn_cluster;
      c.samples = s.begun / syn_cluster;
      break;
    case model::Signal::early_reset_ratio:
      c.bad = s.early_resets;
      c.samples = s.handshakes;
      break;
    case model::Signal::reset_ratio:
      c.bad = s.early_resets + s.resets;
      c.samples = s.handshakes;
      break;
    case model::Signal::handshake_p50:
    case model::Signal::handshake_p99:
      break;
  }
  c.bad = std::min(c.bad, c.samples);
  return c;
}

// As above for people, to whom corrected counts would be a puzzle.
Count shown_of(model::Signal signal, const PoolSignals& s) {
  if (signal == model::Signal::syn_retransmit_ratio) return {s.syn_retransmits, s.begun, 0};
  return count_of(signal, s);
}

double allowed_share(model::Signal percentile) {
  return percentile == model::Signal::handshake_p50 ? 0.5 : 0.01;
}

double edge_s(size_t bucket) {
  return static_cast<double>(teal_handshake_edge(static_cast<uint32_t>(bucket))) / TEAL_FINE_TICKS_PER_S;
}

uint64_t timed(const PoolSignals& s) {
  return std::accumulate(s.handshake.begin(), s.handshake.end(), uint64_t{0});
}

// Bucket of the percentile above which no more than `share` of the handshakes lie.
size_t percentile_bucket(const PoolSignals& s, double share) {
  const double most = share * static_cast<double>(timed(s));
  uint64_t above = timed(s);
  for (size_t i = 0; i + 1 < s.handshake.size(); ++i) {
    above -= s.handshake[i];
    if (static_cast<double>(above) <= most) return i;
  }
  return s.handshake.size() - 1;
}

// Handshakes that surely took longer than the limit: those in buckets that begin at it or after it. Those that share a
// bucket with the limit are not held against the pool.
Count slower_than(const PoolSignals& s, double limit_s) {
  Count c;
  for (size_t i = 1; i < s.handshake.size(); ++i)
    if (edge_s(i - 1) >= limit_s) c.bad += s.handshake[i];
  c.samples = timed(s);
  return c;
}

std::string percent(double ratio) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g %%", ratio * 100);
  return text;
}

std::string time_text(double s) {
  char text[32];
  if (s < 1)
    std::snprintf(text, sizeof text, "%.3g ms", s * 1000);
  else
    std::snprintf(text, sizeof text, "%.3g s", s);
  return text;
}

std::string part(const Count& c, const char* what) {
  return std::to_string(c.bad) + " of " + std::to_string(c.samples) + " " + what;
}

class Judge {
 public:
  Judge(const PoolSignals& target, const PoolSignals& other, model::Pool pool, uint64_t least, double confidence)
      : target_(target), other_(other), pool_(pool), least_(least), chance_(1 - confidence) {}

  Finding operator()(const model::Rule& rule) {
    Finding f;
    f.rule = rule;
    if ((rule.subject == model::Subject::blue && pool_ != model::Pool::blue) ||
        (rule.subject == model::Subject::green && pool_ != model::Pool::green)) {
      f.text = "not judged, the rollout goes to " + std::string(model::to_string(pool_));
    } else if (model::is_ratio(rule.signal)) {
      ratio(f);
    } else {
      percentile(f);
    }
    f.text = rule.text + ": " + f.text;
    return f;
  }

 private:
  // With `worst`, those still open counted as bad.
  [[nodiscard]] bool worse_than(const Count& c, double limit, bool worst = false) const {
    const uint64_t bad = c.bad + (worst ? c.open : 0);
    return bad > most_unlucky && chance_of_at_least(bad, c.samples, limit) < chance_;
  }
  [[nodiscard]] bool worse_than(const Count& c, const Count& o, double factor, bool worst = false) const {
    const uint64_t bad = c.bad + (worst ? c.open : 0);
    return bad > most_unlucky && chance_of_ratio(bad, c.samples, o.bad, o.samples, factor) < chance_;
  }

  void decide(Finding& f, const Count& c, bool failed, bool could_fail) const {
    if (failed) {
      f.verdict = Verdict::fail;
    } else if (c.samples - c.open < least_of(f.rule.signal)) {
      f.verdict = Verdict::insufficient;
      f.text += ", too few to judge: expected " + std::to_string(least_of(f.rule.signal));
    } else if (could_fail) {
      f.verdict = Verdict::insufficient;
      f.text += ", and " + std::to_string(c.open) + " under way decide";
    } else {
      f.verdict = Verdict::pass;
    }
  }

  [[nodiscard]] uint64_t least_of(model::Signal signal) const {
    return signal == model::Signal::syn_retransmit_ratio ? std::max<uint64_t>(1, least_ / syn_cluster) : least_;
  }

  static const char* unit_of(model::Signal signal) {
    return signal == model::Signal::handshake_failure_ratio ? "flows"
           : signal == model::Signal::syn_retransmit_ratio  ? "SYNs"
                                                            : "connections";
  }

  void ratio(Finding& f) {
    const model::Signal signal = f.rule.signal;
    const Count c = count_of(signal, target_), o = count_of(signal, other_);
    const Count shown = shown_of(signal, target_), other_shown = shown_of(signal, other_);
    f.measured = shown.ratio();
    f.bad = shown.bad;
    f.samples = shown.samples;
    f.text = percent(f.measured) + " (" + part(shown, unit_of(signal)) + ")";
    if (f.rule.absolute) {
      f.limit = *f.rule.absolute;
      return decide(f, c, worse_than(c, f.limit), worse_than(c, f.limit, true));
    }
    const double factor = f.rule.factor.value_or(1);
    f.limit = factor * other_shown.ratio();
    f.text += " against " + percent(other_shown.ratio()) + " (" + part(other_shown, unit_of(signal)) + ")";
    if (o.samples - o.open < least_of(signal)) return unjudged(f);
    decide(f, c, worse_than(c, o, factor), worse_than(c, o, factor, true));
  }

  void percentile(Finding& f) {
    const double share = allowed_share(f.rule.signal);
    const size_t bucket = percentile_bucket(target_, share);
    const bool last = bucket + 1 == target_.handshake.size();
    f.measured = last ? edge_s(bucket - 1) : edge_s(bucket);
    f.text = timed(target_) == 0 ? "no handshake" : (last ? "from " : "up to ") + time_text(f.measured);
    if (f.rule.absolute) {
      f.limit = *f.rule.absolute;
      const Count c = slower_than(target_, f.limit);
      f.bad = c.bad;
      f.samples = c.samples;
      f.text += " (" + part(c, "slower") + ")";
      return decide(f, c, worse_than(c, share), false);
    }
    const double factor = f.rule.factor.value_or(1);
    const size_t others = percentile_bucket(other_, share);
    f.limit = factor * edge_s(others);
    const Count c = slower_than(target_, f.limit), o = slower_than(other_, f.limit);
    f.bad = c.bad;
    f.samples = c.samples;
    f.text += " (" + part(c, "slower") + " than " + time_text(f.limit) + ") against up to " +
              time_text(edge_s(others)) + " (" + part(o, "slower") + ")";
    if (o.samples < least_) return unjudged(f);
    // The other's percentile is itself measured, on perhaps few: the target must also have more slow ones than it, by
    // more than chance. The limit was chosen by the other's data, out of as many edges as there are: so much smaller
    // must the chance be.
    const double chosen = static_cast<double>(target_.handshake.size());
    decide(f, c, worse_than(c, share) && chance_of_ratio(c.bad, c.samples, o.bad, o.samples, 1) < chance_ / chosen,
           false);
  }

  void unjudged(Finding& f) const {
    f.text += ", too few to compare with: expected " + std::to_string(least_of(f.rule.signal));
  }

  const PoolSignals &target_, &other_;
  model::Pool pool_;
  uint64_t least_;
  double chance_;
};

}  // namespace

Judged judge(const std::vector<model::Rule>& rules, const PoolSignals& target, const PoolSignals& other,
             model::Pool target_pool, uint32_t min_sample, double confidence) {
  Judged out;
  Judge one(target, other, target_pool, min_sample, confidence);
  bool passed = false;
  std::string all, failed, missing;
  const auto add = [](std::string& to, const std::string& text) { to.append(to.empty() ? "" : "; ").append(text); };
  for (const model::Rule& rule : rules.empty() ? model::default_rules() : rules) {
    Finding& f = out.findings.emplace_back(one(rule));
    // Whatever a rule measures, nothing is judged on too few flows.
    if (target.begun < min_sample && f.verdict) f.verdict = Verdict::insufficient;
    add(all, f.text);
    passed |= f.verdict == Verdict::pass;
    if (f.verdict == Verdict::fail) add(failed, f.text);
    if (f.verdict == Verdict::insufficient) add(missing, f.text);
  }
  Judgement& j = out.judgement;
  if (target.begun < min_sample) {
    j.verdict = Verdict::insufficient;
    j.text = std::to_string(target.begun) + " flows begun, too few to judge: expected " + std::to_string(min_sample);
  } else if (!failed.empty()) {
    j.verdict = Verdict::fail;
    j.text = failed;
  } else {
    j.verdict = missing.empty() && passed ? Verdict::pass : Verdict::insufficient;
    j.text = missing.empty() ? all : missing;
  }
  return out;
}

}  // namespace teal::rollout
