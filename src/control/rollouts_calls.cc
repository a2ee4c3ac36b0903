// SPDX-License-Identifier: Apache-2.0
// What is asked of rollouts.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "control/problem_codes.h"
#include "rollout_record.h"
#include "rollout_start.h"

namespace teal::control {
namespace {

ProblemCode code_of(rollout::Refusal refusal) {
  switch (refusal) {
    case rollout::Refusal::not_running:
      return ProblemCode::no_rollout;
    case rollout::Refusal::under_way:
      return ProblemCode::rollout_under_way;
    case rollout::Refusal::bad_plan:
      return ProblemCode::wrong_value;
    case rollout::Refusal::already_active:
      return ProblemCode::already_active;
    case rollout::Refusal::split_between:
      return ProblemCode::split_between;
    case rollout::Refusal::target_not_ready:
    case rollout::Refusal::other_not_ready:
      return ProblemCode::no_ready_backend;
    case rollout::Refusal::needs_again:
      return ProblemCode::needs_again;
    case rollout::Refusal::obstacle:
      return ProblemCode::service_retired;
    case rollout::Refusal::change_pending:
      return ProblemCode::not_ready;
    case rollout::Refusal::none:
    case rollout::Refusal::wrong_phase:
    case rollout::Refusal::foreign:
      break;
  }
  return ProblemCode::wrong_phase;
}

}  // namespace

Problem Rollouts::unknown(const std::string& name) {
  std::string known;
  for (const std::string& group : world_.groups.group_names()) known += (known.empty() ? "" : ", ") + group;
  return make_problem(ProblemCode::unknown_group,
                      "no group or service '" + name + "', expected a service or one of the groups " + known);
}

Result<RolloutStatus> Rollouts::obey(Record& r, const rollout::Reply& reply) {
  if (!reply.accepted) return make_problem(code_of(reply.refusal), reply.text);
  if (!apply(r, reply.turn, true)) return make_problem(ProblemCode::not_persisted, r.complaint);
  RolloutStatus status = describe(r);
  status.message = reply.text;
  return status;
}

template <class Command>
Result<RolloutStatus> Rollouts::command(const std::string& name, Command run) {
  const auto group = world_.groups.group_of(name);
  if (!group) return unknown(name);
  Record& r = record(*group);
  if (r.loaded)
    return make_problem(ProblemCode::not_ready, fmt::format("rollout {} of group '{}' has not been resumed yet: health "
                                                            "checks are waited for, expected to take seconds",
                                                            r.state.id, *group));
  return obey(r, run(r.state, look(r)));
}

Result<RolloutStatus> Rollouts::start(const RolloutRequest& request) {
  const auto group = world_.groups.group_of(request.name);
  if (!group) return unknown(request.name);
  if (!world_.settled())
    return make_problem(ProblemCode::not_ready, "teald has just started and waits for its first health checks");
  Record& r = record(*group);
  refresh(r);
  const auto view = world_.groups.view(*group);
  if (!view) return unknown(request.name);
  const rollout::Plan plan = plan_of(request, *view);
  std::vector<const Risk*> open;
  const auto risks = risks_of(request, plan, *view, r.state, {rate_of(*group), world_.groups.table_room()});
  for (const Risk& risk : risks)
    if (!risk.forced) open.push_back(&risk);
  if (!open.empty()) {
    std::vector<std::string> all;
    for (const Risk* risk : open) all.push_back(risk->name + ": " + risk->detail);
    return make_problem(open.front()->name, open.front()->detail + " (or force " + open.front()->name + ")",
                        open.size() > 1 ? all : std::vector<std::string>{});
  }
  // Forced over another: that one goes back first.
  if (r.state.running()) {
    const auto back = abort(*group, std::nullopt, true, request.caller);
    if (const auto* problem = std::get_if<Problem>(&back)) return *problem;
    run(r);
  }
  // Readiness is of the plan's target, not of the last rollout's.
  rollout::Inputs in = look(r);
  const GroupSight sight = world_.groups.see(*group);
  in.target_ready = sight.ready[static_cast<size_t>(plan.to)];
  in.other_ready = sight.ready[1 - static_cast<size_t>(plan.to)];
  auto status = obey(r, rollout::start(r.state, in, {*group, view->services, plan}));
  for (const Risk& risk : risks)
    if (risk.forced && std::holds_alternative<RolloutStatus>(status))
      spdlog::warn("rollout of group {} by {}: forced although {}", *group, request.caller.user, risk.detail);
  return status;
}

Result<Rehearsal> Rollouts::rehearse(const RolloutRequest& request) {
  const auto group = world_.groups.group_of(request.name);
  const auto view = group ? world_.groups.view(*group) : std::nullopt;
  if (!view) return unknown(request.name);
  return rehearsal_of(request, plan_of(request, *view), *view, record(*group).state,
                      {rate_of(*group), world_.groups.table_room()});
}

Result<RolloutStatus> Rollouts::pause(const std::string& name, const Caller& caller) {
  return command(name, [&](const auto& state, const auto& in) { return rollout::pause(state, in, caller.user); });
}

Result<RolloutStatus> Rollouts::resume(const std::string& name, const Caller& caller) {
  return command(name, [&](const auto& state, const auto& in) { return rollout::resume(state, in, caller.user); });
}

Result<RolloutStatus> Rollouts::promote(const std::string& name, bool all, const Caller& caller) {
  return command(name,
                 [&](const auto& state, const auto& in) { return rollout::promote(state, in, all, caller.user); });
}

Result<RolloutStatus> Rollouts::abort(const std::string& name, std::optional<model::FlowsAction> flows, bool force,
                                      const Caller& caller) {
  return command(name, [&](const auto& state, const auto& in) {
    return rollout::abort(state, in, {flows, force, caller.user});
  });
}

Result<PreviewStatus> Rollouts::preview(const std::string& service) {
  return world_.groups.preview_of(service);
}

Result<PreviewStatus> Rollouts::set_preview(const std::string& service, const std::vector<model::Prefix>& clients) {
  return world_.groups.change_preview(service, clients);
}

}  // namespace teal::control
