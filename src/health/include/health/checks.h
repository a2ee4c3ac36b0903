// SPDX-License-Identifier: Apache-2.0
// Active checks: asks each backend again and again, from the host's own stack, whether it serves. What follows from a
// backend being up or down (Maglev, flows, panic) is the caller's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "health/rise_fall.h"
#include "model/address.h"
#include "model/release_config.h"

namespace teal::health {

struct Target {
  std::string service, backend;  // names; together unique
  model::Endpoint endpoint;      // the backend's own
  model::HealthConfig config;
  bool operator==(const Target&) const = default;
};

struct Change {
  std::string service, backend;
  State state = State::unknown;  // up or down
  std::string reason;            // "3 checks in a row failed: Connection refused while connecting"
};

struct TargetStatus {
  std::string service, backend;
  model::CheckKind check = model::CheckKind::none;
  model::Endpoint endpoint;  // that the check goes to
  State state = State::unknown;
  bool last_success = false;
  uint32_t in_a_row = 0;                          // results like the last one
  std::string last_result;                        // "status 200"; what went wrong; empty: none yet
  std::string last_error;                         // of the last check that did not succeed; empty: all did
  std::chrono::microseconds last_duration{0};     // of the last check
  std::chrono::system_clock::time_point changed;  // when `state` became what it is
  std::chrono::system_clock::time_point checked;  // when the last result came; epoch: none yet
  uint64_t successes = 0, failures = 0;
  uint64_t uncounted = 0;  // attempts that this host spoiled: no descriptors or ports, or a busy control thread
};

struct CheckerStatus {
  size_t running = 0;  // checks under way
  size_t waiting = 0;  // due, but waiting for a free socket: always more than 0 means `sockets` is too low
  std::vector<TargetStatus> targets;
};

// For use by the io_context's one thread. Never blocks.
class Checker {
 public:
  // Called from the io_context, never from within a call to the Checker. It may call the Checker, or destroy it.
  using OnChange = std::function<void(const Change&)>;

  // At most `sockets` checks (1 to ...) are under way at once; more that are due wait in order.
  Checker(boost::asio::io_context& io, OnChange on_change, size_t sockets = 256);
  ~Checker();  // ends what is under way; no callback comes after it
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  // The whole list. Unchanged targets go on undisturbed. One whose HealthConfig changed keeps its state, begins its
  // count anew and is checked at once. A new one, or one with another endpoint, starts as `unknown` and is checked
  // within a second. One that is gone, or has CheckKind::none, is forgotten, without a callback. Of two with the same
  // names the first counts.
  void set_targets(const std::vector<Target>& targets);

  // By service, then backend. state() is `unknown` for what is not checked.
  [[nodiscard]] CheckerStatus status() const;
  [[nodiscard]] State state(const std::string& service, const std::string& backend) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace teal::health
