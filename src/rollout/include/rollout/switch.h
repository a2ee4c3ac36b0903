// SPDX-License-Identifier: Apache-2.0
// What a change of the split is, as pure functions of the split word: no I/O, no clock.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "teal/split.h"

namespace teal::rollout {

struct SplitChange {
  bool changed = false;  // false: it stands so already, nothing is to be stored
  bool possible = true;  // false: there is nothing to go back to
  teal_split next{};     // what to store: previous first, then current
};

// All new flows to `to`, under the next generation; what decided until now decides the flows without an entry from now
// on.
SplitChange cutover(const teal_split& now, model::Pool to);

// Back to the split before the last cutover, under the next generation. A second rollback in a row changes nothing.
SplitChange rollback(const teal_split& now);

// The split when the old pool has run out of flows: the same decision and generation, nothing left to recover.
uint64_t drained(uint64_t word);

// The split when affinity no longer holds those who came under an earlier generation.
uint64_t unpinned(uint64_t word);

}  // namespace teal::rollout
