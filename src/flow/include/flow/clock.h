// SPDX-License-Identifier: Apache-2.0
// The clock that stamps are taken from: ticks of 1/16 s (teal/flow.h).
#pragma once

#include <cstdint>

namespace teal::flow {

// Ticks since boot, suspend included; wraps after 8 years. What a table's flows age by is Storage::now().
uint32_t boot_ticks();

}  // namespace teal::flow
