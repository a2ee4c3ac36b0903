// SPDX-License-Identifier: Apache-2.0
#include "handlers/handlers.h"

namespace teal::control {
namespace {

// Sums over the services of the group; the pools' figures by pool.
void note(Context& context, const std::string& name, std::optional<uint64_t>& generation,
          telemetry::AuditCounters& counters) {
  const auto services = context.operations.services();
  std::string group = name;
  for (const auto& s : services)
    if (s.name == name) group = s.group;
  uint64_t flows[2] = {}, new_flows[2] = {}, untracked = 0, recovered = 0, moved = 0;
  bool found = false;
  for (const auto& s : services) {
    if (s.group != group) continue;
    found = true;
    generation = s.generation;
    untracked += s.untracked;
    recovered += s.recovered;
    moved += s.flows_moved;
    for (const auto& [pool, status] : s.pools) {
      flows[pool == "green"] += status.flows;
      new_flows[pool == "green"] += status.new_flows;
    }
  }
  if (!found) return;
  counters = {{"flows_blue", flows[0]},
              {"flows_green", flows[1]},
              {"new_flows_blue", new_flows[0]},
              {"new_flows_green", new_flows[1]},
              {"untracked", untracked},
              {"recovered", recovered},
              {"flows_moved", moved}};
}

}  // namespace

void note_before(Context& context, Call& call, const std::string& name) {
  note(context, name, call.generation_before, call.counters_before);
  call.generation_after = call.generation_before;
  call.counters_after = call.counters_before;
}

void note_after(Context& context, Call& call, const std::string& name) {
  note(context, name, call.generation_after, call.counters_after);
}

}  // namespace teal::control
