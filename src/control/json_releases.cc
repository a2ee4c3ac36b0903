// SPDX-License-Identifier: Apache-2.0
#include "json.h"

namespace teal::control {
namespace {

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json risk_json(const Risk& value) {
  return {{"name", value.name}, {"detail", value.detail}, {"forced", value.forced}};
}

}  // namespace

Json to_json(const PoolSignalsStatus& value) {
  const rollout::PoolSignals& c = value.counts;
  return {{"pool", value.pool},   {"share", value.share},       {"flows", value.flows},
          {"begun", c.begun},     {"handshakes", c.handshakes}, {"syn_retransmits", c.syn_retransmits},
          {"refused", c.refused}, {"timed_out", c.timed_out},   {"early_resets", c.early_resets},
          {"resets", c.resets},   {"handshake", c.handshake}};
}

Json to_json(const RolloutStatus& value) {
  Json history = Json::array(), signals = Json::array(), drain = nullptr;
  for (const auto& event : value.history) history.push_back({{"time", event.time}, {"text", event.text}});
  for (const auto& pool : value.signals) signals.push_back(to_json(pool));
  if (value.drain)
    drain = {{"pool", value.drain->pool},
             {"flows", value.drain->flows},
             {"begun_with", value.drain->begun_with},
             {"pinned", value.drain->pinned},
             {"eta_s", or_null(value.drain->eta_s)}};
  return {{"id", value.id},
          {"group", value.group},
          {"services", value.services},
          {"phase", value.phase},
          {"paused", value.paused},
          {"reason", value.reason},
          {"outcome", value.outcome},
          {"automatic", value.automatic},
          {"from", value.from},
          {"to", value.to},
          {"started_by", value.started_by},
          {"steps", value.steps},
          {"step", value.step},
          {"share", value.share},
          {"generation", value.generation},
          {"elapsed_s", value.elapsed_s},
          {"eta_s", or_null(value.eta_s)},
          {"progress", value.progress},
          {"waiting_for", value.waiting_for},
          {"verdict", value.verdict},
          {"ignore_affinity", value.ignore_affinity},
          {"message", value.message},
          {"signals", std::move(signals)},
          {"drain", std::move(drain)},
          {"history", std::move(history)}};
}

Json to_json(const Rehearsal& value) {
  Json steps = Json::array(), flows = Json::array(), risks = Json::array();
  for (const auto& step : value.steps)
    steps.push_back({{"share", step.share}, {"moves", step.moves}, {"hold_s", step.hold_s}, {"load", step.load}});
  for (const auto& f : value.flows) flows.push_back({{"pool", f.pool}, {"stay", f.stay}});
  for (const auto& risk : value.risks) risks.push_back(risk_json(risk));
  const auto& c = value.capacity;
  return {{"dry_run", true},
          {"group", value.group},
          {"services", value.services},
          {"from", value.from},
          {"to", value.to},
          {"steps", std::move(steps)},
          {"bake_s", value.bake_s},
          {"drain_deadline_s", value.drain_deadline_s},
          {"at_deadline", value.at_deadline},
          {"flows", std::move(flows)},
          {"capacity",
           {{"new_flows_per_s", c.new_flows_per_s},
            {"live_flows", c.live_flows},
            {"backends_from", c.backends_from},
            {"backends_to", c.backends_to},
            {"weight_from", c.weight_from},
            {"weight_to", c.weight_to},
            {"flows_per_backend_now", c.flows_per_backend_now},
            {"flows_per_backend_then", c.flows_per_backend_then}}},
          {"table", {{"capacity", value.table.capacity}, {"entries", value.table.entries}, {"free", value.table.free}}},
          {"not_ready", value.not_ready},
          {"hooks", value.hooks},
          {"risks", std::move(risks)},
          {"would_start", value.would_start}};
}

Json to_json(const PreviewStatus& value) {
  return {{"service", value.service},
          {"pool", value.pool},
          {"clients", value.clients},
          {"changed_live", value.changed_live}};
}

Json to_json(const DrainReport& value) {
  Json idle = Json::array();
  for (size_t i = 0; i < value.idle_flows.size(); i++)
    idle.push_back({{"up_to_s", i < value.idle_edges_s.size() ? Json(value.idle_edges_s[i]) : Json(nullptr)},
                    {"flows", value.idle_flows[i]}});
  return {{"service", value.service},   {"pool", value.pool},
          {"draining", value.draining}, {"flows", value.flows},
          {"pinned", value.pinned},     {"eta_s", or_null(value.eta_s)},
          {"idle", std::move(idle)},    {"longest_idle_s", value.longest_idle_s},
          {"by_age", value.by_age}};
}

}  // namespace teal::control
