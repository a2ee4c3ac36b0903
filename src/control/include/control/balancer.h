// SPDX-License-Identifier: Apache-2.0
// The balancer itself: configuration, numbers, splits and snapshots over one flow table and the engines. Implements
// what the control socket asks for; knows nothing of sockets. Lives on the control thread.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "control/engines.h"
#include "control/groups.h"
#include "control/operations.h"
#include "flow/registry.h"
#include "flow/settle.h"
#include "flow/storage.h"
#include "flow/sweep.h"
#include "model/config.h"
#include "model/snapshot.h"
#include "rollout/switch.h"

namespace teal::control {

class Balancer : public Operations, public Groups {
 public:
  // Reads nothing itself: `config` has been checked. `file`: what a reload reads again. Throws std::runtime_error.
  Balancer(const model::Config& config, std::string file, flow::Storage& storage, flow::Table& table, Engines& engine);

  // The kernel's view of the network; publishes when it makes a difference. The first call starts the packet path.
  void set_topology(const model::Topology& topology);
  // Called for each next hop whose MAC address is wanted: ask the kernel to resolve it.
  void on_unresolved(std::function<void(int ifindex, const model::Address&)> ask) { ask_ = std::move(ask); }

  // Called after each reload that was taken over, whoever asked for it: interfaces get their new addresses.
  void on_reloaded(std::function<void(const model::Config&)> follow) { follow_ = std::move(follow); }

  // Asked before a cutover or rollback by hand that changes something, unless it is forced: a refusal, or nothing.
  using Guard = std::function<std::optional<Problem>(const std::string& group)>;
  void on_switch(Guard guard) { guard_ = std::move(guard); }

  // What a check says of a backend: one that is down takes no new flows, and its flows what health.on_down says.
  void set_health(const std::string& service, const std::string& backend, bool down);

  // What packets and the sweep say of a service's pool, of flows entered under `generation` (its low two bits count).
  [[nodiscard]] rollout::PoolSignals signals(uint16_t service, model::Pool pool, unsigned generation) const;

  // Every 10 ms: a slice of the sweep, wanted neighbours; once a second: rates, drains that ended, numbers to free.
  void tick();

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

  std::vector<std::string> group_names() override;
  std::optional<std::string> group_of(const std::string& name) override;
  std::optional<GroupView> view(const std::string& group) override;
  std::optional<model::RolloutConfig> rollout_config(const std::string& group) override;
  GroupSight see(const std::string& group) override;
  std::vector<std::pair<uint16_t, std::string>> numbers(const std::string& group) override;
  std::vector<uint16_t> judged(const std::string& group) override;
  uint64_t store(const std::string& group, const teal_split& next) override;
  void clear_draining(const std::string& group) override;
  void unpin(const std::string& group, model::Pool pool) override;
  void keep_idle(const std::string& group, model::Pool pool, bool keep) override;
  uint64_t reset(const std::string& group, model::Pool pool) override;
  Rehearsal::Room table_room() override;
  Result<DrainReport> drain_report(const std::string& service) override;
  Result<PreviewStatus> preview_of(const std::string& service) override;
  Result<PreviewStatus> change_preview(const std::string& service, const std::vector<model::Prefix>& clients) override;

 private:
  void publish();
  void set_ageing();
  // Lets go of clients that affinity holds on the pool.
  void drop_pins(uint16_t group, model::Pool pool);
  [[nodiscard]] ServiceStatus describe(uint16_t number, const dataplane::Counters& totals) const;
  [[nodiscard]] BackendStatus describe_backend(uint16_t number, const dataplane::Counters& totals) const;
  struct Directory {
    std::unordered_map<std::string, uint16_t> number;  // of a group
    std::unordered_map<std::string, bool> configured;  // whether a service of the group is, previews aside
    std::vector<std::string> names;                    // of groups that are
    std::vector<std::vector<uint16_t>> members = std::vector<std::vector<uint16_t>>(TEAL_GROUPS);
    std::vector<const model::ServiceConfig*> config = std::vector<const model::ServiceConfig*>(TEAL_SERVICES);
  };
  // Made anew when it is asked for after directory_.reset(): whoever changes config_.services or numbers does that.
  const Directory& directory() const;
  [[nodiscard]] const std::vector<uint16_t>& group_members(uint16_t group) const;
  [[nodiscard]] const model::ServiceConfig* config_of(uint16_t service) const;
  std::optional<Problem> refuse(uint16_t group, model::Pool to, bool force) const;
  [[nodiscard]] uint16_t group_number(const std::string& group) const;  // 0: no service names it
  [[nodiscard]] bool takes_new_flows(uint16_t backend) const;
  // Why packets without an entry could be hurt by a change of the split; empty: none could.
  [[nodiscard]] std::string untracked_of(uint16_t service) const;
  [[nodiscard]] bool lately_untracked(uint16_t service) const;
  void begin_walk();
  uint64_t store_split(uint16_t group, const teal_split& next);
  void follow_with_preview_clients(uint16_t group);
  void follow_with_preview(uint16_t group);
  void follow_with_previews();
  SwitchReply commit(uint16_t service, const rollout::SplitChange& change);
  // `backend`: only its flows; 0: all of the pool's.
  uint64_t reset_flows(uint16_t group, model::Pool pool, uint16_t backend = 0);
  [[nodiscard]] uint64_t pinned(uint16_t service, uint8_t pool) const;  // clients that affinity holds there
  [[nodiscard]] bool healthy(uint16_t backend) const;
  void leave_out_the_unhealthy(model::SnapshotInput& in);
  void resolve(const model::Address& to);
  void each_second();
  Result<uint16_t> find(const std::string& name) const;
  std::optional<Problem> check_generation(uint16_t group, const std::optional<uint64_t>& expected) const;

  model::Config config_;
  const std::string file_;
  flow::Storage& storage_;
  flow::Table& table_;
  Engines& engine_;
  flow::Registry registry_;
  mutable std::optional<Directory> directory_;
  flow::Sweeper sweeper_;
  flow::Settler settler_;
  std::vector<flow::Ageing> ageing_;
  model::Topology topology_;
  model::MaglevCache maglev_;
  bool started_ = false;
  std::function<void(int, const model::Address&)> ask_;
  std::function<void(const model::Config&)> follow_;
  Guard guard_;
  std::set<std::pair<std::string, std::string>> down_;  // service and backend, by their health checks
  std::set<uint16_t> spared_;                           // backends that are down and used in panic
  std::set<std::pair<uint16_t, uint8_t>> panicking_;    // service and pool
  std::set<std::pair<uint16_t, uint8_t>> idle_kept_;    // group and pool whose idle flows are kept
  std::set<std::string> preview_changed_;  // services whose preview clients are not those of the configuration

  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point census_at_ = begin_, next_second_ = begin_;
  std::array<Clock::time_point, TEAL_GROUPS> changed_at_{};  // last change of a group's split
  std::array<uint64_t, TEAL_GROUPS> changed_walk_{};
  std::map<uint16_t, std::pair<uint64_t, Clock::time_point>> untracked_;  // by service: count, when it last rose
  std::vector<std::pair<uint64_t, uint64_t>> busy_;  // by worker: cycles, and ppm over the last second
  Clock::time_point busy_at_ = begin_;
  unsigned seconds_ = 0;
};

}  // namespace teal::control
