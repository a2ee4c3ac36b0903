// SPDX-License-Identifier: Apache-2.0
#include "router.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <exception>

#include "handlers/handlers.h"
#include "uri.h"

namespace teal::control {
namespace {

bool matches(const Route& route, const std::vector<std::string>& segments, std::vector<std::string>& captures) {
  const auto pattern = path_segments(route.path);
  if (pattern.size() != segments.size()) return false;
  captures.clear();
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i].starts_with('{') && !segments[i].empty()) {
      captures.push_back(segments[i]);
    } else if (pattern[i] != segments[i]) {
      return false;
    }
  }
  return true;
}

Reply problem_reply(const Problem& problem) {
  return {.status = problem.status,
          .content_type = "application/problem+json",
          .body = json_text(to_json(problem)),
          .code = problem.code,
          .headers = {}};
}

Reply dispatch(Context& context, Call& call) {
  const std::string_view target = call.target;
  const auto mark = std::min(target.find('?'), target.size());
  const auto segments = path_segments(target.substr(0, mark));
  call.query = target.substr(std::min(mark + 1, target.size()));
  std::string allow;
  for (const auto& route : routes()) {
    if (!matches(route, segments, call.captures)) continue;
    if (call.method == route.method) return route.handler(context, call);
    allow += (allow.empty() ? "" : ", ") + std::string(route.method);
  }
  const std::string path(target.substr(0, mark));
  if (allow.empty())
    refuse(ProblemCode::unknown_path, "found the path \"" + path + "\", expected one that docs/openapi.yaml lists");
  Reply reply = problem_reply(
      make_problem(ProblemCode::method_not_allowed, "found " + call.method + " " + path + ", expected " + allow));
  reply.headers.emplace_back("Allow", allow);
  return reply;
}

// Anything but a mere question is written to the audit log, whatever became of it.
bool is_question(const std::string& method) {
  return method.empty() || method == "GET" || method == "HEAD" || method == "OPTIONS";
}

}  // namespace

const std::vector<Route>& routes() {
  static const std::vector<Route> list = {
      {"GET", "/v1/status", get_status},
      {"GET", "/v1/services", list_services},
      {"GET", "/v1/services/{service}", get_service},
      {"POST", "/v1/services/{service}/cutover", post_cutover},
      {"POST", "/v1/services/{service}/rollback", post_rollback},
      {"PATCH", "/v1/services/{service}/backends/{backend}", patch_backend},
      {"GET", "/v1/services/{service}/preview", get_preview},
      {"PUT", "/v1/services/{service}/preview", put_preview},
      {"GET", "/v1/services/{service}/drain", get_drain},
      {"POST", "/v1/rollouts", post_rollouts},
      {"GET", "/v1/rollouts", list_rollouts},
      {"GET", "/v1/rollouts/{group}", get_rollout},
      {"POST", "/v1/rollouts/{group}/pause", post_pause},
      {"POST", "/v1/rollouts/{group}/resume", post_resume},
      {"POST", "/v1/rollouts/{group}/promote", post_promote},
      {"POST", "/v1/rollouts/{group}/abort", post_abort},
      {"GET", "/v1/events", get_events},
      {"GET", "/v1/flows", list_flows},
      {"GET", "/v1/which", get_which},
      {"GET", "/v1/counters", get_counters},
      {"GET", "/v1/audit", get_audit},
      {"GET", "/v1/audit/verify", get_audit_verify},
      {"POST", "/v1/reload", post_reload},
      {"GET", "/metrics", get_metrics},
  };
  return list;
}

Reply Router::handle(Call call) {
  Reply reply;
  try {
    reply = dispatch(context_, call);
  } catch (const Refusal& refusal) {
    reply = problem_reply(refusal.problem);
  } catch (const std::exception& error) {
    spdlog::error("control: {} {}: {}", call.method, call.target, error.what());
    reply = problem_reply(make_problem(ProblemCode::internal_error, error.what()));
  }
  return finish(call, std::move(reply));
}

Reply Router::refuse_unread(Call call, Problem problem) {
  return finish(call, problem_reply(problem));
}

Reply Router::finish(const Call& call, Reply reply) {
  ++context_.stats.replies[reply.status];
  if (is_question(call.method)) return reply;
  const std::string error =
      context_.audit.append({.caller = {call.caller.pid, call.caller.uid, call.caller.gid, call.caller.user},
                             .method = call.method,
                             .path = call.target,
                             .body = call.body,
                             .status = reply.status,
                             .code = reply.code,
                             .generation_before = call.generation_before,
                             .generation_after = call.generation_after,
                             .counters_before = call.counters_before,
                             .counters_after = call.counters_after});
  if (!error.empty()) {
    // What was done stays done, and the caller is told that nobody will read of it.
    spdlog::error("audit: {}; not recorded: {} {} by {} (pid {}): {}", error, call.method, call.target,
                  call.caller.user, call.caller.pid, reply.code);
    reply.headers.emplace_back("Teal-Audit", "failed");
  }
  return reply;
}

}  // namespace teal::control
