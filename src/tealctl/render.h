// SPDX-License-Identifier: Apache-2.0
// Replies of the control socket as text for people. Shapes: docs/openapi.yaml.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace teal::ctl {

using Json = nlohmann::ordered_json;

std::string render_status(const Json& reply);
std::string render_services(const Json& reply);  // the list
std::string render_service(const Json& reply);   // one, with its pools and backends
std::string render_switch(const Json& reply);    // cutover and rollback
std::string render_backend(const Json& reply);
std::string render_flows(const Json& reply);
std::string render_which(const Json& reply);
std::string render_counters(const Json& reply, bool all);  // without `all` only those that are not 0
std::string render_audit(const Json& reply);
std::string render_reload(const Json& reply);
std::string render_rollout(const Json& reply);  // its second line is the state in short
std::string render_rollout_call(const Json& reply);
std::string render_rollouts(const Json& reply);
std::string render_rehearsal(const Json& reply);
std::string render_drain(const Json& reply);
std::string render_preview(const Json& reply);
std::string render_audit_verdict(const Json& reply);
// "TITLE: DETAIL", and one indented line for each of its errors.
std::string render_problem(const Json& problem);

}  // namespace teal::ctl
