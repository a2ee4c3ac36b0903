// SPDX-License-Identifier: Apache-2.0
// A world for Rollouts without packets, disk or time: a fake balancer of one group, files in memory, a clock that is
// moved by hand, hooks and queries that answer as told.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control/rollouts.h"
#include "json.h"

namespace teal::control {

class FakeGroups : public Groups {
 public:
  FakeGroups();
  std::vector<std::string> group_names() override { return {"front"}; }
  std::optional<std::string> group_of(const std::string& name) override;
  std::optional<GroupView> view(const std::string& group) override;
  std::optional<model::RolloutConfig> rollout_config(const std::string&) override { return group.config; }
  GroupSight see(const std::string& group) override;
  std::vector<std::pair<uint16_t, std::string>> numbers(const std::string&) override {
    return {{1, "web"}, {2, "tls"}};
  }
  uint64_t store(const std::string& group, const teal_split& next) override;
  void clear_draining(const std::string&) override { group.split.current &= ~TEAL_SPLIT_DRAINING; }
  std::vector<uint16_t> judged(const std::string&) override { return judged_services; }
  void unpin(const std::string&, model::Pool pool) override { unpinned.push_back(pool); }
  void keep_idle(const std::string&, model::Pool pool, bool keep) override { kept.emplace_back(pool, keep); }
  uint64_t reset(const std::string& group, model::Pool pool) override;
  Rehearsal::Room table_room() override { return room; }
  Result<DrainReport> drain_report(const std::string& service) override;
  Result<PreviewStatus> preview_of(const std::string& service) override {
    return PreviewStatus{service, "green", {}, false};
  }
  Result<PreviewStatus> change_preview(const std::string& service, const std::vector<model::Prefix>&) override {
    return preview_of(service);
  }

  [[nodiscard]] double green() const { return teal_split_share(group.split.current) / 65536.0; }
  void set_ready(model::Pool pool, bool ready);

  GroupView group;
  bool configured = true;
  std::optional<uint64_t> left;  // on either pool, by a census after the last change
  Rehearsal::Room room{1000, 100, 900};
  std::vector<double> stored;  // green's share, at each store
  std::vector<model::Pool> resets, unpinned;
  std::vector<std::pair<model::Pool, bool>> kept;
  std::vector<uint16_t> judged_services = {1, 2};
};

class MemoryFiles : public rollout::Files {
 public:
  std::string write(const std::string& path, std::string_view text) override;
  std::string fsync(const std::string&) override { return full ? "disk is full" : ""; }
  std::string rename(const std::string& from, const std::string& to) override;
  std::string read(const std::string& path, std::optional<std::string>& text) override;
  std::map<std::string, std::string> files;
  bool full = false;
  unsigned writes = 0;
};

class RolloutsTest : public testing::Test {
 protected:
  RolloutsTest();
  void restart() { rollouts = make(); }
  // Time passes in ticks of 20 ms.
  void pass(double seconds);
  // Connections that begin on both pools under the generation now; `bad` of the target's are refused.
  void connect(uint64_t target, uint64_t bad, uint64_t other);
  RolloutStatus begin(const RolloutRequest& request);
  RolloutStatus status();
  static std::string code_of(const Result<RolloutStatus>& result);
  [[nodiscard]] RolloutRequest request() const;

  FakeGroups groups;
  MemoryFiles files;
  Events events{1000, 1};
  int64_t now_ms = 1'000'000;
  bool settled = true;
  std::map<std::array<unsigned, 3>, rollout::PoolSignals> counters;  // service, pool, generation
  std::vector<std::string> hooks;                                    // called, in order
  std::map<std::string, std::string> failing_hooks;
  bool hooks_answer = true;
  std::deque<std::function<void()>> later;  // callbacks come from outside of the call
  unsigned queries = 0;
  std::pair<rollout::Verdict, std::string> answer{rollout::Verdict::pass, "fine"};
  std::vector<telemetry::AuditEntry> audited;
  std::unique_ptr<Rollouts> rollouts;

 private:
  std::unique_ptr<Rollouts> make();
};

}  // namespace teal::control
