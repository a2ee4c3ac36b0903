// SPDX-License-Identifier: Apache-2.0
// Cutovers asked for by the program that sends the load, over teald's control socket, without waiting for the answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace teal::perf {

struct Cutover {
  uint64_t asked_epoch_ns = 0, answered_epoch_ns = 0;
  std::string reply;  // JSON
};

uint64_t epoch_ns();

class Switcher {
 public:
  // Throws std::runtime_error.
  Switcher(const std::string& socket, std::string service);
  ~Switcher();
  Switcher(const Switcher&) = delete;
  Switcher& operator=(const Switcher&) = delete;

  void ask();  // the other pool than the last time
  // The answer, once it is there. Throws when teald refuses.
  std::optional<Cutover> answer();
  [[nodiscard]] bool waiting() const { return waiting_; }

 private:
  int fd_;
  std::string service_, text_;
  bool waiting_ = false, green_ = false;
  Cutover cutover_;
};

}  // namespace teal::perf
