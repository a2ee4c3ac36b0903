// SPDX-License-Identifier: Apache-2.0
#include "rollout_judge.h"

#include "rollout/judge.h"

namespace teal::control {

void SignalWindow::begin(uint64_t generation, const std::vector<uint16_t>& services) {
  generation_ = generation;
  base_.clear();
  for (const uint16_t service : services)
    for (const model::Pool pool : {model::Pool::blue, model::Pool::green})
      base_[{service, pool}] = source_(service, pool, generation % TEAL_SIGNAL_GENERATIONS);
}

rollout::PoolSignals SignalWindow::of(model::Pool pool, const std::vector<uint16_t>& services) {
  rollout::PoolSignals sum;
  if (generation_ == 0) return sum;
  for (const uint16_t service : services) {
    const auto now = source_(service, pool, generation_ % TEAL_SIGNAL_GENERATIONS);
    sum += now - base_.try_emplace({service, pool}, now).first->second;
  }
  return sum;
}

rollout::Judgement judge_window(const model::RolloutConfig& config, const rollout::PoolSignals& target,
                                const rollout::PoolSignals& other, model::Pool target_pool, uint64_t generation) {
  rollout::Judgement said =
      rollout::judge(config.rules, target, other, target_pool, config.min_sample, config.confidence).judgement;
  said.generation = generation;
  return said;
}

}  // namespace teal::control
