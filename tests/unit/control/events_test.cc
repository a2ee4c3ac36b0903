// SPDX-License-Identifier: Apache-2.0
// The ring of events, and /v1/events as a real stream over the socket.
#include "control/events.h"

#include <gtest/gtest.h>

#include <future>

#include "server_fixture.h"

namespace teal::control {
namespace {

TEST(Events, AStreamGoesOnBehindTheLast) {
  Events events(10, 1);
  uint64_t last = events.newest();
  EXPECT_EQ(last, 0u);
  EXPECT_EQ(events.stream(last, 1000), "");
  events.publish("rollout", "{\"a\":1}");
  events.publish("signals", "{}");
  EXPECT_EQ(events.stream(last, 1000), "id: 1\nevent: rollout\ndata: {\"a\":1}\n\nid: 2\nevent: signals\ndata: {}\n\n");
  EXPECT_EQ(last, 2u);
  EXPECT_EQ(events.stream(last, 1000), "");
}

TEST(Events, WhatLeftTheRingIsAGap) {
  Events events(3, 100);
  for (int i = 0; i < 5; i++) events.publish("x", "{}");
  EXPECT_EQ(events.kept().size(), 3u);
  EXPECT_TRUE(events.follows(101));
  EXPECT_FALSE(events.follows(100));
  EXPECT_FALSE(events.follows(105)) << "of another process";
  uint64_t last = 100;
  const std::string text = events.stream(last, 1000);
  EXPECT_EQ(text.substr(0, text.find("\n\n")), "event: gap\ndata: {\"after\":100,\"before\":102}");
  EXPECT_NE(text.find("id: 102\n"), std::string::npos);
  EXPECT_EQ(last, 104u);
}

TEST(Events, ALongStreamComesInParts) {
  Events events(100, 1);
  for (int i = 0; i < 10; i++) events.publish("x", std::string(100, 'd'));
  uint64_t last = 0;
  events.stream(last, 250);
  EXPECT_EQ(last, 3u) << "stops when it is long enough";
  events.stream(last, 100000);
  EXPECT_EQ(last, 10u);
}

TEST(Events, IdsGoOnRisingOverARestart) {
  Events before;
  before.publish("x", "{}");
  usleep(1000);
  EXPECT_GE(Events().newest(), before.newest());
}

TEST(Events, ListenersAreCalledWhileTheyListen) {
  Events events(10, 1);
  int heard = 0;
  auto first = events.listen([&] { heard++; });
  Events::Handle second;
  second = events.listen([&] { second.reset(); });  // goes while it is called
  events.publish("x", "{}");
  first.reset();
  events.publish("x", "{}");
  EXPECT_EQ(heard, 1);
}

class EventStreamTest : public ServerTest {
 protected:
  void publish(const std::string& data) {
    std::promise<void> done;
    boost::asio::post(context, [&] {
      events.publish("rollout", data);
      done.set_value();
    });
    done.get_future().wait();
  }
  std::string metric(const std::string& name) {
    const std::string text = get("/metrics").body;
    const auto at = text.find("\n" + name + " ");
    return at == std::string::npos ? ""
                                   : text.substr(at + name.size() + 2, text.find('\n', at + 1) - at - name.size() - 2);
  }
};

TEST_F(EventStreamTest, EventsComeAsTheyHappen) {
  publish("{\"old\":true}");
  RawClient client(config.socket);
  client.write(http_request("GET", "/v1/events"));
  const auto head = client.read(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("content-type"), "text/event-stream");
  EXPECT_EQ(client.read_until("\n\n"), "retry: 1000\n\n") << "from now on: the old one is not sent";
  publish("{\"n\":1}");
  EXPECT_EQ(client.read_until("\n\n"), "id: 2\nevent: rollout\ndata: {\"n\":1}\n\n");
  publish("{\"n\":2}");
  EXPECT_EQ(client.read_until("\n\n"), "id: 3\nevent: rollout\ndata: {\"n\":2}\n\n");
  EXPECT_EQ(metric("teal_control_event_listeners"), "1");
}

TEST_F(EventStreamTest, LastEventIdResumes) {
  for (int i = 1; i <= 3; i++) publish("{}");
  RawClient client(config.socket);
  client.write(http_request("GET", "/v1/events", "", "Last-Event-ID: 1\r\n"));
  client.read(true);
  client.read_until("\n\n");
  EXPECT_EQ(client.read_until("\n\n"), "id: 2\nevent: rollout\ndata: {}\n\n");
  EXPECT_EQ(client.read_until("\n\n"), "id: 3\nevent: rollout\ndata: {}\n\n");
  RawClient wrong(config.socket);
  wrong.write(http_request("GET", "/v1/events", "", "Last-Event-ID: x\r\n"));
  EXPECT_EQ(wrong.read().json()["detail"], "header \"Last-Event-ID\": found \"x\", expected the id of an event");
}

TEST_F(EventStreamTest, WhoGoesAwayIsForgotten) {
  {
    RawClient client(config.socket);
    client.write(http_request("GET", "/v1/events"));
    client.read(true);
    EXPECT_EQ(metric("teal_control_event_listeners"), "1");
  }
  for (int i = 0; i < 100 && metric("teal_control_event_listeners") != "0"; i++) usleep(10000);
  EXPECT_EQ(metric("teal_control_event_listeners"), "0");
  publish("{}");
  EXPECT_EQ(get("/v1/status").status, 200);
}

TEST_F(EventStreamTest, WhoDoesNotReadIsCutOff) {
  halt();
  limits.event = std::chrono::milliseconds(200);
  run();
  RawClient slow(config.socket), quick(config.socket);
  slow.write(http_request("GET", "/v1/events"));
  slow.read(true);
  quick.write(http_request("GET", "/v1/events"));
  quick.read(true);
  quick.read_until("\n\n");
  // More than the socket takes: the write does not end.
  const std::string large = "\"" + std::string(60000, 'x') + "\"";
  for (int i = 0; i < 20; i++) {
    publish(large);
    EXPECT_EQ(quick.read_until("\n\n").size(),
              large.size() + std::string("id: 1\nevent: rollout\ndata: \n\n").size() + (i >= 9 ? 1 : 0))
        << "one who reads misses nothing";
  }
  for (int i = 0; i < 300 && metric("teal_control_event_listeners") != "1"; i++) usleep(10000);
  EXPECT_EQ(metric("teal_control_event_listeners"), "1");
  EXPECT_EQ(metric("teal_control_timeouts_total"), "1");
}

TEST_F(EventStreamTest, WhomTheRingOvertakesIsCutOff) {
  RawClient slow(config.socket);
  slow.write(http_request("GET", "/v1/events"));
  slow.read(true);
  const std::string large = "\"" + std::string(2000, 'x') + "\"";
  for (int i = 0; i < 1500; i++) publish(large);
  // It drains what was on its way, and then the stream ends: no picture with holes.
  std::string seen;
  while (true) {
    const std::string part = slow.read_until("\n\n");
    if (part.empty()) break;
    seen = part;
  }
  EXPECT_NE(seen.find("id: "), std::string::npos);
  EXPECT_LT(std::stoul(seen.substr(4)), 1500u);
}

TEST_F(EventStreamTest, TheServerStopsWithListeners) {
  RawClient client(config.socket);
  client.write(http_request("GET", "/v1/events"));
  client.read(true);
  client.read_until("\n\n");
  halt();
  EXPECT_TRUE(client.closed_within(std::chrono::milliseconds(1000)));
}

}  // namespace
}  // namespace teal::control
