// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <vector>

#include "flow/settle.h"

namespace teal::perf {

// Walks over the table until every group that can be is settled (teal/settled.h), at `tick`. No packet may be under
// way.
inline void settle_all(flow::Settler& settler, flow::Table& table, const model::View& view, const teal_secret& secret,
                       uint32_t tick) {
  flow::Sweeper sweeper(table, secret);
  std::vector<flow::Ageing> ageing(view.service_count);
  for (uint32_t i = 0; i < view.service_count; i++)
    std::copy(std::begin(view.services[i].timeout), std::end(view.services[i].timeout), ageing[i].timeout.begin());
  for (int walk = 0; walk < 2; walk++) {  // the first finds the cells attended by whoever entered the flows
    settler.begin_walk(view, {});
    settler.tell(view, ageing);
    while (!sweeper.step(table.bucket_count(), tick, ageing)) {
    }
    settler.end_walk();
  }
}

}  // namespace teal::perf
