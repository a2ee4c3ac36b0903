// SPDX-License-Identifier: Apache-2.0
// The control socket: HTTP/1.1 and JSON on a Unix stream socket. Asynchronous on one thread, so that a slow or idle
// client blocks nobody; Operations are called on that thread, one at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "control/events.h"
#include "control/operations.h"
#include "control/releases.h"
#include "model/config.h"
#include "telemetry/audit.h"

namespace boost::asio {
class io_context;
}

namespace teal::control {

struct ServerLimits {
  std::chrono::milliseconds idle{60'000};   // for the first byte of a request
  std::chrono::milliseconds read{10'000};   // from there to its last
  std::chrono::milliseconds write{60'000};  // for the reply to be taken
  std::chrono::milliseconds event{10'000};  // for events to be taken by one who listens; then he is cut off
  size_t connections = 256;                 // a further one takes the place of that which was idle longest
};

class Server {
 public:
  // `context` must be run by one thread only. It and what `services` names outlive the server.
  struct Services {
    Operations& operations;
    Releases& releases;
    const Events& events;
    telemetry::Audit& audit;
  };
  Server(boost::asio::io_context& context, const model::ControlConfig& config, Services services,
         ServerLimits limits = {});
  ~Server();  // stops
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds, sets mode and group, and begins to accept. A socket file left by a dead process is replaced; one that
  // answers, and anything that is not a socket, is left alone. Throws std::runtime_error with one sentence naming the
  // path.
  void start();

  // Closes the socket and every connection and removes the file, if it is still the one that start() made. Idempotent.
  void stop();

 private:
  struct Core;
  std::shared_ptr<Core> core_;
};

}  // namespace teal::control
