// SPDX-License-Identifier: Apache-2.0
// Before a rollout starts: its plan, what stands against it, and what it would do. Pure.
#pragma once

#include <string>
#include <vector>

#include "control/groups.h"
#include "control/releases.h"
#include "rollout/state.h"

namespace teal::control {

// Of parts of TEAL_SPLIT_ALL.
inline double share_of(uint32_t parts) {
  return static_cast<double>(parts) / TEAL_SPLIT_ALL;
}

// What is asked for, over what is configured. `to` defaults to the standby pool.
rollout::Plan plan_of(const RolloutRequest& request, const GroupView& view);

// The target's backends as text: another one when they have been changed. Their state is no part of it: a backend that
// comes and goes is the same release.
std::string signature_of(const GroupView& view, model::Pool pool);

struct Load {
  double new_flows_per_s = 0;
  Rehearsal::Room table;
};

// Everything that puts a promise at risk, in the order in which it is worth hearing; `forced` by the request.
std::vector<Risk> risks_of(const RolloutRequest& request, const rollout::Plan& plan, const GroupView& view,
                           const rollout::State& last, const Load& load);

Rehearsal rehearsal_of(const RolloutRequest& request, const rollout::Plan& plan, const GroupView& view,
                       const rollout::State& last, const Load& load);

}  // namespace teal::control
