// SPDX-License-Identifier: Apache-2.0
// Two network namespaces joined by a veth pair, for tests that need a real kernel's answers: the calling thread moves
// into one ("near"), a child process holds the other ("far"). Both are nameless and vanish with their last process.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace teal::test {

// Runs a shell command in the calling thread's namespace. Throws when it fails.
inline void run(const std::string& command) {
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

class NetNamespaces {
 public:
  NetNamespaces() {
    outside_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int ready[2];
    if (outside_ < 0 || pipe(ready) != 0) throw std::runtime_error("cannot open the present namespace");
    far_ = fork();
    if (far_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);  // gone with the test, however that ends
      const char ok = unshare(CLONE_NEWNET) == 0 ? 'y' : 'n';
      if (write(ready[1], &ok, 1) != 1) _exit(1);
      for (;;) pause();
    }
    char ok = 'n';
    const bool heard = far_ > 0 && ::read(ready[0], &ok, 1) == 1;
    close(ready[0]);
    close(ready[1]);
    if (!heard || ok != 'y' || unshare(CLONE_NEWNET) != 0) {
      leave();
      throw std::runtime_error("cannot make a network namespace");
    }
    run("ip link set lo up && ip link add near type veth peer name far netns " + std::to_string(far_));
    run("sysctl -qw net.ipv6.conf.near.accept_dad=0 && ip link set near up");
    far("sysctl -qw net.ipv6.conf.far.accept_dad=0 && ip link set lo up && ip link set far up");
  }
  ~NetNamespaces() { leave(); }
  NetNamespaces(const NetNamespaces&) = delete;
  NetNamespaces& operator=(const NetNamespaces&) = delete;

  void far(const std::string& command) const {
    run("nsenter --net=/proc/" + std::to_string(far_) + "/ns/net sh -c '" + command + "'");
  }

 private:
  void leave() {
    if (far_ > 0) {
      kill(far_, SIGKILL);
      waitpid(far_, nullptr, 0);
    }
    if (outside_ >= 0) {
      if (setns(outside_, CLONE_NEWNET) != 0) std::abort();  // what runs next would be in the wrong place
      close(outside_);
    }
  }
  int outside_ = -1;
  pid_t far_ = -1;
};

}  // namespace teal::test
