// SPDX-License-Identifier: Apache-2.0
#include "control/disk_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace teal::control {
namespace {

std::string failed(const char* what, const std::string& path, int error) {
  return std::string("cannot ") + what + " " + path + ": " + std::strerror(error);
}

// A descriptor that is closed in any case.
struct Open {
  Open(const std::string& path, int flags) : fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, 0600)) {}
  ~Open() {
    if (fd >= 0) close(fd);
  }
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;
  const int fd;
};

}  // namespace

std::string DiskFiles::write(const std::string& path, std::string_view text) {
  const Open file(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW);
  if (file.fd < 0) return failed("open", path, errno);
  while (!text.empty()) {
    const ssize_t n = ::write(file.fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("write", path, n < 0 ? errno : ENOSPC);
    text.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

std::string DiskFiles::fsync(const std::string& path) {
  const Open file(path, O_RDONLY);
  if (file.fd < 0) return failed("open", path, errno);
  if (::fsync(file.fd) != 0) return failed("sync", path, errno);
  return {};
}

std::string DiskFiles::rename(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) return failed("rename", from + " to " + to, errno);
  return {};
}

std::string DiskFiles::read(const std::string& path, std::optional<std::string>& text) {
  text.reset();
  const Open file(path, O_RDONLY);
  if (file.fd < 0) return errno == ENOENT ? std::string() : failed("open", path, errno);
  std::string all;
  char part[65536];
  for (;;) {
    const ssize_t n = ::read(file.fd, part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("read", path, errno);
    if (n == 0) break;
    all.append(part, static_cast<size_t>(n));
  }
  text = std::move(all);
  return {};
}

std::string make_state_directory(const std::string& path) {
  std::error_code error;
  if (std::filesystem::create_directories(path, error)) chmod(path.c_str(), 0750);
  if (error) return "cannot make directory " + path + ": " + error.message();
  if (access(path.c_str(), W_OK | X_OK) != 0) return failed("write to", path, errno);
  return {};
}

}  // namespace teal::control
