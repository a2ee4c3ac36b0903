// SPDX-License-Identifier: Apache-2.0
// Which services' connections may go without the table (teal/settled.h).
#include <gtest/gtest.h>

#include <functional>

#include "model/snapshot.h"
#include "teal/settled.h"

namespace {

using namespace teal::model;

SnapshotInput one_service() {
  SnapshotInput in;
  in.secret = {{11, 22}, {0x9e3779b97f4a7c15ull, 0xc2b2ae3d27d4eb4full}};
  for (uint16_t number : {1, 2}) {
    SnapshotService s;
    s.number = number;
    s.group = number;
    s.config.vip = *Address::parse(number == 1 ? "192.0.2.1" : "192.0.2.2");
    s.config.port = 80;
    in.services.push_back(s);
  }
  in.backends = {{1, 1, 0, {*Address::parse("10.1.0.2"), 8080}, 1},
                 {2, 1, 1, {*Address::parse("10.1.0.3"), 8080}, 1},
                 {3, 2, 0, {*Address::parse("10.1.0.4"), 8080}, 1}};
  return in;
}

// By the flag, which the XDP program reads; what workers read must say the same.
bool settles(const SnapshotInput& in, uint16_t service = 1) {
  MaglevCache cache;
  const Snapshot s(in, cache);
  const bool flag = (s.view().services[service].flags & TEAL_SERVICE_SETTLES) != 0;
  const Settling& settling = s.view().settling[service];
  EXPECT_EQ(settling.maglev[0], nullptr) << "of a group that is not settled";
  for (const uint8_t pool : {TEAL_BLUE, TEAL_GREEN}) {
    const auto table = s.maglev(service, pool);
    EXPECT_EQ(settling.maglev[1 + pool], flag && !table->empty() ? table->data() : nullptr) << "pool " << int{pool};
  }
  if (flag) {
    EXPECT_EQ(settling.group, s.view().services[service].group);
  }
  return flag;
}

TEST(Settles, PlainTcpDoes) {
  SnapshotInput in = one_service();
  EXPECT_TRUE(settles(in, 1));
  EXPECT_TRUE(settles(in, 2)) << "whatever its pools hold";
  MaglevCache cache;
  EXPECT_FALSE(Snapshot(in, cache).view().services[0].flags) << "the number that is nobody's";
  for (const Forward f : {Forward::nat, Forward::l2dsr, Forward::ipip})
    for (const SplitBy by : {SplitBy::client, SplitBy::flow}) {
      in.services[0].config.forward = f;
      in.services[0].config.split_by = by;
      EXPECT_TRUE(settles(in));
    }
  in.services[0].config.vip = *Address::parse("2001:db8::1");
  in.services[0].config.mss_clamp = 1300;
  EXPECT_TRUE(settles(in));
}

struct Never {
  const char* what;
  std::function<void(SnapshotInput&)> make;
};

TEST(Settles, WhatNeverDoes) {
  const std::vector<Never> excluded{
      {"UDP", [](SnapshotInput& in) { in.services[0].config.protocol = Protocol::udp; }},
      {"affinity", [](SnapshotInput& in) { in.services[0].config.affinity.by_client = true; }},
      {"a retired service", [](SnapshotInput& in) { in.services[0].retired = true; }},
      {"a backend that another service has as well",
       [](SnapshotInput& in) {
         in.backends.push_back({4, 2, 0, {*Address::parse("10.1.0.2"), 8080}, 1});
       }},
      {"preview clients, of green",
       [](SnapshotInput& in) {
         in.services[0].config.preview.clients = {*Prefix::parse("203.0.113.0/24")};
         in.services[0].preview_pool = 1;
       }},
      {"preview clients, of blue",
       [](SnapshotInput& in) {
         in.services[0].config.preview.clients = {*Prefix::parse("203.0.113.0/24")};
         in.services[0].preview_pool = 0;
       }},
      {"59 s", [](SnapshotInput& in) { in.engine.timeouts.established_s = 59; }}};
  for (const Never& never : excluded) {
    SnapshotInput in = one_service();
    never.make(in);
    EXPECT_FALSE(settles(in)) << never.what;
  }
}

TEST(Settles, AtTheEdges) {
  SnapshotInput in = one_service();
  in.engine.timeouts.established_s = 60;
  EXPECT_TRUE(settles(in));
  in.services[0].config.preview.clients = {*Prefix::parse("203.0.113.0/24")};
  EXPECT_TRUE(settles(in)) << "nobody is previewed now";
  in = one_service();
  in.backends.push_back({4, 2, 0, {*Address::parse("10.1.0.2"), 8081}, 1});
  EXPECT_TRUE(settles(in)) << "another port of the backend's is nobody's but its own";
  in = one_service();
  in.services[0].config.protocol = Protocol::udp;
  EXPECT_TRUE(settles(in, 2)) << "its neighbour does not";
}

}  // namespace
