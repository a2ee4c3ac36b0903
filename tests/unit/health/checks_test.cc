// SPDX-License-Identifier: Apache-2.0
#include "health/checks.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "loopback.h"

namespace teal::health {
namespace {

class ChecksTest : public testing::Test {
 protected:
  asio::io_context io;
  std::vector<Change> changes;
  std::unique_ptr<Checker> checker = make(256);

  std::unique_ptr<Checker> make(size_t sockets) {
    return std::make_unique<Checker>(
        io, [this](const Change& c) { changes.push_back(c); }, sockets);
  }
  static Target target(const std::string& backend, const model::Endpoint& endpoint,
                       model::CheckKind kind = model::CheckKind::http) {
    Target t{"web", backend, endpoint, {}};
    t.config.check = kind;
    t.config.interval_ms = 100;
    t.config.timeout_ms = 100;
    t.config.rise = 2;
    t.config.fall = 3;
    return t;
  }
  TargetStatus only() { return checker->status().targets.at(0); }
};

TEST_F(ChecksTest, RisesFallsAndRises) {
  Server server(io);
  checker->set_targets({target("a", server.endpoint())});
  EXPECT_EQ(checker->state("web", "a"), State::unknown);
  ASSERT_TRUE(run_until(io, [&] { return changes.size() == 1; }));
  EXPECT_EQ(changes[0].service, "web");
  EXPECT_EQ(changes[0].backend, "a");
  EXPECT_EQ(changes[0].state, State::up);
  EXPECT_EQ(changes[0].reason, "2 checks in a row passed: status 200");
  EXPECT_EQ(only().successes, 2u);
  EXPECT_EQ(only().last_error, "");

  server.behaviour.reply = answer(500, "no");
  ASSERT_TRUE(run_until(io, [&] { return changes.size() == 2; }));
  EXPECT_EQ(changes[1].state, State::down);
  EXPECT_EQ(changes[1].reason, "3 checks in a row failed: status 500, expected 200");
  EXPECT_EQ(checker->state("web", "a"), State::down);
  const TargetStatus status = only();
  EXPECT_EQ(status.failures, 3u);
  EXPECT_EQ(status.in_a_row, 3u);
  EXPECT_FALSE(status.last_success);
  EXPECT_EQ(status.last_error, "status 500, expected 200");
  EXPECT_EQ(status.changed, status.checked);
  EXPECT_GT(status.last_duration.count(), 0);

  server.behaviour.reply = answer(200, "yes");
  ASSERT_TRUE(run_until(io, [&] { return changes.size() == 3; }));
  EXPECT_EQ(changes[2].state, State::up);
}

TEST_F(ChecksTest, EveryKindOfFailureIsNamed) {
  Server silent(io, {.silent = true}), slow(io, {.delay = milliseconds(1000)}), closing(io, {.hang_up = true});
  Server odd(io, {.reply = answer(204, "")});
  const RefusingPort refusing(io);
  std::vector<Target> targets = {
      target("closing", closing.endpoint()),   target("odd", odd.endpoint()),
      target("refusing", refusing.endpoint()), target("silent", silent.endpoint()),
      target("slow", slow.endpoint()),         target("tcp", refusing.endpoint(), model::CheckKind::tcp)};
  targets[1].config.expect_status = {200, 302};
  checker->set_targets(targets);
  ASSERT_TRUE(run_until(io, [&] { return changes.size() == targets.size(); }));
  for (const Change& c : changes) EXPECT_EQ(c.state, State::down);
  const auto status = checker->status();
  const auto error = [&](size_t i) { return status.targets.at(i).last_error; };
  EXPECT_EQ(error(0), "the peer closed the connection while waiting for the answer");
  EXPECT_EQ(error(1), "status 204, expected 200 or 302");
  EXPECT_EQ(error(2), "Connection refused while connecting");
  EXPECT_TRUE(error(3).starts_with("timed out after 100 ms while waiting for the answer"));
  EXPECT_TRUE(error(4).starts_with("timed out after 100 ms while waiting for the answer"));
  EXPECT_EQ(error(5), "Connection refused while connecting");
}

TEST_F(ChecksTest, TcpTakesAPortThatAcceptsForUp) {
  Server silent(io, {.silent = true});
  Target t = target("a", {*model::Address::parse("127.0.0.1"), 1}, model::CheckKind::tcp);
  t.config.port = silent.port();  // not the backend's
  checker->set_targets({t});
  ASSERT_TRUE(run_until(io, [&] { return changes.size() == 1; }));
  EXPECT_EQ(changes[0].state, State::up);
  EXPECT_EQ(changes[0].reason, "2 checks in a row passed: connected");
  EXPECT_EQ(only().endpoint.port, silent.port());
  EXPECT_TRUE(silent.requests.empty());
}

TEST_F(ChecksTest, AsksWhatItIsTold) {
  Server server(io);
  Target t = target("a", server.endpoint());
  t.config.path = "/healthz?deep=1";
  t.config.host = "web.example:8080";
  checker->set_targets({t});
  ASSERT_TRUE(run_until(io, [&] { return !server.requests.empty(); }));
  EXPECT_TRUE(server.requests[0].starts_with("GET /healthz?deep=1 HTTP/1.1\r\n")) << server.requests[0];
  EXPECT_NE(server.requests[0].find("\r\nHost: web.example:8080\r\n"), std::string::npos) << server.requests[0];
  EXPECT_NE(server.requests[0].find("\r\nUser-Agent: teald-health-check\r\n"), std::string::npos);
}

TEST_F(ChecksTest, IntervalsVaryAroundTheirLength) {
  Server server(io);
  checker->set_targets({target("a", server.endpoint())});
  ASSERT_TRUE(run_until(io, [&] { return server.accepted.size() == 12; }));
  double shortest = 1e9, sum = 0;
  for (size_t i = 1; i < server.accepted.size(); i++) {
    const double ms = std::chrono::duration<double, std::milli>(server.accepted[i] - server.accepted[i - 1]).count();
    shortest = std::min(shortest, ms);
    sum += ms;
  }
  EXPECT_GT(shortest, 60);  // 90 by the schedule; a late one shortens the next
  EXPECT_GT(sum, 11 * 88.0);
}

TEST_F(ChecksTest, UnchangedTargetsKeepTheirStateChangedOnesAreCheckedAtOnce) {
  Server server(io), other(io);
  Target a = target("a", server.endpoint()), b = target("b", other.endpoint());
  checker->set_targets({a});
  ASSERT_TRUE(run_until(io, [&] { return changes.size() == 1; }));
  const TargetStatus before = only();
  checker->set_targets({b, a, a});
  auto status = checker->status();
  ASSERT_EQ(status.targets.size(), 2u);
  EXPECT_EQ(status.targets[0].state, State::up);
  EXPECT_EQ(status.targets[0].successes, before.successes);
  EXPECT_EQ(status.targets[0].in_a_row, before.in_a_row);
  EXPECT_EQ(status.targets[1].state, State::unknown);
  EXPECT_EQ(changes.size(), 1u);

  // Another way to check it: the state stays until the new checks say otherwise.
  a.config.path = "/other";
  a.config.interval_ms = a.config.timeout_ms = 3600000;
  const size_t asked = server.requests.size();
  checker->set_targets({a, b});
  EXPECT_EQ(checker->state("web", "a"), State::up);
  ASSERT_TRUE(run_until(io, [&] { return server.requests.size() > asked; }));
  EXPECT_NE(server.requests.back().find("/other"), std::string::npos);

  // Another endpoint: another backend.
  a.endpoint = other.endpoint();
  checker->set_targets({a, b});
  EXPECT_EQ(checker->state("web", "a"), State::unknown);
}

TEST_F(ChecksTest, WhatIsGoneIsNotCheckedAnyMore) {
  Server server(io, {.delay = milliseconds(50)});
  Target a = target("a", server.endpoint());
  checker->set_targets({a});
  ASSERT_TRUE(run_until(io, [&] { return server.open() == 1; }));
  a.config.check = model::CheckKind::none;
  checker->set_targets({a});
  EXPECT_TRUE(checker->status().targets.empty());
  EXPECT_EQ(checker->status().running, 0u);
  const size_t asked = server.accepted.size();
  run_for(io, milliseconds(400));
  EXPECT_EQ(server.accepted.size(), asked);
  EXPECT_TRUE(changes.empty());
}

TEST_F(ChecksTest, NoMoreSocketsThanAllowedAndNobodyStarves) {
  checker = make(3);
  Server server(io, {.delay = milliseconds(20)});
  std::vector<Target> targets;
  for (int i = 0; i < 20; i++) {
    Target t = target("b" + std::to_string(i), server.endpoint());
    t.config.timeout_ms = 2000;
    targets.push_back(t);
  }
  checker->set_targets(targets);
  bool waited = false;
  ASSERT_TRUE(run_until(io, [&] {
    const CheckerStatus status = checker->status();
    EXPECT_LE(status.running, 3u);
    waited = waited || status.waiting > 0;
    return std::ranges::all_of(status.targets, [](const TargetStatus& t) { return t.successes >= 3; });
  }));
  EXPECT_TRUE(waited);
  EXPECT_EQ(changes.size(), 20u);
  EXPECT_LE(server.most_open, 6u);  // the server may see a close later than the next connection
}

TEST_F(ChecksTest, WhatThisHostSpoilsIsNotCounted) {
  Server server(io, {.silent = true});
  Target t = target("a", server.endpoint());
  t.config.fall = 1;
  checker->set_targets({t});
  ASSERT_TRUE(run_until(io, [&] { return server.open() == 1; }));
  std::this_thread::sleep_for(milliseconds(400));
  ASSERT_TRUE(run_until(io, [&] { return only().uncounted == 1; }));
  EXPECT_EQ(only().failures, 0u);
  EXPECT_NE(only().last_error.find("this host was busy"), std::string::npos);
  EXPECT_EQ(checker->state("web", "a"), State::unknown);
  ASSERT_TRUE(run_until(io, [&] { return changes.size() == 1; }));  // the next one counts
  EXPECT_EQ(changes[0].state, State::down);
}

TEST_F(ChecksTest, TheCallbackMayDestroyTheChecker) {
  Server server(io);
  size_t calls = 0;
  std::unique_ptr<Checker> own;
  own = std::make_unique<Checker>(io, [&](const Change&) {
    calls++;
    own.reset();
  });
  Target a = target("a", server.endpoint()), b = target("b", server.endpoint());
  a.config.rise = b.config.rise = 1;
  own->set_targets({a, b});
  ASSERT_TRUE(run_until(io, [&] { return calls > 0; }));
  run_for(io, milliseconds(1200));
  EXPECT_EQ(calls, 1u);
}

TEST_F(ChecksTest, TheIoContextMayEndFirst) {
  auto own = std::make_unique<asio::io_context>();
  Server server(*own, {.silent = true});
  Checker local(*own, [](const Change&) {});
  local.set_targets({target("a", server.endpoint())});
  ASSERT_TRUE(run_until(*own, [&] { return server.open() == 1; }));
  // Both are destroyed with a check under way: sanitizers see to the rest.
}

}  // namespace
}  // namespace teal::health
