// SPDX-License-Identifier: Apache-2.0
// What the driver keeps of one group's rollout beside its state.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/rollouts.h"
#include "drain_meter.h"
#include "rollout_judge.h"

namespace teal::control {

struct Rollouts::Record {
  Record(std::string name, rollout::Files& files, const std::string& path, SignalWindow::Source source)
      : group(std::move(name)), store(files, path), window(std::move(source)) {}

  const std::string group;
  rollout::State state;
  rollout::Store store;
  bool loaded = false;    // state comes from an earlier teald and has not been resumed yet
  bool unsaved = false;   // state is newer than what is stored, though it was acted upon
  std::string complaint;  // why the last save failed; told once

  model::RolloutConfig config;     // read anew every second
  std::vector<uint16_t> services;  // numbers of the configured ones, likewise
  std::vector<std::string> names;  // theirs
  std::vector<uint16_t> telling;   // of services, those whose packets tell something

  SignalWindow window;
  std::optional<BothPools> judged;  // what `verdict` is of
  rollout::Judgement verdict;

  struct Query {
    uint64_t generation = 0;  // under which it was asked
    bool under_way = false;
    int64_t asked_ms = 0;
    std::optional<std::pair<rollout::Verdict, std::string>> answer;
  };
  std::map<std::pair<std::string, std::string>, Query> queries;  // by rule and service

  uint64_t hook_call = 0;
  std::vector<model::Hook> hooks_left;  // of the call that runs, the running one not included
  std::string hook_name;                // that runs; empty: none
  std::optional<rollout::HookResult> hook;

  DrainMeter drain;
  bool keeps_idle = false;  // flows of the pool that drains do not age out
  uint64_t drain_begun_with = 0;
};

}  // namespace teal::control
