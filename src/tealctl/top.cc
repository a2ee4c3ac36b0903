// SPDX-License-Identifier: Apache-2.0
// `tealctl top`: pools, their flows and rates, until q, Ctrl-C or --count.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <map>

#include "commands.h"
#include "text.h"

namespace teal::ctl {
namespace {

using Clock = std::chrono::steady_clock;

// Keys come at once and unseen while this lives, if the standard input is a terminal.
class RawTerminal {
 public:
  RawTerminal() : active_(isatty(STDIN_FILENO) != 0 && tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!active_) return;
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
  ~RawTerminal() {
    if (active_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  [[nodiscard]] bool active() const { return active_; }

 private:
  termios before_{};
  bool active_;
};

// SIGINT and SIGTERM as something to poll, so that the terminal is put back on every way out.
class Signals {
 public:
  Signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    fd_ = signalfd(-1, &set, SFD_CLOEXEC);
  }
  ~Signals() { close(fd_); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

// True when the time is over, false when the user wants to leave.
bool wait(const RawTerminal& terminal, const Signals& signals, Clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return true;
    pollfd fds[2] = {{signals.fd(), POLLIN, 0}, {terminal.active() ? STDIN_FILENO : -1, POLLIN, 0}};
    if (poll(fds, 2, static_cast<int>(left)) <= 0) continue;
    char key = 0;
    if (fds[0].revents != 0) return false;
    if (fds[1].revents != 0 && (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q')) return false;
  }
}

struct Sample {
  uint64_t new_flows = 0, packets = 0;
};

// By service and pool.
using Samples = std::map<std::pair<std::string, std::string>, Sample>;

std::string rate(uint64_t before, uint64_t now, double seconds) {
  if (now < before || seconds <= 0) return "-";  // teald was started anew in between
  return grouped(static_cast<uint64_t>(static_cast<double>(now - before) / seconds + 0.5));
}

std::string picture(const Json& reply, const Samples& before, Samples& now, double seconds) {
  Table table({"SERVICE", "POOL", ">TAKES", ">GENERATION", ">FLOWS", ">HALF-OPEN", ">NEW/S", ">PACKETS/S"});
  for (const auto& service : reply.at("services")) {
    const auto name = service.at("name").get<std::string>();
    const double green = service.at("green_share").get<double>();
    for (const auto& [colour, pool] : service.at("pools").items()) {
      Sample& sample = now[{name, colour}];
      sample.new_flows = pool.at("new_flows").get<uint64_t>();
      for (const auto& backend : pool.at("backends")) sample.packets += backend.at("packets").get<uint64_t>();
      const auto old = before.find({name, colour});
      const bool known = old != before.end();
      table.row({name, colour, percent(colour == "green" ? green : 1 - green),
                 grouped(service.at("generation").get<uint64_t>()), grouped(pool.at("flows").get<uint64_t>()),
                 grouped(pool.at("half_open").get<uint64_t>()),
                 known ? rate(old->second.new_flows, sample.new_flows, seconds) : "-",
                 known ? rate(old->second.packets, sample.packets, seconds) : "-"});
    }
  }
  return table.text();
}

}  // namespace

Exit run_top(const Session& session, const po::variables_map& given) {
  const auto interval = std::chrono::seconds(whole_number(given, "interval", 1, 3600));
  const uint64_t count = given.count("count") > 0 ? whole_number(given, "count", 1, UINT64_MAX) : UINT64_MAX;
  const bool redraw = isatty(STDOUT_FILENO) != 0 && !session.json;
  const RawTerminal terminal;
  const Signals signals;
  Samples before;
  Clock::time_point last{};
  for (uint64_t drawn = 1;; ++drawn) {
    const Answer answer = session.client.request("GET", "/v1/services");
    if (answer.status != 200) return show(session, answer, render_services);
    const auto time = Clock::now();
    if (session.json) {
      fputs(answer.body.c_str(), stdout);
    } else {
      const Json reply = Json::parse(answer.body, nullptr, false);
      if (!reply.is_object() || !reply.contains("services")) throw Unreachable("found a reply that is not teald's");
      Samples now;
      const std::string text = picture(reply, before, now, std::chrono::duration<double>(time - last).count());
      printf("%s%s%s", redraw ? "\x1b[H\x1b[2J" : drawn > 1 ? "\n" : "", text.c_str(), redraw ? "\nq: quit\n" : "");
      before = std::move(now);
    }
    fflush(stdout);
    last = time;
    if (drawn >= count || !wait(terminal, signals, time + interval)) return done;
  }
}

}  // namespace teal::ctl
