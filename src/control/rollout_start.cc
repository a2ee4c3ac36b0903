// SPDX-License-Identifier: Apache-2.0
#include "rollout_start.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "rollout/machine.h"

namespace teal::control {
namespace {

const char* name_of(model::Pool pool) {
  return model::to_string(pool);
}

struct Strength {
  unsigned backends = 0;  // that take new flows
  uint64_t weight = 0;    // of those
};

Strength strength_of(const PoolView& pool, const std::string& service = {}) {
  Strength s;
  for (const auto& b : pool.backends) {
    if (!b.ready || (!service.empty() && b.service != service)) continue;
    s.backends++;
    s.weight += b.weight;
  }
  return s;
}

// A pool of less than half the weight and backends of the one that carries the load now would have each of its backends
// carry more than twice as much; with no load at all nothing can be said against it.
std::string capacity_risk(const rollout::Plan& plan, const GroupView& view, const Load& load) {
  const auto to = static_cast<size_t>(plan.to), from = 1 - to;
  const bool loaded = load.new_flows_per_s > 0 || view.pools[from].flows > 0;
  for (const std::string& service : view.services) {
    const Strength is = strength_of(view.pools[from], service), will = strength_of(view.pools[to], service);
    if (loaded && 2 * will.backends < is.backends && 2 * will.weight < is.weight)
      return fmt::format(
          "service '{}': {} has {} backends of weight {} that take new flows, {} has {} of weight {}, expected at "
          "least "
          "half for a load of {:.1f} new flows a second",
          service, name_of(plan.to), will.backends, will.weight, name_of(model::other(plan.to)), is.backends, is.weight,
          load.new_flows_per_s);
  }
  // Two pools' flows live side by side until the old one has drained.
  if (load.table.capacity > 0 && load.table.free < load.table.capacity / 10)
    return fmt::format("the flow table has room for {} more flows of {}, expected at least a tenth", load.table.free,
                       load.table.capacity);
  return {};
}

}  // namespace

rollout::Plan plan_of(const RolloutRequest& request, const GroupView& view) {
  const model::RolloutConfig& config = view.config;
  rollout::Plan plan;
  plan.to = request.to.value_or(rollout::standby(view.split));
  plan.steps = request.steps.empty() ? config.steps : request.steps;
  plan.hold_s = request.hold_s.value_or(config.hold_s);
  plan.bake_s = request.bake_s.value_or(config.bake_s);
  plan.drain_deadline_s = request.drain_deadline_s.value_or(config.drain_deadline_s);
  plan.at_deadline = request.at_deadline.value_or(config.at_deadline);
  plan.rollback_flows = config.rollback_flows;
  plan.ignore_affinity = request.ignore_affinity;
  const auto forced = [&](const char* name) {
    return std::find(request.force.begin(), request.force.end(), name) != request.force.end();
  };
  plan.force_unready = forced("no_ready_backend");
  plan.again = request.again || forced("needs_again");
  std::set<model::HookPoint> points;
  for (const auto& hook : config.hooks) points.insert(hook.point);
  plan.hooks.assign(points.begin(), points.end());
  plan.target_signature = signature_of(view, plan.to);
  plan.started_by = request.caller.user;
  return plan;
}

std::string signature_of(const GroupView& view, model::Pool pool) {
  std::set<std::string> lines;
  for (const auto& b : view.pools[static_cast<size_t>(pool)].backends)
    lines.insert(fmt::format("{} {} {} {}", b.service, b.name, b.address, b.weight));
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

std::vector<Risk> risks_of(const RolloutRequest& request, const rollout::Plan& plan, const GroupView& view,
                           const rollout::State& last, const Load& load) {
  std::vector<Risk> risks;
  const auto add = [&](const char* name, std::string detail) {
    const bool forced = std::find(request.force.begin(), request.force.end(), name) != request.force.end();
    risks.push_back({name, std::move(detail), forced || (plan.again && std::string(name) == "needs_again")});
  };
  const char* to = name_of(plan.to);
  if (last.running())
    add("rollout_under_way", fmt::format("rollout {} of group '{}' is {}{}, expected none under way", last.id,
                                         view.name, rollout::to_string(last.phase), last.paused() ? " (paused)" : ""));
  const auto to_index = static_cast<size_t>(plan.to);
  for (const std::string& service : view.services)
    if (strength_of(view.pools[to_index], service).weight == 0)
      add("no_ready_backend",
          fmt::format("service '{}': no backend of {} takes new flows, expected at least one", service, to));
  if (!view.untracked.empty()) add("untracked_flows", view.untracked);
  if (last.failed_pool == plan.to && last.failed_signature == plan.target_signature)
    add("needs_again",
        fmt::format(
            "{} was rolled back on its own by rollout {} ({}), and its backends are the same, expected a changed "
            "pool or \"again\"",
            to, last.id, last.reason));
  if (const std::string text = capacity_risk(plan, view, load); !text.empty()) add("capacity", text);
  return risks;
}

Rehearsal rehearsal_of(const RolloutRequest& request, const rollout::Plan& plan, const GroupView& view,
                       const rollout::State& last, const Load& load) {
  const auto to = static_cast<size_t>(plan.to), from = 1 - to;
  const Strength is = strength_of(view.pools[from]), will = strength_of(view.pools[to]);
  Rehearsal r;
  r.group = view.name;
  r.from = name_of(model::other(plan.to));
  r.to = name_of(plan.to);
  r.services = view.services;
  uint32_t before = rollout::target_share(view.split.current, plan.to);
  for (size_t i = 0; i < plan.steps.size(); i++) {
    const uint32_t share = plan.steps[i];
    const uint32_t moves = share > before ? share - before : 0;
    r.steps.push_back({share_of(share), share_of(moves), i + 1 < plan.steps.size() ? plan.hold_s : 0,
                       load.new_flows_per_s * share_of(share)});
    before = share;
  }
  r.bake_s = plan.bake_s;
  r.drain_deadline_s = plan.drain_deadline_s;
  r.at_deadline = model::to_string(plan.at_deadline);
  for (const model::Pool pool : {model::Pool::blue, model::Pool::green})
    r.flows.push_back({name_of(pool), view.pools[static_cast<size_t>(pool)].flows});
  auto& c = r.capacity;
  c.new_flows_per_s = load.new_flows_per_s;
  c.live_flows = view.pools[0].flows + view.pools[1].flows;
  c.backends_from = is.backends;
  c.backends_to = will.backends;
  c.weight_from = is.weight;
  c.weight_to = will.weight;
  if (is.backends > 0) c.flows_per_backend_now = static_cast<double>(view.pools[from].flows) / is.backends;
  if (will.backends > 0) c.flows_per_backend_then = static_cast<double>(c.live_flows) / will.backends;
  r.table = load.table;
  for (const auto& b : view.pools[to].backends)
    if (!b.ready)
      r.not_ready.push_back(
          fmt::format("{}: {} ({})", b.service, b.name, b.state == "ready" ? "weight 0" : b.state.c_str()));
  for (const model::HookPoint point : plan.hooks)
    for (const auto& hook : view.config.hooks)
      if (hook.point == point) r.hooks.push_back(std::string(model::to_string(point)) + ": " + hook.name);
  r.risks = risks_of(request, plan, view, last, load);
  if (const std::string wrong = rollout::complaint(plan); !wrong.empty())
    r.risks.push_back({"wrong_value", wrong, false});
  if (rollout::standby(view.split) != plan.to)
    r.risks.push_back(
        {"already_active", fmt::format("{} is the active pool already, expected the standby pool", r.to), false});
  else if (rollout::target_share(view.split.current, plan.to) != 0 && !last.running())
    r.risks.push_back({"split_between",
                       fmt::format("{:.1f} % of new flows go to {} now, expected none (a rollback by hand brings them "
                                   "back)",
                                   100 * share_of(rollout::target_share(view.split.current, plan.to)), r.to),
                       false});
  r.would_start = std::all_of(r.risks.begin(), r.risks.end(), [](const Risk& risk) { return risk.forced; });
  return r;
}

}  // namespace teal::control
