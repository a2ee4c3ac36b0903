// SPDX-License-Identifier: Apache-2.0
// A rule over the signals of the pools, as one line of text:
//
//   green.handshake_failure_ratio < 1 %        absolute
//   green.handshake_p99 < 1.5 x blue           against the other pool in the same window
//   target.reset_ratio < 0.05                  target: the pool that the rollout goes to; other: the one it leaves
//
// The pool before the dot is target, blue or green: that the pool a rollout leaves is bad is no reason to go back to
// it.
// "<" is the only comparison: signals count what is bad. Ratios: 0 to 1 or percent, both excluded; times: "ms" or "s",
// at most 4 s, where the histogram of the handshakes ends; factors: 1 to 1,000.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace teal::model {

enum class Signal : uint8_t {
  handshake_failure_ratio,  // refused, reset before the handshake ended, or timed out; of flows begun
  syn_retransmit_ratio,     // SYNs sent again; of flows begun
  early_reset_ratio,        // reset after the handshake, before the backend sent data; of handshakes completed
  reset_ratio,              // reset at any time; of handshakes completed
  handshake_p50,            // NAT: SYN to SYN-ACK; DSR and IPIP: SYN to the client's ACK. Seconds
  handshake_p99,
};
const char* to_string(Signal v);
bool is_ratio(Signal v);

enum class Subject : uint8_t { target, other, blue, green };
const char* to_string(Subject v);
// Whom a comparison is with: target and other, blue and green.
Subject counterpart(Subject v);

struct Rule {
  Subject subject = Subject::target;
  Signal signal = Signal::handshake_failure_ratio;
  std::optional<double> absolute;  // ratio, 0 to 1; or seconds
  std::optional<double> factor;    // times the other pool's
  std::string text;                // as written
  bool operator==(const Rule&) const = default;
};

struct RuleResult {
  std::optional<Rule> rule;
  std::string error;  // what was found and what was expected, when there is no rule; one line
};
RuleResult parse_rule(const std::string& text);

// target.handshake_failure_ratio < 5 %, target.early_reset_ratio < 5 %, target.syn_retransmit_ratio < 10 % (a backend
// that does not answer at all shows there first), target.handshake_p99 < 3 x other
std::vector<Rule> default_rules();

}  // namespace teal::model
