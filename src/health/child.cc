// SPDX-License-Identifier: Apache-2.0
#include "child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

extern "C" {  // glibc 2.36's header does not say so itself
#include <sys/pidfd.h>
}

namespace teal::health {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

[[noreturn]] void failed(const std::string& what, int error) {
  throw std::runtime_error(what + ": " + std::strerror(error));
}

// posix_spawn's two sets of settings, freed in any case.
struct Settings {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  Settings() {
    if (const int e = posix_spawn_file_actions_init(&files); e != 0) failed("posix_spawn", e);
    if (const int e = posix_spawnattr_init(&attributes); e != 0) {
      posix_spawn_file_actions_destroy(&files);
      failed("posix_spawn", e);
    }
  }
  ~Settings() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  Settings(const Settings&) = delete;
  Settings& operator=(const Settings&) = delete;
};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (const std::string& t : texts) out.push_back(const_cast<char*>(t.c_str()));  // posix_spawn writes to none
  out.push_back(nullptr);
  return out;
}

// A file rather than a pipe: nothing to feed, no SIGPIPE when the child does not read, and /dev/stdin can be opened.
int memory_file(const std::string& text) {
  Descriptor file(memfd_create("hook-input", MFD_CLOEXEC));
  if (file.get() < 0) failed("memfd_create", errno);
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = write(file.get(), text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) failed("writing the input", errno);
    at += static_cast<size_t>(n);
  }
  if (lseek(file.get(), 0, SEEK_SET) < 0) failed("lseek", errno);
  return file.release();
}

}  // namespace

Child::Child(const std::vector<std::string>& command, const std::vector<std::string>& environment,
             const std::string& input) {
  if (command.empty() || command[0].empty()) throw std::runtime_error("no executable is named");
  const Descriptor in(memory_file(input));
  int pipe[2];
  if (pipe2(pipe, O_CLOEXEC) != 0) failed("pipe2", errno);
  Descriptor reader(pipe[0]);
  const Descriptor writer(pipe[1]);
  if (fcntl(reader.get(), F_SETFL, O_NONBLOCK) != 0) failed("fcntl", errno);

  Settings settings;
  posix_spawn_file_actions_adddup2(&settings.files, in.get(), 0);
  posix_spawn_file_actions_adddup2(&settings.files, writer.get(), 1);
  posix_spawn_file_actions_adddup2(&settings.files, writer.get(), 2);
  // DPDK, libbpf and Asio do not mark all of theirs close-on-exec.
  posix_spawn_file_actions_addclosefrom_np(&settings.files, 3);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&settings.attributes, &none);  // teald blocks what it reads from a signalfd
  posix_spawnattr_setsigdefault(&settings.attributes, &all);
  posix_spawnattr_setpgroup(&settings.attributes, 0);
  posix_spawnattr_setflags(&settings.attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  const std::vector<char*> argv = pointers(command), envp = pointers(environment);
  if (const int e =
          posix_spawnp(&pid_, command[0].c_str(), &settings.files, &settings.attributes, argv.data(), envp.data());
      e != 0)
    failed("cannot run " + command[0], e);
  pidfd_ = pidfd_open(pid_, 0);
  if (pidfd_ < 0) {
    const int e = errno;
    kill_group();
    waitpid(pid_, nullptr, 0);
    failed("pidfd_open", e);
  }
  output_ = reader.release();
}

Child::~Child() {
  if (pid_ < 0) return;
  if (!reaped_) {
    kill_group();
    for (int i = 0; i < 100 && !wait().over; i++) usleep(10000);
  }
  if (pidfd_ >= 0) close(pidfd_);
  if (output_ >= 0) close(output_);
}

void Child::kill_group() const {
  if (!reaped_) kill(-pid_, SIGKILL);
}

ChildEnd Child::wait() {
  siginfo_t info{};
  const auto id = static_cast<id_t>(pid_);
  if (reaped_ || waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
    reaped_ = true;
    return {true, -1, 0, true};
  }
  if (info.si_pid == 0) return {};
  kill_group();
  waitid(P_PID, id, &info, WEXITED | WNOHANG);
  reaped_ = true;
  if (info.si_code == CLD_EXITED) return {true, info.si_status, 0, false};
  return {true, -1, info.si_status, false};
}

}  // namespace teal::health
