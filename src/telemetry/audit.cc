// SPDX-License-Identifier: Apache-2.0
#include "telemetry/audit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace teal::telemetry {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t body_limit = 4096;        // of what is kept of a body, bytes
constexpr size_t tail_limit = 8u << 20;    // of what tail() reads, bytes
constexpr off_t chain_window = 64 * 1024;  // longer than any line of ours

std::string system_error(const std::string& what, const std::string& path) {
  return what + " " + path + ": " + std::strerror(errno);
}

std::string now_rfc3339() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char date[32], text[48];
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  snprintf(text, sizeof text, "%s.%09ldZ", date, now.tv_nsec);
  return text;
}

// An object of plain values is kept as such, for jq; anything else as the text that came. (A caller may nest a megabyte
// of brackets, which a recursive writer would not survive.)
Json body_json(const std::string& body) {
  if (body.size() <= body_limit) {
    Json parsed = Json::parse(body, nullptr, false);
    const bool flat = parsed.is_object() && std::none_of(parsed.begin(), parsed.end(),
                                                         [](const Json& value) { return value.is_structured(); });
    if (flat) return parsed;
  }
  return body.substr(0, body_limit);
}

std::string line_of(const AuditEntry& entry, uint64_t seq, const std::string& prev) {
  Json line;
  line["seq"] = seq;
  line["time"] = now_rfc3339();
  line["caller"] = {
      {"pid", entry.caller.pid}, {"uid", entry.caller.uid}, {"gid", entry.caller.gid}, {"user", entry.caller.user}};
  line["request"]["method"] = entry.method;
  line["request"]["path"] = entry.path;
  if (!entry.body.empty()) line["request"]["body"] = body_json(entry.body);
  if (entry.body.size() > body_limit) line["request"]["body_bytes"] = entry.body.size();
  line["outcome"] = {{"status", entry.status}, {"code", entry.code}};
  if (entry.generation_before) line["generation_before"] = *entry.generation_before;
  if (entry.generation_after) line["generation_after"] = *entry.generation_after;
  for (const auto& [name, value] : entry.counters_before) line["counters_before"][name] = value;
  for (const auto& [name, value] : entry.counters_after) line["counters_after"][name] = value;
  line["prev"] = prev;
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The last `bytes` of a regular file; nothing of any other kind (/dev/full can be read for ever).
std::string read_end(const std::string& path, off_t bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return {};
  struct stat st {};
  std::string text;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
    const off_t from = std::max<off_t>(0, st.st_size - bytes);
    text.resize(static_cast<size_t>(st.st_size - from));
    size_t have = 0;
    while (have < text.size()) {
      const ssize_t n = pread(fd, text.data() + have, text.size() - have, from + static_cast<off_t>(have));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      have += static_cast<size_t>(n);
    }
    text.resize(have);
    // What stands before the first newline of a window is only part of a line.
    if (from > 0) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);
  }
  close(fd);
  return text;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace

Audit::Audit(std::string path) : path_(std::move(path)) {
  open();
}

Audit::~Audit() {
  if (fd_ >= 0) close(fd_);
}

std::string Audit::open() {
  struct stat st {};
  if (fd_ >= 0) {
    if (stat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_) return {};
    close(fd_);  // rotated away
    fd_ = -1;
  }
  std::error_code ignored;
  const auto directory = std::filesystem::path(path_).parent_path();
  if (!directory.empty() && std::filesystem::create_directories(directory, ignored)) chmod(directory.c_str(), 0750);
  fd_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
  if (fd_ < 0) return system_error("cannot open", path_);
  if (fstat(fd_, &st) != 0) return system_error("cannot stat", path_);
  device_ = st.st_dev;
  inode_ = st.st_ino;
  const std::string end = read_end(path_, chain_window);
  torn_ = !end.empty() && end.back() != '\n';
  if (!chained_) {
    const auto lines = lines_of(end);
    if (!lines.empty()) prev_ = audit_hash(lines.back());
    for (auto line = lines.rbegin(); line != lines.rend() && seq_ == 0; ++line) {  // over a torn last line
      const auto last = nlohmann::json::parse(*line, nullptr, false);
      if (last.is_object() && last.contains("seq") && last["seq"].is_number_unsigned()) seq_ = last["seq"];
    }
    chained_ = true;
  }
  return {};
}

std::string Audit::write_line(const std::string& line) {
  struct stat before {};
  if (fstat(fd_, &before) != 0) return system_error("cannot stat", path_);
  const std::string text = (torn_ ? "\n" : "") + line + "\n";
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(fd_, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const std::string error = system_error("cannot write to", path_);
      // Take back the part that fitted; where that fails too, the next line starts on a line of its own.
      if (done > 0 && ftruncate(fd_, before.st_size) != 0) torn_ = true;
      return error;
    }
    done += static_cast<size_t>(n);
  }
  torn_ = false;
  prev_ = audit_hash(line);
  ++seq_;
  if (fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) return system_error("cannot sync", path_);
  return {};
}

std::string Audit::append(const AuditEntry& entry) {
  std::string error = open();
  if (error.empty()) error = write_line(line_of(entry, seq_ + 1, prev_));
  if (error.empty()) {
    ++lines_;
  } else {
    ++errors_;
  }
  return error;
}

std::optional<std::string> Audit::head() const {
  struct stat st {};
  if (fd_ < 0 || prev_ == audit_origin || stat(path_.c_str(), &st) != 0) return {};
  if (st.st_dev != device_ || st.st_ino != inode_) return {};
  return prev_;
}

std::vector<std::string> Audit::tail(size_t limit) const {
  // Most lines are 400 bytes: read little first, and more only for what is still missing.
  for (off_t window = chain_window;; window *= 8) {
    const bool all = window >= static_cast<off_t>(tail_limit);
    auto lines = lines_of(read_end(path_, all ? static_cast<off_t>(tail_limit) : window));
    struct stat st {};
    const bool whole = stat(path_.c_str(), &st) != 0 || st.st_size <= window;
    if (lines.size() < limit && !all && !whole) continue;
    if (lines.size() > limit) lines.erase(lines.begin(), lines.end() - static_cast<ptrdiff_t>(limit));
    return lines;
  }
}

}  // namespace teal::telemetry
