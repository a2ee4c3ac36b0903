// SPDX-License-Identifier: Apache-2.0
// What the control socket can ask of rollouts, beside control/operations.h and in the same way: the server knows
// nothing of splits; whoever implements this (control/rollouts.h) knows nothing of HTTP. All calls come from one
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "control/operations.h"
#include "model/release_config.h"
#include "rollout/signals.h"

namespace teal::control {

// The names by which a start is refused where a promise would be at risk; `force` overrides by them.
inline constexpr const char* start_risks[] = {"no_ready_backend", "untracked_flows", "rollout_under_way", "capacity",
                                              "needs_again"};

struct RolloutRequest {
  std::string name;               // of a service or of a group; a service stands for its group
  std::optional<model::Pool> to;  // none: the standby pool
  // What is left out is the configuration's.
  std::vector<uint32_t> steps;  // shares of the target in 65,536ths, rising, the last 65,536
  std::optional<uint32_t> hold_s, bake_s, drain_deadline_s;
  std::optional<model::FlowsAction> at_deadline;
  bool ignore_affinity = false;
  bool again = false;              // although the last rollout to this pool was rolled back and the pool is unchanged
  std::vector<std::string> force;  // of start_risks
  Caller caller;
};

struct PoolSignalsStatus {
  std::string pool;
  double share = 0;    // of new flows, 0 to 1
  uint64_t flows = 0;  // live, by the last census
  rollout::PoolSignals counts;
};

struct DrainStatus {
  std::string pool;               // that runs out of flows
  uint64_t flows = 0;             // left on it, by the last census
  uint64_t begun_with = 0;        // when the drain began
  uint64_t pinned = 0;            // clients that affinity holds there
  std::optional<uint64_t> eta_s;  // from the measured decay; none: it cannot be told
};

struct RolloutEvent {
  std::string time;  // RFC 3339, UTC
  std::string text;
};

struct RolloutStatus {
  uint64_t id = 0;  // counted up in the group
  std::string group;
  std::vector<std::string> services;
  std::string phase;  // idle, preview, shifting, baking, draining, done, rolling_back
  bool paused = false;
  std::string reason;      // why it is paused or was taken back; empty: it is not
  std::string outcome;     // done, rolled_back, aborted; empty: under way, or there was none
  bool automatic = false;  // rolled back by a trigger
  std::string from, to;    // pools
  std::string started_by;
  std::vector<double> steps;      // shares, 0 to 1
  uint32_t step = 0;              // that is in force, counted from 1; 0: none yet
  double share = 0;               // of new flows that go to `to`, 0 to 1, as the split stands
  uint64_t generation = 0;        // of the split now
  uint64_t elapsed_s = 0;         // in this phase or step
  std::optional<uint64_t> eta_s;  // until the old pool begins to drain; then until it is empty. None: cannot be told
  double progress = 0;            // 0 to 1
  std::string waiting_for;        // the hook that runs now; empty: none
  std::string verdict;            // what the judge said last
  bool ignore_affinity = false;
  std::string message;  // in the reply to a call: what it did
  // Of the flows that began in this step: target first.
  std::array<PoolSignalsStatus, 2> signals;
  std::optional<DrainStatus> drain;
  std::vector<RolloutEvent> history;  // newest last
};

struct Risk {
  std::string name;    // of start_risks, or another problem's code, which cannot be overridden
  std::string detail;  // what was found and what was expected, one sentence
  bool forced = false;
};

struct RehearsedStep {
  double share = 0;  // of new flows to the target
  double moves = 0;  // share of new flows that this step moves
  uint32_t hold_s = 0;
  double load = 0;  // new flows a second that the target will get, from the load now
};

struct Rehearsal {  // what a start would do
  std::string group, from, to;
  std::vector<std::string> services;
  std::vector<RehearsedStep> steps;
  uint32_t bake_s = 0, drain_deadline_s = 0;
  std::string at_deadline;
  struct Flows {
    std::string pool;
    uint64_t stay = 0;  // live flows that stay where they are
  };
  std::vector<Flows> flows;
  struct Capacity {
    double new_flows_per_s = 0;                   // of the group now
    uint64_t live_flows = 0;                      // of both pools
    unsigned backends_from = 0, backends_to = 0;  // that take new flows
    uint64_t weight_from = 0, weight_to = 0;      // of those
    double flows_per_backend_now = 0, flows_per_backend_then = 0;
  } capacity;
  struct Room {
    uint64_t capacity = 0, entries = 0, free = 0;
  } table;
  std::vector<std::string> not_ready;  // backends of the target, "SERVICE: BACKEND (STATE)"
  std::vector<std::string> hooks;      // that would run, in their order, "pre_start: NAME"
  std::vector<Risk> risks;             // a start would be refused for those not forced
  bool would_start = false;
};

struct PreviewStatus {
  std::string service, pool;         // the standby pool, which they reach
  std::vector<std::string> clients;  // prefixes
  bool changed_live = false;         // they are not those of the configuration
};

struct DrainReport {  // of a service
  std::string service, pool;
  bool draining = false;  // the split says so: flows of the time before the last change may be left
  uint64_t flows = 0;     // live, on the pool that new flows have left
  uint64_t pinned = 0;    // clients that affinity holds there
  std::optional<uint64_t> eta_s;
  // Flows by the time since their last packet: up to `edges[i]` seconds, and the last of them beyond.
  std::vector<uint32_t> idle_edges_s;
  std::vector<uint64_t> idle_flows;
  uint32_t longest_idle_s = 0;
  std::vector<uint64_t> by_age;  // flows by how many changes of the split they have outlived: 0, 1, 2, ...
};

struct ServiceSignals {
  std::string service, pool;
  rollout::PoolSignals counts;
};

class Releases {
 public:
  virtual ~Releases() = default;
  virtual Result<RolloutStatus> start(const RolloutRequest& request) = 0;
  virtual Result<Rehearsal> rehearse(const RolloutRequest& request) = 0;
  virtual std::vector<RolloutStatus> rollouts() = 0;  // of every group that has, or had, one
  // `name`: a group, or a service of it.
  virtual Result<RolloutStatus> rollout(const std::string& name) = 0;
  virtual Result<RolloutStatus> pause(const std::string& name, const Caller& caller) = 0;
  virtual Result<RolloutStatus> resume(const std::string& name, const Caller& caller) = 0;
  virtual Result<RolloutStatus> promote(const std::string& name, bool all, const Caller& caller) = 0;
  // `flows`: on the target pool; none: as configured. `force`: although the other pool has no ready backend.
  virtual Result<RolloutStatus> abort(const std::string& name, std::optional<model::FlowsAction> flows, bool force,
                                      const Caller& caller) = 0;
  virtual Result<PreviewStatus> preview(const std::string& service) = 0;
  virtual Result<PreviewStatus> set_preview(const std::string& service, const std::vector<model::Prefix>& clients) = 0;
  virtual Result<DrainReport> drain(const std::string& service) = 0;
  virtual std::vector<ServiceSignals> signals() = 0;  // since teald started, by service and pool
};

}  // namespace teal::control
