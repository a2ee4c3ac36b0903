// SPDX-License-Identifier: Apache-2.0
// The split words of a rollout: what to store for a step and for the way back, as pure functions.
#pragma once

#include "rollout/switch.h"

namespace teal::rollout {

// `share` of new flows, in 65,536ths, to `target`, under the next generation. All of them make it the active pool.
// ignore_affinity: clients that an earlier generation holds on a pool are free to go.
SplitChange move_share(const teal_split& now, model::Pool target, uint32_t share, bool ignore_affinity = false);

// All new flows to `other`, the pool that a rollout left, under the next generation and marked as rolled back, so that
// a rollback by hand after it does not return to the step before. Affinity holds nobody on the pool that is left.
SplitChange all_back(const teal_split& now, model::Pool other);

// The same change, leaving aside what is noted in the word later: that there is nothing left to recover, that affinity
// holds nobody any more.
bool same_word(uint64_t a, uint64_t b);

}  // namespace teal::rollout
