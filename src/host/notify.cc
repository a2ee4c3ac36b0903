// SPDX-License-Identifier: Apache-2.0
#include "host/notify.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace teal::host {
namespace {

// A status is one line of the notification: what follows a line break would be taken for another assignment.
std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  return text;
}

void notify(const std::string& state) {
  sd_notify(0, state.c_str());
}

}  // namespace

Signals::Signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, s);
  if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0)
    throw std::system_error(error, std::generic_category(), "cannot block signals");
  fd_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "cannot open a signalfd");
}

// The signals stay blocked: a second SIGTERM must not cut short what teald does on its way out.
Signals::~Signals() {
  close(fd_);
}

Signal Signals::read() {
  signalfd_siginfo info;
  ssize_t n = 0;
  do n = ::read(fd_, &info, sizeof(info));
  while (n < 0 && errno == EINTR);
  if (n != sizeof(info)) return Signal::none;
  return info.ssi_signo == SIGHUP ? Signal::reload : Signal::stop;
}

void notify_ready(const std::string& status) {
  notify("READY=1\nSTATUS=" + one_line(status));
}
void notify_status(const std::string& status) {
  notify("STATUS=" + one_line(status));
}

void notify_reloading() {
  // Type=notify-reload (systemd 253) wants the time with it; older ones ignore it.
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const auto us = static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1'000;
  notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(us));
}

void notify_stopping() {
  notify("STOPPING=1");
}
void notify_watchdog() {
  notify("WATCHDOG=1");
}

}  // namespace teal::host
