// SPDX-License-Identifier: Apache-2.0
#include <filesystem>

#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {

// The newest entries, and where among them the chain is broken. The file as a whole is checked by
// get_audit_verify, which takes too long for a thread that others wait for.
Reply get_audit(Context& context, Call& call) {
  const Query query(call.query, {"limit"});
  const auto lines = context.audit.tail(query.integer("limit", 100, 1, 10000));
  Json entries = Json::array(), breaks = Json::array();
  std::string prev;
  for (const auto& line : lines) {
    Json entry = Json::parse(line, nullptr, false);
    // The line before the first of these is not at hand: what the first says of it is taken as it is.
    if (prev.empty() && entry.is_object()) prev = entry.value("prev", Json()).is_string() ? entry["prev"] : Json("");
    auto verdict = telemetry::verify_audit_lines({line}, prev);
    prev = verdict.head;
    if (!verdict.ok()) breaks.push_back({{"entry", entries.size()}, {"what", verdict.findings.front().what}});
    entries.push_back(entry.is_discarded() ? Json{{"unreadable", line}} : std::move(entry));
  }
  return json_reply({{"path", context.audit.path()},
                     {"failed_writes", context.audit.errors()},
                     {"breaks", std::move(breaks)},
                     {"entries", std::move(entries)}});
}

// The whole file, on a thread of its own: as far as it was written when the question came.
Reply get_audit_verify(Context& context, Call& call) {
  const Query query(call.query, {});
  std::error_code unread;
  const auto size = std::filesystem::file_size(context.audit.path(), unread);
  Reply reply;
  reply.work = [path = context.audit.path(), bytes = unread ? UINT64_MAX : size, head = context.audit.head()] {
    std::string before = telemetry::audit_predecessor(path);
    if (before.empty()) before = telemetry::audit_origin;
    const auto verdict = telemetry::verify_audit(path, before, bytes, head);
    Json findings = Json::array();
    for (const auto& finding : verdict.findings) findings.push_back({{"line", finding.line}, {"what", finding.what}});
    return json_reply({{"path", path},
                       {"ok", verdict.ok()},
                       {"lines", verdict.lines},
                       {"first_names", before},
                       {"head", verdict.head},
                       {"findings", std::move(findings)}});
  };
  return reply;
}

}  // namespace teal::control
