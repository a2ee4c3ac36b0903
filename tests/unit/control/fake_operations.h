// SPDX-License-Identifier: Apache-2.0
// Operations without packets: two services in one group and one alone, with figures that a test can foretell.
// The service "problem-CODE" refuses everything with that code; the service "broken" throws.
#pragma once

#include <string>
#include <vector>

#include "control/operations.h"

namespace teal::control {

class FakeOperations : public Operations {
 public:
  FakeOperations();

  Status status() override;
  std::vector<ServiceStatus> services() override;
  Result<ServiceStatus> service(const std::string& name) override;
  CounterStatus counters() override;
  Result<SwitchReply> cutover(const SwitchRequest& request) override;
  Result<SwitchReply> rollback(const RollbackRequest& request) override;
  Result<BackendReply> patch_backend(const BackendPatch& patch) override;
  Result<std::vector<FlowStatus>> flows(const FlowQuery& query) override;
  Result<WhichReply> which(const std::string& service, const model::Endpoint& client) override;
  Result<ReloadReply> reload() override;

  // What came last, for tests that hold the parsing against it.
  SwitchRequest last_cutover;
  RollbackRequest last_rollback;
  BackendPatch last_patch;
  FlowQuery last_query;
  std::string last_client;
  bool refuse_reload = false;

 private:
  Result<SwitchReply> change(const std::string& name, const std::string& to, std::optional<uint64_t> expected);
  std::vector<ServiceStatus> services_;
};

}  // namespace teal::control
