// SPDX-License-Identifier: Apache-2.0
// The socket file of the control socket, and who is at the other end of a connection.
#pragma once

#include <sys/types.h>

#include "control/operations.h"
#include "model/config.h"

namespace teal::control {

// A listening, non-blocking Unix stream socket; its file is removed when it is closed.
class ListeningSocket {
 public:
  ListeningSocket() = default;
  ListeningSocket(const ListeningSocket&) = delete;
  ListeningSocket& operator=(const ListeningSocket&) = delete;
  ~ListeningSocket() { remove_file(); }

  // Nobody can connect before mode and group are as configured. Returns the descriptor, which is the caller's to close.
  // Throws std::runtime_error with one sentence naming the path.
  int open(const model::ControlConfig& config);

  // Removes the file if it is still the one that open() made.
  void remove_file();

 private:
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// SO_PEERCRED of a connection: the credentials at the time of connect(). The user's name is looked up, else its number.
Caller peer_of(int fd);

}  // namespace teal::control
