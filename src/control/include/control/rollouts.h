// SPDX-License-Identifier: Apache-2.0
// Drives the rollouts of all groups: looks, lets rollout/machine.h decide, keeps the state safe, and does what it is
// told. One per process, on the control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/events.h"
#include "control/groups.h"
#include "control/releases.h"
#include "model/release_config.h"
#include "rollout/machine.h"
#include "rollout/signals.h"
#include "rollout/store.h"
#include "telemetry/audit.h"

namespace teal::control {

struct HookCall {
  model::Hook hook;
  std::string group, phase;
  uint32_t step = 0;   // counted from 1; 0: none yet
  uint32_t share = 0;  // of the target, 65,536ths
  model::Pool from = model::Pool::blue, to = model::Pool::green;
  std::string json;  // the rollout, as the API shows it
};

// What a rollout reaches for. Callbacks come on the control thread, never from within the call; after the end of the
// Rollouts they are ignored.
struct RolloutWorld {
  Groups& groups;
  rollout::Files& files;
  Events& events;
  std::string directory;  // of the states; exists
  // Counters of the flows that began under that generation (its low 2 bits), all engines together.
  std::function<rollout::PoolSignals(uint16_t service, model::Pool pool, unsigned generation)> signals;
  // Text: why not; with output.
  std::function<void(const HookCall&, std::function<void(bool ok, const std::string& text)>)> run_hook;
  std::function<void(const model::PrometheusRule&, const std::string& service, const std::string& pool,
                     std::function<void(rollout::Verdict, const std::string& text)>)>
      query;
  std::function<void(const telemetry::AuditEntry&)> audit;  // what was done with nobody asking at that moment
  std::function<int64_t()> now_ms;                          // monotonic
  std::function<int64_t()> wall_ms;                         // Unix time
  // Whether readiness is known: after a start the health checks are waited for before anything is resumed.
  std::function<bool()> settled;
};

class Rollouts : public Releases {
 public:
  explicit Rollouts(RolloutWorld world);
  ~Rollouts() override;

  // Reads what an earlier teald left. A state that cannot be read is told, put aside and not guessed at.
  void load();

  void tick();  // every 20 ms

  // Why the split of the group is not to be changed by hand now: a rollout of it is under way.
  [[nodiscard]] std::optional<Problem> guard(const std::string& group) const;

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

 private:
  struct Record;
  Record& record(const std::string& group);
  std::string path_of(const std::string& group) const;
  [[nodiscard]] rollout::Inputs look(Record& r);
  void run(Record& r);
  // Keeps the state safe and does the acts. False: it could not be kept, and nothing was done.
  bool apply(Record& r, const rollout::Turn& turn, bool asked_for);
  void act(Record& r, const rollout::SetSplit& act);
  void act(Record& r, const rollout::RunHook& act);
  void act(Record& r, const rollout::ResetFlows& act);
  void act(Record& r, const rollout::Unpin& act);
  void act(Record& r, const rollout::Drained& act);
  void act(Record& r, const rollout::Announce& act);
  void refresh(Record& r);
  void follow_drain(Record& r);
  void next_hook(Record& r);
  rollout::Judgement ask_prometheus(Record& r);
  void audit(const Record& r, const std::string& what, const GroupView& before);
  void each_second();
  void publish(Record& r, const std::string& text);
  void publish_signals();
  [[nodiscard]] RolloutStatus describe(Record& r);
  // A command on the group's rollout: its reply, or the refusal.
  template <class Command>
  Result<RolloutStatus> command(const std::string& name, Command run);
  Result<RolloutStatus> obey(Record& r, const rollout::Reply& reply);
  [[nodiscard]] Problem unknown(const std::string& name);
  [[nodiscard]] rollout::PoolSignals sum(const std::vector<uint16_t>& services, model::Pool pool,
                                         unsigned generation) const;
  [[nodiscard]] double rate_of(const std::string& group) const;  // new flows a second

  RolloutWorld world_;
  std::map<std::string, std::unique_ptr<Record>> records_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  struct Rate {
    uint64_t begun = 0;
    int64_t at_ms = 0;
    double per_s = 0;
  };
  std::map<std::string, Rate> rates_;
  int64_t next_second_ms_ = 0;
};

}  // namespace teal::control
