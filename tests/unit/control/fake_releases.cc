// SPDX-License-Identifier: Apache-2.0
#include "fake_releases.h"

#include "control/problem_codes.h"

namespace teal::control {
namespace {

rollout::PoolSignals counts(uint64_t begun, uint64_t refused) {
  rollout::PoolSignals c;
  c.begun = begun;
  c.refused = refused;
  c.handshakes = begun - refused;
  c.syn_retransmits = 3;
  c.early_resets = 1;
  c.resets = 2;
  c.handshake[2] = c.handshakes - 10;
  c.handshake[TEAL_HANDSHAKE_BUCKETS - 1] = 10;
  return c;
}

std::optional<Problem> unknown(const std::string& name) {
  for (const auto& info : problem_list())
    if (name == std::string("problem-") + info.code)
      return Problem{
          info.status, info.code, info.title, "the fake refuses, as asked", {"first reason", "second reason"}};
  if (name == "front" || name == "web" || name == "web-tls") return std::nullopt;
  return make_problem(ProblemCode::unknown_group, "no group or service '" + name + "', expected front");
}

}  // namespace

FakeReleases::FakeReleases() {
  status_.id = 3;
  status_.group = "front";
  status_.services = {"web", "web-tls"};
  status_.phase = "shifting";
  status_.from = "blue";
  status_.to = "green";
  status_.started_by = "root";
  status_.steps = {0.01, 0.1, 0.5, 1};
  status_.step = 2;
  status_.share = 0.1;
  status_.generation = 9;
  status_.elapsed_s = 20;
  status_.eta_s = 700;
  status_.progress = 0.25;
  status_.verdict = "target.handshake_failure_ratio 0.1 % < 5 %";
  status_.signals = {PoolSignalsStatus{"green", 0.1, 1000, counts(1000, 1)},
                     PoolSignalsStatus{"blue", 0.9, 1234587, counts(9000, 0)}};
  status_.history = {{"2026-11-23T09:48:20.123Z", "started by root: blue to green"}};
}

Result<RolloutStatus> FakeReleases::named(const std::string& name, const std::string& command, const char* message) {
  last_command = command;
  if (const auto problem = unknown(name)) return *problem;
  RolloutStatus status = status_;
  status.message = message;
  return status;
}

Result<RolloutStatus> FakeReleases::start(const RolloutRequest& request) {
  last_start = request;
  return named(request.name, "start", "rollout 3 is started: blue to green, steps 1 %, 10 %, 50 %, 100 %");
}

Result<Rehearsal> FakeReleases::rehearse(const RolloutRequest& request) {
  last_start = request;
  if (const auto problem = unknown(request.name)) return *problem;
  Rehearsal r;
  r.group = "front";
  r.from = "blue";
  r.to = "green";
  r.services = {"web", "web-tls"};
  r.steps = {{0.1, 0.1, 60, 15}, {1, 0.9, 0, 150}};
  r.bake_s = 600;
  r.drain_deadline_s = 1800;
  r.at_deadline = "keep";
  r.flows = {{"blue", 1234587}, {"green", 0}};
  r.capacity = {150, 1234587, 2, 1, 20, 10, 617293.5, 1234587};
  r.table = {4194304, 1234607, 2959697};
  r.not_ready = {"web: 10.0.1.2:80 (down)"};
  r.hooks = {"pre_start: migrate"};
  r.risks = {{"untracked_flows", "service 'web': 7 packets were forwarded without a table entry", true}};
  r.would_start = true;
  return r;
}

std::vector<RolloutStatus> FakeReleases::rollouts() {
  return {status_};
}

Result<RolloutStatus> FakeReleases::rollout(const std::string& name) {
  if (over_after > 0 && --over_after == 0) {
    status_.phase = outcome == "done" ? "done" : "idle";
    status_.outcome = outcome;
    status_.reason = outcome == "rolled_back" ? "green.handshake_failure_ratio was 100 %" : "";
    status_.eta_s.reset();
  }
  return named(name, last_command, "");
}

Result<RolloutStatus> FakeReleases::pause(const std::string& name, const Caller&) {
  return named(name, "pause", "rollout 3 of front is paused: by root");
}
Result<RolloutStatus> FakeReleases::resume(const std::string& name, const Caller&) {
  return named(name, "resume", "resumed by root: shifting at step 2");
}
Result<RolloutStatus> FakeReleases::promote(const std::string& name, bool all, const Caller&) {
  last_all = all;
  return named(name, "promote", "50 % of new flows to green");
}
Result<RolloutStatus> FakeReleases::abort(const std::string& name, std::optional<model::FlowsAction> flows, bool force,
                                          const Caller&) {
  last_flows = flows;
  last_force = force;
  return named(name, "abort", "aborted: all new flows go to blue");
}

Result<PreviewStatus> FakeReleases::preview(const std::string& service) {
  if (const auto problem = unknown(service)) return *problem;
  return PreviewStatus{service, "green", clients_, changed_live_};
}

Result<PreviewStatus> FakeReleases::set_preview(const std::string& service, const std::vector<model::Prefix>& clients) {
  if (const auto problem = unknown(service)) return *problem;
  clients_.clear();
  for (const auto& prefix : clients) clients_.push_back(prefix.str());
  changed_live_ = true;
  return preview(service);
}

Result<DrainReport> FakeReleases::drain(const std::string& service) {
  if (const auto problem = unknown(service)) return *problem;
  if (drain_flows > 0) drain_flows--;
  return DrainReport{service,
                     "blue",
                     drain_flows > 0,
                     drain_flows,
                     0,
                     90,
                     {1, 60},
                     {2, drain_flows > 2 ? drain_flows - 2 : 0, 0},
                     59,
                     {0, drain_flows}};
}

std::vector<ServiceSignals> FakeReleases::signals() {
  return {{"web", "blue", counts(9000, 0)}, {"web", "green", counts(1000, 1)}};
}

}  // namespace teal::control
