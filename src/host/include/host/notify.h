// SPDX-License-Identifier: Apache-2.0
// Signals and systemd. Termination and reload arrive as values on a file descriptor (signalfd), never as handlers.
#pragma once

#include <string>

namespace teal::host {

enum class Signal { none, stop, reload };  // SIGINT, SIGTERM -> stop; SIGHUP -> reload

class Signals {
 public:
  Signals();  // blocks the signals for this thread and those it starts; call before any thread is made
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  Signal read();  // without waiting

 private:
  int fd_;
};

// sd_notify(3) states; nothing happens when systemd did not start us.
void notify_ready(const std::string& status);
void notify_status(const std::string& status);
void notify_reloading();
void notify_stopping();
void notify_watchdog();

}  // namespace teal::host
