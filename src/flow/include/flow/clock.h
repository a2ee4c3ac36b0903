// SPDX-License-Identifier: Apache-2.0
// The clock that stamps are taken from: fine ticks of 1/4096 s (teal/flow.h).
#pragma once

#include <cstdint>

namespace teal::flow {

// Fine ticks since boot, suspend included; wraps after 12 days. What a table's flows age by is Storage::now().
uint32_t boot_ticks();

}  // namespace teal::flow
