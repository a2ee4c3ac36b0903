// SPDX-License-Identifier: Apache-2.0
// A rollout's state as JSON text, to be kept across restarts, and for the API.
#pragma once

#include <optional>
#include <string>

#include "rollout/state.h"

namespace teal::rollout {

// The state as a JSON object, without version and check: what the API shows of it, too.
std::string describe(const State& state);

// {"version": 1, "check": "16 hex digits", "state": {...}}. Bytes that are not UTF-8 become U+FFFD.
std::string to_text(const State& state);

struct Parsed {
  std::optional<State> state;
  std::string error;  // what was found and what was expected, when there is no state
};
// Never a guess: another version, a missing or unknown field, a value out of range or a wrong check is an error.
Parsed from_text(const std::string& text);

}  // namespace teal::rollout
