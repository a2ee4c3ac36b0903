// SPDX-License-Identifier: Apache-2.0
// The audit log: append-only JSON lines, one for each call that changed something or was refused to.
//
//   {"seq":7,"time":"2026-11-23T09:48:20.123456789Z","caller":{"pid":1,"uid":0,"gid":0,"user":"root"},
//    "request":{"method":"POST","path":"/v1/reload","body":{}},"outcome":{"status":200,"code":"ok"},
//    "generation_before":4,"generation_after":5,"counters_before":{...},"counters_after":{...},
//    "prev":"<40 hex digits>"}
//
// `prev` is the SHA-1 of the line before, without its newline; forty zeros in the first line of all. So a line that was
// cut out, put in or edited shows at the line that follows it. It is evidence against accidents and careless hands, not
// against somebody who may write the file and computes the rest anew: the chain has no secret. SHA-1 is what Boost 1.74
// brings; a second line of the same hash for a given one is still out of reach.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace teal::telemetry {

struct AuditCaller {
  uint32_t pid = 0, uid = 0, gid = 0;
  std::string user;
};

using AuditCounters = std::vector<std::pair<std::string, uint64_t>>;

struct AuditEntry {
  AuditCaller caller;
  std::string method, path;                                     // as sent
  std::string body;                                             // as sent; above 4,096 bytes only its beginning is kept
  int status = 0;                                               // of the reply, HTTP
  std::string code;                                             // "ok" or the problem's code
  std::optional<uint64_t> generation_before, generation_after;  // of the service's split, where known
  AuditCounters counters_before, counters_after;                // of its group, where known
};

// Forty zeros: what the first line of a chain names as its predecessor.
extern const std::string audit_origin;

// Lower-case hexadecimal SHA-1 (FIPS 180-4) of `text`.
std::string audit_hash(std::string_view text);

class Audit {
 public:
  // Opens `path` for appending, making its directory (0750) and the file (0640) where they are missing, and takes up
  // its chain. Never throws: what is wrong is said by the next append(), which tries again.
  explicit Audit(std::string path);
  ~Audit();
  Audit(const Audit&) = delete;
  Audit& operator=(const Audit&) = delete;

  // Writes one line and waits until it is on the disk (fsync). Empty when it is; otherwise one sentence saying why not:
  // a full disk must not stop a cutover, so the caller logs it and goes on. A file that was renamed or removed
  // (logrotate) is made anew, and its first line goes on with the chain of the old one.
  std::string append(const AuditEntry& entry);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] uint64_t lines() const { return lines_; }    // written by this object
  [[nodiscard]] uint64_t errors() const { return errors_; }  // append() calls that failed

  // Hash of the line that stands last in the file for all that this object knows, which no later line vouches for yet.
  // None while there has been no line, or when the file was rotated away since.
  [[nodiscard]] std::optional<std::string> head() const;

  // The newest lines of the file, oldest of them first, at most `limit` and at most 8 MiB of them.
  [[nodiscard]] std::vector<std::string> tail(size_t limit) const;

 private:
  std::string open();
  std::string write_line(const std::string& line);

  std::string path_;
  int fd_ = -1;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  bool torn_ = false;     // the file ends in the middle of a line
  bool chained_ = false;  // prev_ and seq_ have been taken up from the file
  std::string prev_ = audit_origin;
  uint64_t seq_ = 0;
  uint64_t lines_ = 0, errors_ = 0;
};

struct AuditFinding {
  uint64_t line = 0;  // counted from 1
  std::string what;   // one sentence
};

struct AuditVerdict {
  uint64_t lines = 0;
  std::string head = audit_origin;  // hash of the last line: what the file that follows must name first
  std::vector<AuditFinding> findings;
  [[nodiscard]] bool ok() const { return findings.empty(); }
};

// Checks the chain from a line that must name `prev` as its predecessor. Goes on after a finding, so that each place
// that was touched is named once. What it cannot see: lines missing from the end, unless the caller knows the head.
AuditVerdict verify_audit_lines(const std::vector<std::string>& lines, std::string_view prev = audit_origin);

// As above for a whole file, or for its first `bytes`: one that grows meanwhile may end in half a line. A file that
// cannot be read is a finding at line 0. With `head` another last line is a finding, too: it was edited, or lines after
// it are missing.
AuditVerdict verify_audit(const std::string& path, std::string_view prev = audit_origin, uint64_t bytes = UINT64_MAX,
                          const std::optional<std::string>& head = {});

// What the first line of a file names as its predecessor: audit_origin, or where log files are rotated the hash of the
// last line of the file before. Empty when there is no such line.
std::string audit_predecessor(const std::string& path);

}  // namespace teal::telemetry
