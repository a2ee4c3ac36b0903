// SPDX-License-Identifier: Apache-2.0
#include "model/snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

namespace {

using namespace teal::model;

Address addr(const char* text) {
  return *Address::parse(text);
}

SnapshotInput world() {
  SnapshotInput in;
  in.secret = {{11, 22}, {0x9e3779b97f4a7c15ull, 0xc2b2ae3d27d4eb4full}};
  in.ports = {{0, 5, {2, 0, 0, 0, 0, 1}, 1500, {}}, {1, 6, {2, 0, 0, 0, 0, 2}, 9000, {100}}};
  in.topology.links = {{5, "edge0", {}, 1500, true, 0, 0, false},
                       {6, "edge1", {}, 1400, true, 0, 0, false},
                       {7, "edge0.7", {}, 1500, true, 5, 7, false}};
  in.topology.routes = {{*Prefix::parse("10.0.0.0/24"), 5, {}, {}, 0},
                        {*Prefix::parse("10.1.0.0/24"), 6, {}, {}, 0},
                        {*Prefix::parse("10.7.0.0/24"), 7, {}, {}, 0},
                        {*Prefix::parse("10.9.0.0/16"), 0, {}, {}, 0},
                        {*Prefix::parse("0.0.0.0/0"), 5, addr("10.0.0.9"), {}, 0},
                        {*Prefix::parse("2001:db8::/64"), 5, {}, {}, 0}};
  in.topology.neighbours = {
      {5, addr("10.0.0.9"), {9, 9, 9, 9, 9, 9}, true}, {5, addr("10.0.0.3"), {3, 3, 3, 3, 3, 3}, true},
      {6, addr("10.1.0.2"), {2, 2, 2, 2, 2, 2}, true}, {6, addr("10.1.0.3"), {}, false},
      {7, addr("10.7.0.2"), {7, 7, 7, 7, 7, 7}, true}, {5, addr("2001:db8::3"), {6, 6, 6, 6, 6, 6}, true}};
  return in;
}

const teal_hop& route(const Snapshot& s, const SnapshotInput& in, const char* to) {
  const Address a = addr(to);
  const teal_addr raw = a.raw();
  const View& view = s.view();
  const auto find = [&](uint32_t first) {
    return teal_route_find(view.routes, view.route_mask, &view.route_lengths, &in.secret, a.family, &raw, 0, first);
  };
  const int special = teal_in_filter(view.special, &raw);
  const uint32_t hop = find(teal_route_first(&view.route_lengths, a.family, special));
  EXPECT_EQ(hop, find(0)) << to << ", by all lengths";
  if (const uint32_t quick = teal_route_quick(&view.route_default, a.family, &raw, special); quick != 0) {
    EXPECT_EQ(hop, quick) << to << ", unprobed";
  }
  return view.hops[hop];
}

TEST(Snapshot, RoutesByLongestPrefixNeighboursFirst) {
  const SnapshotInput in = world();
  MaglevCache cache;
  const Snapshot s(in, cache);
  EXPECT_EQ(route(s, in, "10.0.0.3").dst[0], 3);
  EXPECT_EQ(route(s, in, "10.0.0.4").state, TEAL_HOP_UNRESOLVED);  // on-link, not known yet
  EXPECT_EQ(route(s, in, "8.8.8.8").dst[0], 9);                    // by the gateway
  EXPECT_EQ(route(s, in, "10.9.1.1").state, TEAL_HOP_NO_ROUTE);    // unreachable beats the default
  EXPECT_EQ(route(s, in, "2001:db8::3").dst[0], 6);
  EXPECT_EQ(route(s, in, "2001:db9::3").state, TEAL_HOP_NO_ROUTE);
}

// Networks of all lengths, and addresses near them: who is told to go to the default would have gone there.
TEST(Snapshot, TheDefaultUnprobedIsNobodyElses) {
  std::mt19937_64 random(3);
  uint32_t unprobed = 0, asked = 0;
  for (int round = 0; round < 60; round++) {
    SnapshotInput in = world();
    in.topology.routes = {{*Prefix::parse("0.0.0.0/0"), 5, {}, {}, 0}, {*Prefix::parse("::/0"), 6, {}, {}, 0}};
    std::vector<Address> near;
    const auto shortest = static_cast<uint8_t>(random() % 30 + 1);
    for (int i = 0; i < 12; i++) {
      const uint8_t family = random() % 2 == 0 ? 4 : 6;
      Address a{family, {}};
      for (unsigned byte = 0; byte < a.bits() / 8; byte++) a.bytes[byte] = static_cast<uint8_t>(random());
      const auto length = static_cast<uint8_t>(std::min<uint64_t>(shortest + random() % 100, a.bits()));
      in.topology.routes.push_back({Prefix{a, length}.network(), 7, {}, {}, 0});
      near.push_back(a);
    }
    MaglevCache cache;
    const Snapshot s(in, cache);
    const View& view = s.view();
    for (const Address& a : near)
      for (unsigned bit = 0; bit <= a.bits(); bit++) {  // the last: itself
        Address other = a;
        if (bit < a.bits()) other.bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
        const teal_addr raw = other.raw();
        const uint32_t quick =
            teal_route_quick(&view.route_default, a.family, &raw, teal_in_filter(view.special, &raw));
        asked++;
        if (quick == 0) continue;
        unprobed++;
        ASSERT_EQ(quick,
                  teal_route_find(view.routes, view.route_mask, &view.route_lengths, &in.secret, a.family, &raw, 0, 0));
      }
  }
  EXPECT_GT(unprobed, asked / 20) << "of " << asked;
  EXPECT_LT(unprobed, asked) << "each network's own addresses are probed";
}

TEST(Snapshot, OneRouteBesideTheDefaultTellsThemAllApart) {
  SnapshotInput in = world();
  in.topology.routes = {{*Prefix::parse("0.0.0.0/0"), 5, addr("10.0.0.9"), {}, 0},
                        {*Prefix::parse("10.0.0.0/8"), 6, {}, {}, 0}};
  in.topology.neighbours = {{5, addr("10.0.0.9"), {9, 9, 9, 9, 9, 9}, true}};
  MaglevCache cache;
  const Snapshot s(in, cache);
  const auto quick = [&](const char* to) {
    const teal_addr raw = addr(to).raw();
    return teal_route_quick(&s.view().route_default, addr(to).family, &raw, teal_in_filter(s.view().special, &raw));
  };
  for (const char* far : {"8.8.8.8", "9.255.255.255", "11.0.0.0", "203.0.113.7"})
    EXPECT_EQ(s.view().hops[quick(far)].dst[0], 9) << far;
  for (const char* near : {"10.0.0.1", "10.255.255.255"}) EXPECT_EQ(quick(near), 0u) << near;
  EXPECT_EQ(quick("2001:db8::1"), 0u) << "IPv6 has no default";
}

TEST(Snapshot, TagsAndMtuOfPortAndVlanLink) {
  const SnapshotInput in = world();
  MaglevCache cache;
  const Snapshot s(in, cache);
  const teal_hop& tagged = route(s, in, "10.1.0.2");
  EXPECT_EQ(tagged.port, 1);
  EXPECT_EQ(tagged.tags, 1);
  EXPECT_EQ(tagged.vlan[0].tci, teal_swap16(100));
  EXPECT_EQ(tagged.mtu, 1400);
  const teal_hop& vlan = route(s, in, "10.7.0.2");
  EXPECT_EQ(vlan.port, 0);
  ASSERT_EQ(vlan.tags, 1);
  EXPECT_EQ(vlan.vlan[0].tci, teal_swap16(7));
}

SnapshotInput with_services() {
  SnapshotInput in = world();
  for (uint16_t n : {1, 2}) {
    SnapshotService s;
    s.number = n;
    s.group = n;
    s.config.vip = addr(n == 1 ? "192.0.2.1" : "192.0.2.2");
    s.config.port = 80;
    in.services.push_back(s);
  }
  in.backends = {{1, 1, 0, {addr("10.1.0.2"), 8080}, 1},
                 {2, 1, 1, {addr("10.1.0.3"), 8080}, 1},
                 {3, 2, 0, {addr("10.1.0.2"), 8080}, 1},
                 {4, 1, 0, {addr("10.0.0.3"), 8080}, 0}};
  return in;
}

TEST(Snapshot, ServicesAreFoundByVipAndReplies) {
  const SnapshotInput in = with_services();
  MaglevCache cache;
  const Snapshot s(in, cache);
  const View& v = s.view();
  const teal_addr vip = addr("192.0.2.2").raw();
  EXPECT_EQ(teal_match_find(v.match, v.match_mask, &in.secret,
                            teal_match_key(&in.secret, 4, &vip, teal_swap16(80), 6, TEAL_MATCH_VIP)),
            2u);
  EXPECT_EQ(teal_match_find(v.match, v.match_mask, &in.secret,
                            teal_match_key(&in.secret, 4, &vip, teal_swap16(81), 6, TEAL_MATCH_VIP)),
            0u);
  const teal_addr backend = addr("10.1.0.2").raw();
  const uint32_t e =
      teal_match_find(v.match, v.match_mask, &in.secret,
                      teal_match_key(&in.secret, 4, &backend, teal_swap16(8080), 6, TEAL_MATCH_ENDPOINT));
  ASSERT_NE(e, 0u);
  EXPECT_EQ(v.endpoints[e].count, 2u);  // two services over one address
  EXPECT_TRUE(v.services[1].flags & TEAL_SERVICE_SHARED);
  EXPECT_TRUE(v.services[2].flags & TEAL_SERVICE_SHARED);
}

TEST(Snapshot, HowPacketsUnderWayAreSentToABackend) {
  const auto way = [](Forward forward, const char* to) {
    SnapshotInput in = with_services();
    in.services[0].config.forward = forward;
    in.backends = {{1, 1, 0, {addr(to), 80}, 1}};
    MaglevCache cache;
    return Snapshot(in, cache).view().backends[1].way;
  };
  EXPECT_EQ(way(Forward::nat, "10.0.0.3"), TEAL_WAY_NAT);
  EXPECT_EQ(way(Forward::l2dsr, "10.0.0.3"), TEAL_WAY_L2DSR);
  EXPECT_EQ(way(Forward::ipip, "10.0.0.3"), TEAL_WAY_TUNNEL4);
  EXPECT_EQ(way(Forward::ipip, "2001:db8::3"), TEAL_WAY_TUNNEL6);
  for (const Forward forward : {Forward::nat, Forward::l2dsr, Forward::ipip}) {
    EXPECT_EQ(way(forward, "10.0.0.4"), TEAL_WAY_LONG) << "no MAC address is known";
    EXPECT_EQ(way(forward, "10.1.0.2"), TEAL_WAY_LONG) << "its frames have a tag";
    EXPECT_EQ(way(forward, "10.9.0.1"), TEAL_WAY_LONG) << "no route";
  }
}

TEST(Snapshot, ABackendWithoutWeightGetsNoSlotButKeepsItsNextHop) {
  const SnapshotInput in = with_services();
  MaglevCache cache;
  const Snapshot s(in, cache);
  for (uint16_t n : *s.maglev(1, 0)) ASSERT_EQ(n, 1);
  EXPECT_EQ(s.view().backends[4].hop.state, TEAL_HOP_READY);
  EXPECT_EQ(s.view().backends[2].hop.state, TEAL_HOP_UNRESOLVED);
  EXPECT_TRUE(s.maglev(2, 1)->empty());
  EXPECT_EQ(s.view().services[2].maglev[1], 0u);
}

TEST(Snapshot, TablesAreKeptWhileMembershipStands) {
  SnapshotInput in = with_services();
  MaglevCache cache;
  const Snapshot a(in, cache);
  in.backends[1].weight = 0;
  const Snapshot b(in, cache);
  EXPECT_EQ(a.maglev(1, 0).get(), b.maglev(1, 0).get());
  EXPECT_NE(a.maglev(1, 1).get(), b.maglev(1, 1).get());
}

TEST(Snapshot, AThousandServicesAreAllFound) {
  SnapshotInput in = world();
  for (uint16_t n = 1; n <= 1000; n++) {
    SnapshotService s;
    s.number = n;
    s.config.vip = addr(n % 2 ? "192.0.2.1" : "2001:db8::1");
    s.config.port = n;
    in.services.push_back(s);
  }
  MaglevCache cache;
  const Snapshot s(in, cache);
  for (const auto& svc : in.services) {
    const teal_addr vip = svc.config.vip.raw();
    const uint64_t key =
        teal_match_key(&in.secret, svc.config.vip.family, &vip, teal_swap16(svc.config.port), 6, TEAL_MATCH_VIP);
    ASSERT_EQ(teal_match_find(s.view().match, s.view().match_mask, &in.secret, key), svc.number);
  }
}

}  // namespace
