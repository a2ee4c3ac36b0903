// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "handlers/handlers.h"
#include "input.h"
#include "teal/split.h"

namespace teal::control {
namespace {

constexpr uint32_t longest_s = 30 * 86400;  // of a hold, bake or deadline

// Shares from 0 to 1 as 65,536ths; what rounds to none is refused rather than made something.
std::vector<uint32_t> steps_of(const std::vector<double>& shares) {
  constexpr const char* expected = "rising shares above 0, the last one 1 ([0.01, 0.1, 0.5, 1])";
  std::vector<uint32_t> steps;
  for (const double share : shares) {
    const double parts = std::round(share * TEAL_SPLIT_ALL);
    if (!(share > 0 && share <= 1) || parts < 1 || (!steps.empty() && parts <= steps.back()))
      refuse(ProblemCode::wrong_value,
             "key \"steps\": found the number " + Json(share).dump() + " in it, expected " + expected);
    steps.push_back(static_cast<uint32_t>(parts));
  }
  if (steps.empty() || steps.back() != TEAL_SPLIT_ALL)
    refuse(ProblemCode::wrong_value, std::string("key \"steps\": found ") +
                                         (steps.empty() ? "none" : "a last one below 1") + ", expected " + expected);
  return steps;
}

std::optional<uint32_t> seconds(const Body& body, const char* key) {
  const auto value = body.integer(key, longest_s);
  if (!value) return {};
  return static_cast<uint32_t>(*value);
}

RolloutRequest request_of(const Body& body, const Caller& caller) {
  RolloutRequest request;
  const auto service = body.text("service", "the name of a service"), group = body.text("group", "the name of a group");
  if (!service && !group)
    refuse(ProblemCode::missing_key, "body: found neither \"service\" nor \"group\", expected one of them");
  if (service && group)
    refuse(ProblemCode::unknown_key, "body: found both \"service\" and \"group\", expected one of them");
  request.name = service ? *service : *group;
  if (const auto to = body.word("to", {"blue", "green"}))
    request.to = *to == "blue" ? model::Pool::blue : model::Pool::green;
  if (const auto steps = body.numbers("steps", "an array of shares from 0 to 1")) request.steps = steps_of(*steps);
  request.hold_s = seconds(body, "hold_s");
  request.bake_s = seconds(body, "bake_s");
  request.drain_deadline_s = seconds(body, "drain_deadline_s");
  if (const auto action = body.word("at_deadline", {"keep", "reset"}))
    request.at_deadline = *action == "reset" ? model::FlowsAction::reset : model::FlowsAction::keep;
  request.ignore_affinity = body.boolean("ignore_affinity").value_or(false);
  request.again = body.boolean("again").value_or(false);
  request.force =
      body.texts("force", {"no_ready_backend", "untracked_flows", "rollout_under_way", "capacity", "needs_again"})
          .value_or(std::vector<std::string>{});
  request.caller = caller;
  return request;
}

// Runs a command on a group's rollout with what stood around it noted for the audit line.
template <class Command>
Reply command(Context& context, Call& call, Command run) {
  const std::string& name = call.captures.at(0);
  note_before(context, call, name);
  const RolloutStatus status = value_or_refuse(run(name));
  note_after(context, call, name);
  return json_reply(to_json(status));
}

}  // namespace

Reply post_rollouts(Context& context, Call& call) {
  const Query query(call.query, {});
  const Body body(call.body, {"service", "group", "to", "steps", "hold_s", "bake_s", "drain_deadline_s", "at_deadline",
                              "ignore_affinity", "again", "force", "dry_run"});
  const RolloutRequest request = request_of(body, call.caller);
  note_before(context, call, request.name);
  if (body.boolean("dry_run").value_or(false))
    return json_reply(to_json(value_or_refuse(context.releases.rehearse(request))));
  const RolloutStatus status = value_or_refuse(context.releases.start(request));
  note_after(context, call, request.name);
  return json_reply(to_json(status));
}

Reply list_rollouts(Context& context, Call& call) {
  const Query query(call.query, {});
  Json rollouts = Json::array();
  for (const auto& status : context.releases.rollouts()) rollouts.push_back(to_json(status));
  return json_reply({{"rollouts", std::move(rollouts)}});
}

Reply get_rollout(Context& context, Call& call) {
  const Query query(call.query, {});
  return json_reply(to_json(value_or_refuse(context.releases.rollout(call.captures.at(0)))));
}

Reply post_pause(Context& context, Call& call) {
  const Query query(call.query, {});
  const Body body(call.body, {});
  return command(context, call, [&](const auto& name) { return context.releases.pause(name, call.caller); });
}

Reply post_resume(Context& context, Call& call) {
  const Query query(call.query, {});
  const Body body(call.body, {});
  return command(context, call, [&](const auto& name) { return context.releases.resume(name, call.caller); });
}

Reply post_promote(Context& context, Call& call) {
  const Query query(call.query, {});
  const Body body(call.body, {"all"});
  const bool all = body.boolean("all").value_or(false);
  return command(context, call, [&](const auto& name) { return context.releases.promote(name, all, call.caller); });
}

Reply post_abort(Context& context, Call& call) {
  const Query query(call.query, {});
  const Body body(call.body, {"flows", "force"});
  std::optional<model::FlowsAction> flows;
  if (const auto word = body.word("flows", {"keep", "reset"}))
    flows = *word == "reset" ? model::FlowsAction::reset : model::FlowsAction::keep;
  const bool force = body.boolean("force").value_or(false);
  return command(context, call,
                 [&](const auto& name) { return context.releases.abort(name, flows, force, call.caller); });
}

}  // namespace teal::control
