// SPDX-License-Identifier: Apache-2.0
// The real control server over FakeOperations and FakeReleases, for tests of what speaks to it. Publishes an event
// "signals" ten times a second.
//   fake-server SOCKET AUDIT_LOG   serves until SIGTERM or SIGINT; prints "ready" once it accepts. With OVER_AFTER and
//                                  OUTCOME in the environment the rollout is over when it was asked for so often
//   fake-server --routes           one "METHOD PATH" a line
//   fake-server --problems         one "CODE STATUS EXIT TITLE" a line
#include <signal.h>
#include <sys/signalfd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string>

#include "control/server.h"
#include "fake_operations.h"
#include "fake_releases.h"
#include "router.h"

int main(int argc, char** argv) {
  using namespace teal;
  const std::string first = argc > 1 ? argv[1] : "";
  if (argc == 2 && first == "--routes") {
    for (const auto& route : control::routes()) printf("%s %s\n", route.method, route.path);
    return 0;
  }
  if (argc == 2 && first == "--problems") {
    for (const auto& p : control::problem_list()) printf("%s %d %d %s\n", p.code, p.status, p.exit_code, p.title);
    return 0;
  }
  if (argc != 3) {
    fprintf(stderr, "usage: fake-server SOCKET AUDIT_LOG | --routes | --problems\n");
    return 2;
  }
  try {
    // Before any thread, which inherits it. By a descriptor: under ThreadSanitizer a handler that comes just before
    // epoll_wait waits with it for ever.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    boost::asio::io_context context(1);
    control::FakeOperations operations;
    telemetry::Audit audit(argv[2]);
    model::ControlConfig config;
    config.socket = first;
    control::FakeReleases releases;
    if (const char* over = getenv("OVER_AFTER")) releases.over_after = static_cast<unsigned>(atoi(over));
    if (const char* outcome = getenv("OUTCOME")) releases.outcome = outcome;
    control::Events events;
    control::Server server(context, config, {operations, releases, events, audit});
    server.start();
    boost::asio::steady_timer clock(context);
    std::function<void()> publish = [&] {
      events.publish("signals", R"({"groups":[]})");
      clock.expires_after(std::chrono::milliseconds(100));
      clock.async_wait([&](boost::system::error_code stopped) {
        if (!stopped) publish();
      });
    };
    publish();
    boost::asio::posix::stream_descriptor signals(context, signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    signals.async_wait(boost::asio::posix::stream_descriptor::wait_read, [&](auto) {
      server.stop();
      context.stop();
    });
    printf("ready\n");
    fflush(stdout);
    context.run();
  } catch (const std::exception& error) {
    fprintf(stderr, "fake-server: %s\n", error.what());
    return 1;
  }
  return 0;
}
