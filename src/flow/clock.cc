// SPDX-License-Identifier: Apache-2.0
#include "flow/clock.h"

#include <time.h>

#include "teal/flow.h"

namespace teal::flow {

uint32_t boot_ticks() {
  timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return static_cast<uint32_t>(static_cast<uint64_t>(t.tv_sec) * TEAL_FINE_TICKS_PER_S +
                               (static_cast<uint64_t>(t.tv_nsec) * TEAL_FINE_TICKS_PER_S) / 1000000000u);
}

}  // namespace teal::flow
