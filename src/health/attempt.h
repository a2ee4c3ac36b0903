// SPDX-License-Identifier: Apache-2.0
// One check of one backend, once.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "health/http_client.h"
#include "model/release_config.h"

namespace teal::health {

struct AttemptResult {
  bool success = false;
  bool counts = true;  // false: this host could not ask properly, which says nothing of the backend
  std::string text;    // "connected", "status 200", or what went wrong
  std::chrono::microseconds duration{0};
};

// Where the check goes: the backend's address, and the check's port if it has one of its own.
model::Endpoint checked_endpoint(const model::Endpoint& backend, const model::HealthConfig& config);

// `config.check` is not none.
std::shared_ptr<HttpCall> attempt(HttpClient& client, const model::Endpoint& backend, const model::HealthConfig& config,
                                  std::function<void(const AttemptResult&)> done);

}  // namespace teal::health
