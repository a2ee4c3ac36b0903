// SPDX-License-Identifier: Apache-2.0
#include "rollout/state_json.h"

#include <array>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "rollout/machine.h"
#include "teal/split.h"

namespace teal::rollout {
namespace {

using nlohmann::json;

constexpr int format_version = 1;

const char* flows_text(model::FlowsAction v) {
  return v == model::FlowsAction::reset ? "reset" : "keep";
}

template <class E, class ToText>
E named(const json& j, const char* key, std::initializer_list<E> all, ToText to_text) {
  const std::string& text = j.at(key).get_ref<const std::string&>();
  std::string expected;
  for (E v : all) {
    if (text == to_text(v)) return v;
    expected += (expected.empty() ? "" : ", ") + std::string(to_text(v));
  }
  throw std::runtime_error(std::string(key) + ": found '" + text + "', expected one of: " + expected);
}

model::Pool pool(const json& j, const char* key) {
  return named(j, key, {model::Pool::blue, model::Pool::green}, [](model::Pool v) { return model::to_string(v); });
}

model::HookPoint hook_point(const json& j) {
  using model::HookPoint;
  return named(json{{"hook", j}}, "hook",
               {HookPoint::pre_start, HookPoint::pre_step, HookPoint::post_step, HookPoint::pre_promote,
                HookPoint::post_promote, HookPoint::on_rollback, HookPoint::on_done},
               [](HookPoint v) { return model::to_string(v); });
}

json hooks_json(const std::vector<model::HookPoint>& hooks) {
  json out = json::array();
  for (model::HookPoint p : hooks) out.push_back(model::to_string(p));
  return out;
}

std::vector<model::HookPoint> hooks(const json& j, const char* key) {
  std::vector<model::HookPoint> out;
  for (const json& entry : j.at(key)) out.push_back(hook_point(entry));
  return out;
}

json plan_json(const Plan& p) {
  return {{"to", model::to_string(p.to)},
          {"steps", p.steps},
          {"hold_s", p.hold_s},
          {"bake_s", p.bake_s},
          {"drain_deadline_s", p.drain_deadline_s},
          {"at_deadline", flows_text(p.at_deadline)},
          {"rollback_flows", flows_text(p.rollback_flows)},
          {"stay_in_preview", p.stay_in_preview},
          {"judge_nothing", p.judge_nothing},
          {"ignore_affinity", p.ignore_affinity},
          {"force_unready", p.force_unready},
          {"again", p.again},
          {"hooks", hooks_json(p.hooks)},
          {"target_signature", p.target_signature},
          {"started_by", p.started_by}};
}

Plan plan(const json& j) {
  const auto flows = {model::FlowsAction::keep, model::FlowsAction::reset};
  Plan p;
  p.to = pool(j, "to");
  j.at("steps").get_to(p.steps);
  j.at("hold_s").get_to(p.hold_s);
  j.at("bake_s").get_to(p.bake_s);
  j.at("drain_deadline_s").get_to(p.drain_deadline_s);
  p.at_deadline = named(j, "at_deadline", flows, flows_text);
  p.rollback_flows = named(j, "rollback_flows", flows, flows_text);
  j.at("stay_in_preview").get_to(p.stay_in_preview);
  j.at("judge_nothing").get_to(p.judge_nothing);
  j.at("ignore_affinity").get_to(p.ignore_affinity);
  j.at("force_unready").get_to(p.force_unready);
  j.at("again").get_to(p.again);
  p.hooks = hooks(j, "hooks");
  j.at("target_signature").get_to(p.target_signature);
  j.at("started_by").get_to(p.started_by);
  return p;
}

json optional_pool(const std::optional<model::Pool>& v) {
  return v ? json(model::to_string(*v)) : json();
}

json state_json(const State& s) {
  json history = json::array();
  for (const Event& e : s.history) history.push_back({{"at_ms", e.at_ms}, {"text", e.text}});
  return {{"id", s.id},
          {"group", s.group},
          {"services", s.services},
          {"plan", plan_json(s.plan)},
          {"phase", to_string(s.phase)},
          {"pause", to_string(s.pause)},
          {"pause_reason", s.pause_reason},
          {"step", s.step},
          {"elapsed_ms", s.elapsed_ms},
          {"started_at_ms", s.started_at_ms},
          {"ended_at_ms", s.ended_at_ms},
          {"word_before", s.word_before},
          {"word", s.word},
          {"generation", s.generation},
          {"hooks_due", hooks_json(s.hooks_due)},
          {"hook_running", s.hook_running},
          {"hook_call", s.hook_call},
          {"then", to_string(s.then)},
          {"then_step", s.then_step},
          {"reset_due", optional_pool(s.reset_due)},
          {"signals_verdict", s.signals_verdict},
          {"prometheus_verdict", s.prometheus_verdict},
          {"outcome", to_string(s.outcome)},
          {"automatic", s.automatic},
          {"reason", s.reason},
          {"flows_left", s.flows_left ? json(*s.flows_left) : json()},
          {"failed_pool", optional_pool(s.failed_pool)},
          {"failed_signature", s.failed_signature},
          {"history", std::move(history)}};
}

State state(const json& j) {
  State s;
  j.at("id").get_to(s.id);
  j.at("group").get_to(s.group);
  j.at("services").get_to(s.services);
  s.plan = plan(j.at("plan"));
  s.phase = named(
      j, "phase",
      {Phase::idle, Phase::preview, Phase::shifting, Phase::baking, Phase::draining, Phase::rolling_back, Phase::done},
      [](Phase v) { return to_string(v); });
  s.pause = named(
      j, "pause",
      {Pause::none, Pause::by_hand, Pause::too_few, Pause::hook, Pause::foreign, Pause::other_down, Pause::obstacle},
      [](Pause v) { return to_string(v); });
  j.at("pause_reason").get_to(s.pause_reason);
  j.at("step").get_to(s.step);
  j.at("elapsed_ms").get_to(s.elapsed_ms);
  j.at("started_at_ms").get_to(s.started_at_ms);
  j.at("ended_at_ms").get_to(s.ended_at_ms);
  j.at("word_before").get_to(s.word_before);
  j.at("word").get_to(s.word);
  j.at("generation").get_to(s.generation);
  s.hooks_due = hooks(j, "hooks_due");
  j.at("hook_running").get_to(s.hook_running);
  j.at("hook_call").get_to(s.hook_call);
  s.then =
      named(j, "then", {Then::wait, Then::take_step, Then::drain, Then::finish}, [](Then v) { return to_string(v); });
  j.at("then_step").get_to(s.then_step);
  if (!j.at("reset_due").is_null()) s.reset_due = pool(j, "reset_due");
  j.at("signals_verdict").get_to(s.signals_verdict);
  j.at("prometheus_verdict").get_to(s.prometheus_verdict);
  s.outcome = named(j, "outcome", {Outcome::none, Outcome::done, Outcome::rolled_back, Outcome::aborted},
                    [](Outcome v) { return to_string(v); });
  j.at("automatic").get_to(s.automatic);
  j.at("reason").get_to(s.reason);
  if (!j.at("flows_left").is_null()) s.flows_left = j.at("flows_left").get<uint64_t>();
  if (!j.at("failed_pool").is_null()) s.failed_pool = pool(j, "failed_pool");
  j.at("failed_signature").get_to(s.failed_signature);
  for (const json& e : j.at("history"))
    s.history.push_back({e.at("at_ms").get<int64_t>(), e.at("text").get<std::string>()});
  return s;
}

// What no state of the machine can be; empty: nothing.
std::string impossible(const State& s) {
  if (s.id == 0) return s.phase == Phase::idle ? "" : "id: found 0, expected one of a rollout";
  if (const std::string wrong = complaint(s.plan); !wrong.empty()) return wrong;
  const auto steps = static_cast<int32_t>(s.plan.steps.size());
  if (s.step < -1 || s.step >= steps)
    return "step: found " + std::to_string(s.step) + ", expected -1 to " + std::to_string(steps - 1);
  if (s.then == Then::take_step ? s.then_step < 0 || s.then_step >= steps : s.then_step != -1)
    return "then_step: found " + std::to_string(s.then_step) + ", which does not go with then: " + to_string(s.then);
  if (s.hook_running && s.hooks_due.empty()) return "hook_running: found true, expected a hook that is due";
  if (s.elapsed_ms < 0) return "elapsed_ms: found " + std::to_string(s.elapsed_ms) + ", expected 0 or more";
  if (s.generation != teal_split_generation(s.word))
    return "generation: found " + std::to_string(s.generation) + ", expected that of the split word";
  return {};
}

// Replaces what is not UTF-8 (a hook may print anything): the only text that JSON can hold.
std::string text_of(const json& j) {
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

// FNV-1a: tells a damaged file, not a forged one.
std::string check_of(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ull;
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

}  // namespace

std::string describe(const State& s) {
  return text_of(state_json(s));
}

std::string to_text(const State& s) {
  const std::string body = text_of(state_json(s));
  return "{\"version\":" + std::to_string(format_version) + ",\"check\":\"" + check_of(body) + "\",\"state\":" + body +
         "}\n";
}

Parsed from_text(const std::string& text) {
  try {
    const json file = json::parse(text);
    if (const json& version = file.at("version"); version != format_version)
      return {std::nullopt, "version: found " + text_of(version) + ", expected " + std::to_string(format_version)};
    if (file.size() != 3) return {std::nullopt, "expected version, check and state and no other field"};
    const json& body = file.at("state");
    if (const std::string check = check_of(text_of(body)); file.at("check") != check)
      return {std::nullopt, "check: found " + text_of(file.at("check")) + ", expected \"" + check + "\""};
    State s = state(body);
    // What was read must be all there was: no unknown field, no number that does not fit.
    if (state_json(s) != body) return {std::nullopt, "found a field or a number that this version does not write"};
    if (const std::string wrong = impossible(s); !wrong.empty()) return {std::nullopt, wrong};
    return {std::move(s), {}};
  } catch (const std::exception& e) {
    return {std::nullopt, e.what()};
  }
}

}  // namespace teal::rollout
