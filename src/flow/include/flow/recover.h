// SPDX-License-Identifier: Apache-2.0
// What a dead teald may have left in the table, put in order, while an XDP program may be working in it.
#pragma once

#include <cstdint>

#include "teal/layout.h"

namespace teal::flow {

struct Recovered {
  uint32_t locks = 0;   // of the dead, taken over and released
  uint64_t slots = 0;   // claimed by a key that never got its value, freed
  uint64_t copies = 0;  // of entries that a displacement left twice, freed
};

// `owner`: the calling instance's, stands in the lock words that it takes over. `live`: an XDP program may be working
// in this memory now; the words that it holds are left alone. Without it every word that is taken is a dead one's.
Recovered recover(const teal_head& head, uint32_t* locks, teal_bucket* buckets, uint32_t owner, bool live);

}  // namespace teal::flow
