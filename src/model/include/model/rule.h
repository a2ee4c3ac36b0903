// SPDX-License-Identifier: Apache-2.0
// A rule over the signals of the pools, as one line of text:
//
//   green.handshake_failure_ratio < 1 %        absolute
//   green.handshake_p99 < 1.5 x blue           against the other pool in the same window
//   target.reset_ratio < 0.05                  target: the pool that the rollout goes to; other: the one it leaves
//
// "<" is the only comparison: signals count what is bad. Durations: "ms" or "s".
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
  std::string error;  // what was expected, when there is no rule
};
RuleResult parse_rule(const std::string& text);

// target.handshake_failure_ratio < 5 %, target.early_reset_ratio < 5 %, target.handshake_p99 < 3 x other
std::vector<Rule> default_rules();

}  // namespace teal::model
