// SPDX-License-Identifier: Apache-2.0
#include "rollout/split_words.h"

#include "rollout/machine.h"

namespace teal::rollout {
namespace {

SplitChange change_to(const teal_split& now, uint32_t green_share, model::Pool active, uint64_t flags) {
  SplitChange change;
  const int bit = active == model::Pool::green ? TEAL_GREEN : TEAL_BLUE;
  if (teal_split_share(now.current) == green_share && teal_split_active(now.current) == bit) return change;
  change.changed = true;
  change.next.previous = now.current;
  change.next.current = teal_split_make(teal_split_generation(now.current) + 1, green_share, 1, bit) | flags;
  return change;
}

uint32_t green_share(model::Pool target, uint32_t share) {
  return target == model::Pool::green ? share : TEAL_SPLIT_ALL - share;
}

}  // namespace

SplitChange move_share(const teal_split& now, model::Pool target, uint32_t share, bool ignore_affinity) {
  return change_to(now, green_share(target, share), share == TEAL_SPLIT_ALL ? target : model::other(target),
                   ignore_affinity ? TEAL_SPLIT_IGNORE_AFFINITY : 0);
}

SplitChange all_back(const teal_split& now, model::Pool other) {
  return change_to(now, green_share(other, TEAL_SPLIT_ALL), other, TEAL_SPLIT_ROLLED_BACK | TEAL_SPLIT_IGNORE_AFFINITY);
}

bool same_word(uint64_t a, uint64_t b) {
  return ((a ^ b) & ~(TEAL_SPLIT_DRAINING | TEAL_SPLIT_IGNORE_AFFINITY)) == 0;
}

model::Pool standby(const teal_split& split) {
  return teal_split_active(split.current) == TEAL_GREEN ? model::Pool::blue : model::Pool::green;
}

uint32_t target_share(uint64_t word, model::Pool target) {
  const uint32_t green = teal_split_share(word);
  return target == model::Pool::green ? green : TEAL_SPLIT_ALL - green;
}

}  // namespace teal::rollout
