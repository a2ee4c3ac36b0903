// SPDX-License-Identifier: Apache-2.0
// A child process that shares nothing with teald but what it is given. Safe in a process with threads, and without
// SIGCHLD: the end of a child is seen by its pidfd.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace teal::health {

struct ChildEnd {
  bool over = false;     // false: still running
  int exit_code = -1;    // of one that exited
  int signal = 0;        // that ended it, 0: none
  bool unknown = false;  // somebody else has waited for it (SIGCHLD ignored): how it ended is not known
};

class Child {
 public:
  Child() = default;
  // Looks command[0] up in PATH unless it has a slash; no shell. Process group of its own, default signals, none
  // blocked, no descriptors but 0 to 2: standard input is a file in memory with `input`, standard output and error are
  // one pipe. `environment`: "NAME=VALUE". Throws std::runtime_error with one line when it cannot be started.
  Child(const std::vector<std::string>& command, const std::vector<std::string>& environment, const std::string& input);
  ~Child();  // kills the group if it is not over; waits for up to a second
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Each once; the caller closes it. (Asio must own what it waits for: it leaves a copy of a descriptor in its epoll
  // set.)
  int take_pidfd() { return std::exchange(pidfd_, -1); }    // readable when the process is over
  int take_output() { return std::exchange(output_, -1); }  // non-blocking
  // SIGKILL to the whole group. Only before the process was waited for: its number is nobody else's until then.
  void kill_group() const;
  // Without blocking. Kills what is left of the group before the process itself is let go.
  ChildEnd wait();

 private:
  pid_t pid_ = -1;
  int pidfd_ = -1, output_ = -1;
  bool reaped_ = false;
};

}  // namespace teal::health
