// SPDX-License-Identifier: Apache-2.0
// Every refusal has a stable word. This list is the only place where they are written: the server, the documentation
// (docs/errors.md, held against it by a test) and tealctl's exit codes come from it.
#pragma once

#include <string>
#include <vector>

#include "control/operations.h"

// X(code, HTTP status, tealctl's exit code, title)
#define TEAL_PROBLEM_CODES(X)                                                     \
  X(malformed_request, 400, 2, "The request is not well-formed HTTP")             \
  X(malformed_path, 400, 2, "The path or query is not well-formed")               \
  X(malformed_json, 400, 2, "The body is not well-formed JSON")                   \
  X(missing_key, 400, 2, "A key of the body is missing")                          \
  X(unknown_key, 400, 2, "The body has a key that is not known")                  \
  X(wrong_type, 400, 2, "A value of the body is of the wrong type")               \
  X(wrong_value, 400, 2, "A value of the body is out of bounds")                  \
  X(missing_parameter, 400, 2, "A query parameter is missing")                    \
  X(unknown_parameter, 400, 2, "The query has a parameter that is not known")     \
  X(wrong_parameter, 400, 2, "A query parameter has a value that cannot be used") \
  X(unknown_path, 404, 1, "There is nothing at this path")                        \
  X(unknown_service, 404, 1, "There is no such service")                          \
  X(unknown_backend, 404, 1, "The service has no such backend")                   \
  X(unknown_group, 404, 1, "There is no such group or service")                   \
  X(no_rollout, 404, 1, "The group has no rollout")                               \
  X(method_not_allowed, 405, 1, "The path does not take this method")             \
  X(generation_moved, 409, 4, "The split has been changed by somebody else")      \
  X(untracked_flows, 409, 1, "Flows without an entry could be hurt")              \
  X(no_ready_backend, 409, 1, "The pool has no backend that takes new flows")     \
  X(rollout_under_way, 409, 1, "A rollout of the group is under way")             \
  X(capacity, 409, 1, "The pool may be too small for the load now")               \
  X(needs_again, 409, 1, "The last rollout to this pool was rolled back")         \
  X(already_active, 409, 1, "The pool is the active one already")                 \
  X(split_between, 409, 1, "The split stands between the pools")                  \
  X(wrong_phase, 409, 1, "The rollout cannot do this now")                        \
  X(service_retired, 409, 1, "The service is no longer configured")               \
  X(backend_removed, 409, 1, "The backend is no longer configured")               \
  X(nothing_to_roll_back, 409, 1, "There has been no cutover to take back")       \
  X(needs_restart, 409, 1, "The new configuration needs a restart")               \
  X(body_too_large, 413, 1, "The body is larger than 1 MiB")                      \
  X(bad_configuration, 422, 1, "The configuration has errors")                    \
  X(header_too_large, 431, 1, "The header is larger than 16 KiB")                 \
  X(internal_error, 500, 1, "teald failed to answer")                             \
  X(not_ready, 503, 1, "teald cannot do this now")                                \
  X(not_persisted, 503, 1, "The state of the rollout cannot be written")          \
  X(no_room, 503, 1, "A table of teald is full")

namespace teal::control {

enum class ProblemCode {
#define X(code, status, exit, title) code,
  TEAL_PROBLEM_CODES(X)
#undef X
};

struct ProblemInfo {
  const char* code;
  int status;     // HTTP
  int exit_code;  // of tealctl
  const char* title;
};

// All of them, in the order of the list.
const std::vector<ProblemInfo>& problem_list();

// The refusal of that code. `detail`: what was found and what was expected, one sentence.
Problem make_problem(ProblemCode code, std::string detail, std::vector<std::string> errors = {});
// The same by its word, which must be one of the list.
Problem make_problem(const std::string& code, std::string detail, std::vector<std::string> errors = {});

}  // namespace teal::control
