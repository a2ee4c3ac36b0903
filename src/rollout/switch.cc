// SPDX-License-Identifier: Apache-2.0
#include "rollout/switch.h"

namespace teal::rollout {

SplitChange cutover(const teal_split& now, model::Pool to) {
  const bool green = to == model::Pool::green;
  const uint32_t share = green ? TEAL_SPLIT_ALL : 0;
  SplitChange change;
  if (teal_split_share(now.current) == share && teal_split_active(now.current) == (green ? 1 : 0)) return change;
  change.changed = true;
  change.next.previous = now.current;
  change.next.current = teal_split_make(teal_split_generation(now.current) + 1, share, 1, green);
  return change;
}

SplitChange rollback(const teal_split& now) {
  SplitChange change;
  if (now.current & TEAL_SPLIT_ROLLED_BACK) return change;
  if (teal_split_generation(now.previous) >= teal_split_generation(now.current)) {
    change.possible = false;  // the first split of all: its previous is itself
    return change;
  }
  change.changed = true;
  change.next.previous = now.current;
  change.next.current = teal_split_make(teal_split_generation(now.current) + 1, teal_split_share(now.previous), 1,
                                        teal_split_active(now.previous)) |
                        TEAL_SPLIT_ROLLED_BACK | TEAL_SPLIT_IGNORE_AFFINITY;  // nobody is held where it is bad
  return change;
}

uint64_t drained(uint64_t word) {
  return word & ~TEAL_SPLIT_DRAINING;
}

uint64_t unpinned(uint64_t word) {
  return word | TEAL_SPLIT_IGNORE_AFFINITY;
}

}  // namespace teal::rollout
