// SPDX-License-Identifier: Apache-2.0
// Both engines side by side through a sequence of steps, and a sequence that tells them apart made short.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cases/generator.h"
#include "cases/under_way.h"

namespace teal::tests {

class Pair {
 public:
  // `head`: as of a case; "seed" keys both tables. Throws when the configuration is refused.
  explicit Pair(const nlohmann::json& head);
  // Empty, or what is wrong after the step: the engines differ, a flow moved, a packet left its flow's
  // backend, a checksum is wrong.
  std::string step(const Step& step);
  // Empty, or the packet buffers that nobody freed.
  std::string end();
  [[nodiscard]] Counts counts() const { return dpdk_->counts(); }
  [[nodiscard]] uint64_t affinity_entries() const { return dpdk_->affinity_entries(); }

 private:
  std::unique_ptr<Engine> dpdk_, xdp_;
  UnderWay under_way_;
};

struct Failure {
  size_t at = 0;  // the step
  std::string text;
};
// The first step after which something is wrong.
std::optional<Failure> first_failure(const nlohmann::json& head, const std::vector<Step>& steps);

// Drops steps as long as something stays wrong and `time` is not over. What is left ends with the step that fails.
std::vector<Step> shrink(const nlohmann::json& head, std::vector<Step> steps, std::chrono::seconds time);

}  // namespace teal::tests
