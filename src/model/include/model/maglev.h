// SPDX-License-Identifier: Apache-2.0
// Maglev consistent hashing (Eisenbud et al., NSDI 2016, section 3.4), weighted: a table of slots, each naming a
// backend. Built whole, never edited: a change of membership builds a new one, which differs only where it must.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace teal::model {

inline constexpr uint32_t maglev_slots = 65537;  // prime; 100 times as many as backends keeps shares within 1 %

struct MaglevMember {
  std::string identity;  // what its permutation is drawn from: must not depend on its number or its place in the list
  uint16_t number = 0;   // what the slots of the table name; never 0
  uint32_t weight = 0;   // 0: gets no slot
};

// maglev_slots numbers, or none at all (size 0) when no member has a weight.
using MaglevTable = std::vector<uint16_t>;

// Every member gets the slots due to its weight, give or take one; identities must differ. A few milliseconds for 1,000
// members. The result depends on identities, weights and numbers alone, not on the order of `members`.
MaglevTable build_maglev(std::span<const MaglevMember> members);

// Share of slots, 0 to 1, that name another backend in b than in a. Slots of an empty table differ from all
// (1); two empty tables are equal (0).
double maglev_difference(const MaglevTable& a, const MaglevTable& b);

}  // namespace teal::model
