// SPDX-License-Identifier: Apache-2.0
// One request on its way through the router to its handler, and what comes back. Knows nothing of sockets.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/events.h"
#include "control/operations.h"
#include "control/problem_codes.h"
#include "control/releases.h"
#include "json.h"
#include "telemetry/audit.h"

namespace teal::control {

// Thrown by handlers and their helpers; the router makes the reply of it.
struct Refusal {
  Problem problem;
};

[[noreturn]] inline void refuse(ProblemCode code, std::string detail) {
  throw Refusal{make_problem(code, std::move(detail))};
}

// The value, or the refusal that stands in its place.
template <class T>
T value_or_refuse(Result<T>&& result) {
  if (auto* problem = std::get_if<Problem>(&result)) throw Refusal{std::move(*problem)};
  return std::move(std::get<T>(result));
}

struct Reply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::string code = "ok";  // or the problem's
  std::vector<std::pair<std::string, std::string>> headers{};
  std::optional<uint64_t> events_after{};  // the body is the events after this one, without end
  std::function<Reply()> work{};           // takes long and touches nothing of others': its reply is sent instead
};

inline Reply json_reply(const Json& json) {
  return {.body = json_text(json), .headers = {}};
}

// What the server itself has seen, for /metrics.
struct ServerStats {
  std::map<int, uint64_t> replies;  // by HTTP status
  uint64_t connections = 0;         // open now
  uint64_t accepted = 0;            // since start
  uint64_t timeouts = 0;            // connections closed because the client was too slow or idle
  uint64_t listeners = 0;           // of events, now
};

struct Context {
  Operations& operations;
  Releases& releases;
  const Events& events;
  telemetry::Audit& audit;
  ServerStats& stats;
};

struct Call {
  std::string method;  // "GET"
  std::string target;  // path and query as sent
  std::string body;
  Caller caller;
  std::string last_event_id;          // the header Last-Event-ID; empty: none
  std::vector<std::string> captures;  // the {} segments of the route, percent-decoded
  std::string query;                  // as sent, without '?'
  // For the audit line, filled by the handler.
  std::optional<uint64_t> generation_before, generation_after;
  telemetry::AuditCounters counters_before, counters_after;
};

using Handler = std::function<Reply(Context&, Call&)>;

}  // namespace teal::control
