// SPDX-License-Identifier: Apache-2.0
// Whether what the packets say of a pool is good enough to go on with. Pure: signals of one window in, a judgement out.
//
// A rule fails only when what was measured is worse than its limit by more than chance explains: the chance of seeing
// it in a pool that is just at the limit is below 1 - confidence, and more than ten connections were bad.
// docs/configuration.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/rule.h"
#include "rollout/machine.h"
#include "rollout/signals.h"

namespace teal::rollout {

struct Finding {
  model::Rule rule;
  // None: there is nothing to compare with (the other pool has too few connections), or the rule speaks of a pool that
  // is not judged.
  std::optional<Verdict> verdict;
  double measured = 0;   // ratio, or seconds (upper edge of the percentile's bucket)
  double limit = 0;      // what it was held against: a ratio, or seconds. 0 when there was none
  uint64_t bad = 0;      // connections that were over the limit (percentiles), or that count as bad (ratios); of
  uint64_t samples = 0;  // that many
  std::string text;      // the above for people, one line: rule, measured values, samples
};

struct Judged {
  // text: the rules that failed, or else those that lack connections, or else all. The caller fills the generation in.
  Judgement judgement;
  std::vector<Finding> findings;  // one a rule, in their order
};

// Judges `target`, the pool that a rollout goes to, of colour `target_pool`, over a window; `other` is the pool it
// leaves, in the same window (or the last one in which that had traffic). No rules: model::default_rules().
//
// fail: at least one rule fails. insufficient: none fails, but the target has begun fewer than `min_sample` flows, or a
// rule has fewer than `min_sample` of what it measures, or so many handshakes are under way that their end could still
// decide. Else pass. A comparison with an `other` of fewer than `min_sample` has no verdict and holds nothing
// up, unless no other rule has one. So it is with a rule that names the colour that the target is not.
// A handshake under way is not bad, and not good enough either. confidence: 0.5 to 1, both excluded.
Judged judge(const std::vector<model::Rule>& rules, const PoolSignals& target, const PoolSignals& other,
             model::Pool target_pool, uint32_t min_sample, double confidence);

}  // namespace teal::rollout
