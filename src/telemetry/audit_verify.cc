// SPDX-License-Identifier: Apache-2.0
// The audit log's chain: how a line is named, and whether each names the one before it.
#include <boost/uuid/detail/sha1.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "telemetry/audit.h"

namespace teal::telemetry {
namespace {

// One step of the chain; `expected` becomes the hash of this line.
void check_line(const std::string& line, std::string& expected, AuditVerdict& verdict) {
  ++verdict.lines;
  const auto entry = nlohmann::json::parse(line, nullptr, false);
  if (!entry.is_object() || !entry.contains("prev") || !entry["prev"].is_string()) {
    verdict.findings.push_back({verdict.lines, "is no entry: a JSON object with a string \"prev\" was expected"});
  } else if (const auto& prev = entry["prev"].get_ref<const std::string&>(); prev != expected) {
    verdict.findings.push_back({verdict.lines, "names " + prev + " as the line before it, where " + expected +
                                                   " was expected: that line was edited, or lines between were cut"});
  }
  expected = audit_hash(line);
  verdict.head = expected;
}

}  // namespace

const std::string audit_origin(40, '0');

std::string audit_hash(std::string_view text) {
  boost::uuids::detail::sha1 sha1;
  sha1.process_bytes(text.data(), text.size());
  boost::uuids::detail::sha1::digest_type words;
  sha1.get_digest(words);
  std::string hex(40, '0');
  for (unsigned word = 0; word < 5; ++word) {
    char part[9];
    snprintf(part, sizeof part, "%08x", words[word]);
    hex.replace(word * 8, 8, part, 8);
  }
  return hex;
}

AuditVerdict verify_audit_lines(const std::vector<std::string>& lines, std::string_view prev) {
  AuditVerdict verdict;
  std::string expected(prev);
  verdict.head = expected;
  for (const auto& line : lines) check_line(line, expected, verdict);
  return verdict;
}

AuditVerdict verify_audit(const std::string& path, std::string_view prev, uint64_t bytes,
                          const std::optional<std::string>& head) {
  AuditVerdict verdict;
  std::string expected(prev), line;
  verdict.head = expected;
  std::ifstream file(path);
  if (!file) {
    verdict.findings.push_back({0, "cannot open " + path + ": " + std::strerror(errno)});
    return verdict;
  }
  uint64_t at = 0;
  while (at < bytes && std::getline(file, line)) {
    at += line.size() + 1;
    check_line(line, expected, verdict);
  }
  if (head && verdict.head != *head)
    verdict.findings.push_back({verdict.lines, "is not the line that was written last, whose hash is " + *head +
                                                   ": it was edited, or lines after it were cut"});
  return verdict;
}

std::string audit_predecessor(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const auto entry = nlohmann::json::parse(line, nullptr, false);
  if (!entry.is_object() || !entry.contains("prev") || !entry["prev"].is_string()) return {};
  return entry["prev"].get<std::string>();
}

}  // namespace teal::telemetry
