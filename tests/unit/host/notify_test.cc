// SPDX-License-Identifier: Apache-2.0
#include "host/notify.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <thread>

namespace teal::host {
namespace {

TEST(Signals, ArriveAsValues) {
  Signals s;
  EXPECT_EQ(s.read(), Signal::none);
  const auto ask = [&](int signal) {
    kill(getpid(), signal);
    pollfd p{s.fd(), POLLIN, 0};
    EXPECT_EQ(poll(&p, 1, 1000), 1) << strsignal(signal);
    return s.read();
  };
  EXPECT_EQ(ask(SIGHUP), Signal::reload);
  EXPECT_EQ(ask(SIGTERM), Signal::stop);
  EXPECT_EQ(ask(SIGINT), Signal::stop);
  EXPECT_EQ(s.read(), Signal::none);
}

TEST(Signals, AreBlockedInThreadsStartedAfter) {
  Signals s;
  std::thread([] {
    sigset_t now;
    sigemptyset(&now);
    pthread_sigmask(SIG_BLOCK, nullptr, &now);
    EXPECT_TRUE(sigismember(&now, SIGTERM) && sigismember(&now, SIGINT) && sigismember(&now, SIGHUP));
  }).join();
}

TEST(Signals, AnotherTerminationOnTheWayOutDoesNotKill) {
  { Signals s; }
  kill(getpid(), SIGTERM);  // the test would end here
  Signals s;
  EXPECT_EQ(s.read(), Signal::stop);
}

// Stands where systemd's notification socket is.
class NotifyTest : public testing::Test {
 protected:
  void SetUp() override {
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    path_ = testing::TempDir() + "teal-notify-" + std::to_string(getpid());
    std::strncpy(a.sun_path, path_.c_str(), sizeof(a.sun_path) - 1);
    ASSERT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&a), sizeof(a)), 0);
    setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("NOTIFY_SOCKET");
    close(fd_);
    unlink(path_.c_str());
  }
  std::string heard() const {
    char buffer[1024];
    const ssize_t n = recv(fd_, buffer, sizeof(buffer), MSG_DONTWAIT);
    return n < 0 ? "nothing" : std::string(buffer, static_cast<size_t>(n));
  }
  int fd_ = -1;
  std::string path_;
};

TEST_F(NotifyTest, StatesReachSystemd) {
  notify_ready("2 services");
  EXPECT_EQ(heard(), "READY=1\nSTATUS=2 services");
  notify_status("line one\nREADY=0");
  EXPECT_EQ(heard(), "STATUS=line one READY=0") << "no second assignment";
  notify_reloading();
  const std::string reloading = heard();
  EXPECT_EQ(reloading.find("RELOADING=1\nMONOTONIC_USEC="), 0u) << reloading;
  EXPECT_GT(std::strtoull(reloading.c_str() + reloading.rfind('=') + 1, nullptr, 10), 0u);
  notify_stopping();
  EXPECT_EQ(heard(), "STOPPING=1");
  notify_watchdog();
  EXPECT_EQ(heard(), "WATCHDOG=1");
}

TEST(Notify, WithoutSystemdNothingHappens) {
  unsetenv("NOTIFY_SOCKET");
  notify_ready("alone");
  notify_watchdog();
}

}  // namespace
}  // namespace teal::host
