// SPDX-License-Identifier: Apache-2.0
#include "rollout_judge.h"

#include "rollout/judge.h"

namespace teal::control {
namespace {

constexpr int64_t moment_ms = 100, latest_ms = 2'000, minute_ms = 60'000;

// The last moments are judged anew with each moment of a bake that may take hours: so much smaller must the chance be.
constexpr double many_looks = 1e-4;

}  // namespace

BothPools operator-(const BothPools& a, const BothPools& b) {
  return {a[0] - b[0], a[1] - b[1]};
}

void SignalWindow::begin(uint64_t generation, const std::vector<uint16_t>& services) {
  generation_ = generation;
  absence_until_ms_ = 0;
  base_.clear();
  moments_.clear();
  for (const uint16_t service : services)
    for (const model::Pool pool : {model::Pool::blue, model::Pool::green})
      base_[{service, pool}] = source_(service, pool, generation % TEAL_SIGNAL_GENERATIONS);
  if (minute_.size() < 2) return;
  const BothPools before = minute_.back().second - minute_.front().second;
  for (size_t pool = 0; pool < 2; pool++)
    if (before[pool].begun > 0) normal_[pool] = before[pool];
}

void SignalWindow::begin_after_restart(uint64_t generation, const std::vector<uint16_t>& services, int64_t until_ms) {
  begin(generation, services);
  absence_until_ms_ = until_ms;
}

BothPools SignalWindow::of(const std::vector<uint16_t>& services, int64_t now_ms) {
  BothPools sum;
  if (generation_ == 0) return sum;
  for (const uint16_t service : services)
    for (const model::Pool pool : {model::Pool::blue, model::Pool::green}) {
      const auto now = source_(service, pool, generation_ % TEAL_SIGNAL_GENERATIONS);
      rollout::PoolSignals& base = base_.try_emplace({service, pool}, now).first->second;
      if (now_ms < absence_until_ms_) {
        base.syn_retransmits = now.syn_retransmits;
        base.timed_out = now.timed_out;
      }
      sum[static_cast<size_t>(pool)] += now - base;
    }
  return sum;
}

std::optional<BothPools> SignalWindow::latest(const BothPools& counts, int64_t now_ms) {
  if (moments_.empty() || now_ms - moments_.back().first >= moment_ms) moments_.emplace_back(now_ms, counts);
  while (moments_.size() > 1 && now_ms - moments_[1].first >= latest_ms) moments_.pop_front();
  if (now_ms - moments_.front().first < latest_ms) return std::nullopt;
  return counts - moments_.front().second;
}

void SignalWindow::remember(int64_t now_ms, const BothPools& all) {
  minute_.emplace_back(now_ms, all);
  while (now_ms - minute_.front().first > minute_ms) minute_.pop_front();
}

rollout::Judgement judge_window(const model::RolloutConfig& config, const Judged& what, model::Pool target,
                                uint64_t generation) {
  const auto to = static_cast<size_t>(target), from = 1 - to;
  const auto ask = [&](const BothPools& window, double confidence) {
    const rollout::PoolSignals& other = window[from].begun < config.min_sample ? what.normal : window[from];
    return rollout::judge(config.rules, window[to], other, target, config.min_sample, confidence).judgement;
  };
  rollout::Judgement said = ask(what.step, config.confidence);
  if (said.verdict != rollout::Verdict::fail && what.latest) {
    rollout::Judgement now = ask(*what.latest, 1 - (1 - config.confidence) * many_looks);
    if (now.verdict == rollout::Verdict::fail) {
      said = std::move(now);
      said.text = "in the last " + std::to_string(latest_ms / 1000) + " s: " + said.text;
    }
  }
  said.generation = generation;
  return said;
}

}  // namespace teal::control
