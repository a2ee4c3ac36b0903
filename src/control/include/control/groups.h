// SPDX-License-Identifier: Apache-2.0
// The balancer as rollouts see it: groups with their splits and pools. Implemented by control/balancer.h; rollouts
// (control/rollouts.h) need no more of it than this, so a test can stand in for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/operations.h"
#include "control/releases.h"
#include "model/config.h"
#include "teal/split.h"

namespace teal::control {

struct PoolView {
  struct Backend {
    std::string service, name, address, state;
    uint32_t weight = 0;
    bool ready = false;  // takes new flows
  };
  std::vector<Backend> backends;  // configured ones
  uint64_t flows = 0;             // live, by the last census
  uint64_t new_flows = 0;         // entered since teald started
};

struct GroupView {
  std::string name;
  std::vector<std::string> services;  // configured ones
  teal_split split{};
  PoolView pools[2];  // by model::Pool
  model::RolloutConfig config;
  std::string untracked;  // why flows without an entry could be hurt now; empty: none could
};

// What changes from one moment to the next; cheap to ask for.
struct GroupSight {
  teal_split split{};
  bool ready[2] = {false, false};  // by model::Pool: each service has a backend there that takes new flows
  bool configured = false;         // at least one service is
  uint64_t flows[2] = {0, 0};      // live, by the last census, by model::Pool
  // By model::Pool: flows, those marked for reset not counted, by a whole census that began after the last change of
  // the split and the last reset, and half_open after the change. None until there is one.
  std::optional<uint64_t> flows_left[2];
  int64_t half_open_ms = 0;     // for how long a handshake may be under way
  uint64_t pinned[2] = {0, 0};  // clients that affinity holds there, by the last census, by model::Pool
};

class Groups {
 public:
  virtual ~Groups() = default;
  [[nodiscard]] virtual std::vector<std::string> group_names() = 0;  // with configured services, without previews
  // `name`: a group's, or that of a service of it. None when there is no such group with configured services.
  [[nodiscard]] virtual std::optional<std::string> group_of(const std::string& name) = 0;
  // What follows takes the name of a group; of an unknown one nothing is seen or done.
  [[nodiscard]] virtual std::optional<GroupView> view(const std::string& group) = 0;
  // Which all services of a group share.
  [[nodiscard]] virtual std::optional<model::RolloutConfig> rollout_config(const std::string& group) = 0;
  [[nodiscard]] virtual GroupSight see(const std::string& group) = 0;
  [[nodiscard]] virtual std::vector<std::pair<uint16_t, std::string>> numbers(
      const std::string& group) = 0;  // services
  // Of those the ones whose packets tell something: TCP.
  [[nodiscard]] virtual std::vector<uint16_t> judged(const std::string& group) = 0;

  // Stores `previous`, then `current`; returns when no engine decides by what was before: nanoseconds waited.
  virtual uint64_t store(const std::string& group, const teal_split& next) = 0;
  virtual void clear_draining(const std::string& group) = 0;
  // Affinity holds nobody on the pool any more.
  virtual void unpin(const std::string& group, model::Pool pool) = 0;
  // Whether established flows of the pool outlive their time-out.
  virtual void keep_idle(const std::string& group, model::Pool pool, bool keep) = 0;
  // Marks the flows of the pool: how many.
  virtual uint64_t reset(const std::string& group, model::Pool pool) = 0;

  [[nodiscard]] virtual Rehearsal::Room table_room() = 0;
  // Flows of the pool that new flows have left, by their ages; a walk over the whole table.
  virtual Result<DrainReport> drain_report(const std::string& service) = 0;
  virtual Result<PreviewStatus> preview_of(const std::string& service) = 0;
  virtual Result<PreviewStatus> change_preview(const std::string& service,
                                               const std::vector<model::Prefix>& clients) = 0;
};

}  // namespace teal::control
