// SPDX-License-Identifier: Apache-2.0
#include "model/maglev.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <string_view>
#include <utility>

namespace teal::model {

namespace {

// FNV-1a (Fowler, Noll, Vo), finished by splitmix64's mixer (Steele et al. 2014). Not keyed: every host and every
// later build of teal must draw the same permutation from the same identity.
uint64_t hash(std::string_view text, uint64_t seed) {
  uint64_t h = 0xcbf29ce484222325ull ^ seed;
  for (const char c : text) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ull;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebull;
  return h ^ (h >> 31);
}

struct Candidate {
  const MaglevMember* member;
  uint64_t order;  // members of one round take their turns in this order, whatever their order in the list
  uint32_t slot;   // next slot that the member prefers
  uint32_t skip;   // step to the one after it, 1 to maglev_slots - 1
  uint64_t turns;  // taken so far
};

// When a candidate is next to choose: the round, then its place within every round.
using Turn = std::pair<uint64_t, uint32_t>;

// The largest weight takes a turn every round, a weight w in w of `largest` rounds. The first turn falls half an
// interval early, so that the turns a member has had by any round are its due, rounded to the nearest.
uint64_t next_round(const Candidate& c, uint64_t largest) {
  const uint64_t due = (c.turns + 1) * largest - largest / 2;
  return (due + c.member->weight - 1) / c.member->weight;
}

}  // namespace

MaglevTable build_maglev(std::span<const MaglevMember> members) {
  std::vector<Candidate> candidates;
  uint64_t largest = 0;
  for (const MaglevMember& m : members) {
    if (m.weight == 0) continue;
    largest = std::max<uint64_t>(largest, m.weight);
    const uint64_t first = hash(m.identity, 0), second = hash(m.identity, 0x9e3779b97f4a7c15ull);
    candidates.push_back({&m, first, static_cast<uint32_t>((first >> 32) % maglev_slots),
                          static_cast<uint32_t>((second >> 32) % (maglev_slots - 1)) + 1, 0});
  }
  if (candidates.empty()) return {};
  // By hash, so that the odd slot left over at the end does not always go to the lowest address.
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.order != b.order ? a.order < b.order : a.member->identity < b.member->identity;
  });

  // A queue of turns rather than a walk over all members a round: one large weight among many small ones would
  // otherwise cost thousands of rounds in which nearly nobody moves.
  std::vector<Turn> first_turns;
  for (uint32_t i = 0; i < candidates.size(); ++i) first_turns.emplace_back(next_round(candidates[i], largest), i);
  std::priority_queue<Turn, std::vector<Turn>, std::greater<>> queue(std::greater<>{}, std::move(first_turns));

  MaglevTable table(maglev_slots, 0);
  for (uint32_t filled = 0; filled < maglev_slots; ++filled) {
    const uint32_t index = queue.top().second;
    queue.pop();
    Candidate& c = candidates[index];
    while (table[c.slot] != 0) c.slot = (c.slot + c.skip) % maglev_slots;
    table[c.slot] = c.member->number;
    ++c.turns;
    queue.emplace(next_round(c, largest), index);
  }
  return table;
}

double maglev_difference(const MaglevTable& a, const MaglevTable& b) {
  if (a.size() != b.size()) return 1;
  if (a.empty()) return 0;
  size_t changed = 0;
  for (size_t i = 0; i < a.size(); ++i) changed += a[i] != b[i];
  return static_cast<double>(changed) / static_cast<double>(a.size());
}

}  // namespace teal::model
