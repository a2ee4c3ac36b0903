// SPDX-License-Identifier: Apache-2.0
// What rollouts and health checks reach for, tied together: the balancer, the disk, the audit log, hooks, Prometheus.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <string>

#include "control/balancer.h"
#include "control/disk_files.h"
#include "control/events.h"
#include "control/rollouts.h"
#include "health/checks.h"
#include "health/hooks.h"
#include "health/prometheus.h"
#include "model/config.h"
#include "telemetry/audit.h"

namespace teal {

class ReleaseWork {
 public:
  // All that is named must outlive this object. Begins the checks, and takes up the rollouts that an earlier teald
  // left. Throws std::runtime_error when the directory of their states cannot be used.
  ReleaseWork(boost::asio::io_context& context, const model::Config& config, control::Balancer& balancer,
              telemetry::Audit& audit);
  ReleaseWork(const ReleaseWork&) = delete;
  ReleaseWork& operator=(const ReleaseWork&) = delete;

  void tick() { rollouts_.tick(); }          // every 20 ms
  void follow(const model::Config& config);  // after a reload
  [[nodiscard]] control::Rollouts& rollouts() { return rollouts_; }
  [[nodiscard]] control::Events& events() { return events_; }

 private:
  control::RolloutWorld world(const std::string& state_dir, telemetry::Audit& audit);
  [[nodiscard]] bool settled();

  control::Balancer& balancer_;
  control::DiskFiles files_;
  control::Events events_;
  health::HookRunner hooks_;
  health::Prometheus prometheus_;
  health::Checker checker_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  bool settled_ = false;
  control::Rollouts rollouts_;
};

}  // namespace teal
