// SPDX-License-Identifier: Apache-2.0
// What a rollout waits for from outside of teald: hooks and Prometheus.
#include "json.h"
#include "rollout_record.h"

namespace teal::control {

void Rollouts::act(Record& r, const rollout::RunHook& act) {
  r.hook_call = act.call;
  r.hook.reset();
  r.hooks_left.clear();
  for (const model::Hook& hook : r.config.hooks)
    if (hook.point == act.point) r.hooks_left.push_back(hook);
  next_hook(r);
}

// Those of one point run one after the other; the first that fails ends it.
void Rollouts::next_hook(Record& r) {
  r.hook_name.clear();
  if (r.hooks_left.empty()) {
    r.hook = rollout::HookResult{r.hook_call, true, {}};
    return;
  }
  HookCall call;
  call.hook = r.hooks_left.front();
  r.hooks_left.erase(r.hooks_left.begin());
  r.hook_name = call.hook.name;
  call.group = r.group;
  call.phase = rollout::to_string(r.state.phase);
  call.step = static_cast<uint32_t>(r.state.step + 1);
  call.share = rollout::target_share(world_.groups.see(r.group).split.current, r.state.target());
  call.from = r.state.other();
  call.to = r.state.target();
  call.json = json_text(to_json(describe(r)));
  const auto done = [this, alive = std::weak_ptr<bool>(alive_), &r, number = r.hook_call, name = call.hook.name](
                        bool ok, const std::string& text) {
    if (alive.expired() || r.hook_call != number) return;
    if (ok) return next_hook(r);
    r.hook_name.clear();
    r.hooks_left.clear();
    r.hook = rollout::HookResult{number, false, "hook '" + name + "': " + text};
  };
  world_.run_hook(call, done);
}

// Asks what is due and says what is known: a failure as soon as there is one, a pass when every answer is one.
rollout::Judgement Rollouts::ask_prometheus(Record& r) {
  const uint64_t generation = r.state.generation;
  rollout::Judgement said{rollout::Verdict::pass, {}, generation};
  for (const model::PrometheusRule& rule : r.config.prometheus) {
    // One answer for all services, unless the query asks for each by its name.
    const bool each = rule.query.find("{{service}}") != std::string::npos;
    for (size_t i = 0; i < (each ? r.names.size() : std::min<size_t>(1, r.names.size())); i++) {
      Record::Query& query = r.queries[{rule.name, r.names[i]}];
      if (query.generation != generation)
        query = {.generation = generation, .under_way = query.under_way, .answer = {}};
      const int64_t now = world_.now_ms();
      if (!query.under_way &&
          (query.asked_ms == 0 || now - query.asked_ms >= 1000 * int64_t{r.config.prometheus_interval_s})) {
        query.under_way = true;
        query.asked_ms = now;
        const auto done = [alive = std::weak_ptr<bool>(alive_), &query, generation](rollout::Verdict verdict,
                                                                                    const std::string& text) {
          if (alive.expired()) return;
          query.under_way = false;
          if (query.generation == generation) query.answer = {verdict, text};
        };
        world_.query(rule, r.names[i], model::to_string(r.state.target()), done);
      }
      const auto verdict = query.answer ? query.answer->first : rollout::Verdict::insufficient;
      const std::string text = query.answer ? query.answer->second : rule.name + ": no answer yet";
      if (verdict == rollout::Verdict::pass) continue;
      // A failure says more than an answer that is missing.
      if (said.verdict == verdict || said.verdict == rollout::Verdict::pass) {
        said.text += (said.text.empty() ? "" : "; ") + text;
      } else if (verdict == rollout::Verdict::fail) {
        said.text = text;
      } else {
        continue;
      }
      said.verdict = verdict;
    }
  }
  return said;
}

}  // namespace teal::control
