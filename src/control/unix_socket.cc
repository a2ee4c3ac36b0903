// SPDX-License-Identifier: Apache-2.0
#include "unix_socket.h"

#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <utility>
#include <vector>

namespace teal::control {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw std::runtime_error("control socket " + path + ": " + what);
}

[[noreturn]] void fail_errno(const std::string& path, const std::string& what) {
  fail(path, what + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    fail(path, "found a path of " + std::to_string(path.size()) + " bytes, expected 1 to " +
                   std::to_string(sizeof address.sun_path - 1));
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

int unix_stream() {
  return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

// Removes a socket file on which nobody answers. A full backlog (EAGAIN) is an answer, too.
void clear_stale(const std::string& path, const sockaddr_un& address) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return;
    fail_errno(path, "cannot look at it");
  }
  if (!S_ISSOCK(st.st_mode))
    fail(path, "found a file that is no socket, expected nothing or a socket; it is left alone");
  const Descriptor probe(unix_stream());
  if (probe.get() < 0) fail_errno(path, "cannot make a socket");
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN)
    fail(path, "another process answers on it; it is left alone");
  if (errno != ECONNREFUSED && errno != ENOENT) fail_errno(path, "cannot tell whether somebody answers on it");
  if (unlink(path.c_str()) != 0 && errno != ENOENT) fail_errno(path, "cannot remove the file of a dead process");
}

gid_t group_id(const std::string& path, const std::string& name) {
  std::vector<char> memory(64 * 1024);
  group entry{};
  group* found = nullptr;
  if (getgrnam_r(name.c_str(), &entry, memory.data(), memory.size(), &found) == 0 && found != nullptr)
    return found->gr_gid;
  gid_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc{} || end != name.data() + name.size())
    fail(path, "found the group \"" + name + "\", expected one that this host has");
  return number;
}

}  // namespace

int ListeningSocket::open(const model::ControlConfig& config) {
  const std::string& path = config.socket;
  const sockaddr_un address = address_of(path);
  const gid_t group = config.group.empty() ? static_cast<gid_t>(-1) : group_id(path, config.group);
  std::error_code error;
  const auto directory = std::filesystem::path(path).parent_path();
  if (!directory.empty()) std::filesystem::create_directories(directory, error);
  if (error) fail(path, "cannot make its directory: " + error.message());
  clear_stale(path, address);
  Descriptor fd(unix_stream());
  if (fd.get() < 0) fail_errno(path, "cannot make a socket");
  const mode_t before = umask(0177);
  const int bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  umask(before);
  if (bound != 0) fail_errno(path, "cannot bind");
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) fail_errno(path, "cannot look at it");
  path_ = std::filesystem::absolute(path).string();
  device_ = st.st_dev;
  inode_ = st.st_ino;
  try {
    if (!config.group.empty() && chown(path.c_str(), static_cast<uid_t>(-1), group) != 0)
      fail_errno(path, "cannot give it to the group " + config.group);
    if (chmod(path.c_str(), config.mode & 0777) != 0) fail_errno(path, "cannot set its mode");
    if (listen(fd.get(), 64) != 0) fail_errno(path, "cannot listen");
  } catch (...) {
    remove_file();
    throw;
  }
  return fd.release();
}

void ListeningSocket::remove_file() {
  struct stat st {};
  if (!path_.empty() && lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_)
    unlink(path_.c_str());
  path_.clear();
}

Caller peer_of(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  Caller caller;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    caller.user = "unknown";
    return caller;
  }
  caller.pid = static_cast<uint32_t>(credentials.pid);
  caller.uid = credentials.uid;
  caller.gid = credentials.gid;
  std::vector<char> memory(16 * 1024);
  passwd entry{};
  passwd* found = nullptr;
  const int error = getpwuid_r(credentials.uid, &entry, memory.data(), memory.size(), &found);
  caller.user = error == 0 && found != nullptr ? found->pw_name : std::to_string(credentials.uid);
  return caller;
}

}  // namespace teal::control
