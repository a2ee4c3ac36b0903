// SPDX-License-Identifier: Apache-2.0
// Releases without packets: the group "front" has a rollout with figures that a test can foretell. A name
// "problem-CODE" refuses everything with that code.
#pragma once

#include <string>
#include <vector>

#include "control/releases.h"

namespace teal::control {

class FakeReleases : public Releases {
 public:
  FakeReleases();

  Result<RolloutStatus> start(const RolloutRequest& request) override;
  Result<Rehearsal> rehearse(const RolloutRequest& request) override;
  std::vector<RolloutStatus> rollouts() override;
  Result<RolloutStatus> rollout(const std::string& name) override;
  Result<RolloutStatus> pause(const std::string& name, const Caller& caller) override;
  Result<RolloutStatus> resume(const std::string& name, const Caller& caller) override;
  Result<RolloutStatus> promote(const std::string& name, bool all, const Caller& caller) override;
  Result<RolloutStatus> abort(const std::string& name, std::optional<model::FlowsAction> flows, bool force,
                              const Caller& caller) override;
  Result<PreviewStatus> preview(const std::string& service) override;
  Result<PreviewStatus> set_preview(const std::string& service, const std::vector<model::Prefix>& clients) override;
  Result<DrainReport> drain(const std::string& service) override;
  std::vector<ServiceSignals> signals() override;

  // What came last, for tests that hold the parsing against it.
  RolloutRequest last_start;
  std::string last_command;
  bool last_all = false, last_force = false;
  std::optional<model::FlowsAction> last_flows;

  // Asked for the rollout as often as this, it is over; 0: never. With that outcome.
  unsigned over_after = 0;
  std::string outcome = "done";
  uint64_t drain_flows = 12;  // one less each time it is asked for

 private:
  Result<RolloutStatus> named(const std::string& name, const std::string& command, const char* message);
  RolloutStatus status_;
  std::vector<std::string> clients_ = {"198.51.100.0/24"};
  bool changed_live_ = false;
};

}  // namespace teal::control
