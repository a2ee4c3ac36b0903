// SPDX-License-Identifier: Apache-2.0
// The short ways of the packet path say what the long ones would.
#include <gtest/gtest.h>

#include <cstring>

#include "flow_fixture.h"
#include "teal/decide.h"
#include "teal/rewrite.h"
#include "teal/route.h"
#include "teal/settled.h"

namespace teal::flow::test {
namespace {

constexpr uint16_t check = 0x1abc;
constexpr uint32_t tick = 1u << TEAL_FINE_SHIFT;

teal_service service_of(uint8_t forward) {
  teal_service s{};
  s.proto = TEAL_PROTO_TCP;
  s.family = 4;
  s.forward = forward;
  for (uint32_t& t : s.timeout) t = 60 * TEAL_TICKS_PER_S;
  return s;
}

// Each state, all flags, stamps around the refresh and the clock's wrap.
TEST(Steady, WhatIsSteadyIsKeptAsItIs) {
  uint64_t steady = 0, kept = 0;
  for (const uint8_t forward : {TEAL_FORWARD_nat, TEAL_FORWARD_l2dsr}) {
    const teal_service service = service_of(forward);
    const uint8_t two_way = forward == TEAL_FORWARD_nat;
    for (const uint32_t now : {1u << 20, 3 * tick, 0xfffffff0u})
      for (uint8_t state = TEAL_FLOW_syn; state < TEAL_FLOW_STATE_COUNT; state++)
        for (const uint64_t data : {uint64_t{0}, uint64_t{TEAL_VAL_DATA}})
          for (int age = -3; age <= 40; age++)
            for (uint8_t flags = 0; flags < 64; flags++)
              for (const uint8_t dir : {TEAL_TO_BACKEND, TEAL_TO_CLIENT}) {
                const uint32_t then = now - static_cast<uint32_t>(age) * tick;
                const uint64_t val = teal_val(7, TEAL_GREEN, 9, state, check, then) | data;
                const bool same = teal_val_after(val, TEAL_PROTO_TCP, dir, flags, two_way, now) == val;
                kept += same;
                if (!teal_is_steady(val, flags, now)) continue;
                steady++;
                ASSERT_EQ(teal_decide(&service, val, TEAL_PROTO_TCP, flags, now), TEAL_ACT_KEEP);
                ASSERT_TRUE(same) << "state " << int{state} << ", flags " << int{flags} << ", age " << age;
              }
  }
  // Established with data, ages 0 to 15, the eight flags without SYN, FIN and RST: both forwardings, three clocks, two
  // ways.
  EXPECT_EQ(steady, 2 * 3 * TEAL_REFRESH_TICKS * 8 * 2);
  EXPECT_GT(kept, steady);
  EXPECT_FALSE(teal_is_steady(0, TEAL_TCP_ACK, tick)) << "no entry";
  EXPECT_FALSE(teal_is_steady(teal_val(1, 0, 1, TEAL_FLOW_udp, check, tick) | TEAL_VAL_DATA, 0, tick)) << "UDP";
}

// Each state, stamps on both sides of now: what the short way writes is what any packet without SYN, FIN and RST would
// have written, and nobody counts it.
TEST(Steady, AStampIsBroughtUpToDateAsTheLongWayWould) {
  const teal_service service = service_of(TEAL_FORWARD_nat);
  const teal_flow_key key{0x0a0000010001ull, 77, check};
  uint64_t refreshed = 0;
  for (const uint32_t now : {1u << 20, 3 * tick, 0xfffffff0u})
    for (uint8_t state = TEAL_FLOW_syn; state < TEAL_FLOW_STATE_COUNT; state++)
      for (const uint64_t data : {uint64_t{0}, uint64_t{TEAL_VAL_DATA}})
        for (int age = -3; age <= 40; age++) {
          const uint64_t val = teal_val(7, TEAL_GREEN, 9, state, check, now - static_cast<uint32_t>(age) * tick) | data;
          teal_bucket b{};
          b.key[2] = key.key;
          b.val[2] = val;
          teal_flow_key other = key;
          other.check ^= 1;
          ASSERT_EQ(Table::refreshed_in(&b, other, now, 0), 0) << "another key's check bits";
          ASSERT_EQ(Table::refreshed_in(&b, key, now, 8), 0) << "another backend's reply";
          ASSERT_EQ(b.val[2], val);
          const uint16_t backend = Table::refreshed_in(&b, key, now, age % 2 == 0 ? 7 : 0);
          // What a connection under way is, its age apart.
          ASSERT_EQ(backend, (val & TEAL_VAL_DATA) && state == TEAL_FLOW_established ? 7 : 0) << "state " << int{state};
          if (backend == 0) {
            ASSERT_EQ(b.val[2], val);
            continue;
          }
          refreshed += b.val[2] != val;
          for (uint8_t flags = 0; flags < 64; flags++) {
            if (!teal_flags_settled(flags)) continue;
            for (const uint8_t dir : {TEAL_TO_BACKEND, TEAL_TO_CLIENT})
              for (const uint8_t two_way : {0, 1}) {
                ASSERT_EQ(teal_decide(&service, val, TEAL_PROTO_TCP, flags, now), TEAL_ACT_KEEP);
                ASSERT_EQ(b.val[2], teal_val_after(val, TEAL_PROTO_TCP, dir, flags, two_way, now)) << "age " << age;
                ASSERT_EQ(teal_signals_of(val, b.val[2], dir, two_way), 0u);
              }
          }
        }
  EXPECT_EQ(refreshed, 3 * (40 - TEAL_REFRESH_TICKS + 1)) << "ages 16 to 40, at three clocks";
}

TEST(Steady, APoolIsTheOneOfThePoint) {
  teal_service service = service_of(TEAL_FORWARD_nat);
  for (const uint32_t share : {0u, 1u, 655u, 32768u, 65535u, TEAL_SPLIT_ALL})
    for (const uint8_t flags : {0, +TEAL_SERVICE_BY_FLOW})
      for (uint32_t i = 0; i < 200000; i++) {  // so many that some have the last point
        service.flags = flags;
        teal_addr client{};
        client.v4 = teal_swap32(0x0a000000 + i);
        const uint64_t split = teal_split_make(3, share, 0, 1), key = uint64_t{client.v4} << 32 | 5;
        ASSERT_EQ(teal_split_pool(&secret, &service, &client, key, split),
                  teal_pool_of(split, teal_point(&secret, teal_point_basis(&secret, &service, &client, key))));
      }
}

// RFC 1141 against the difference of the word, over every checksum and TTL.
TEST(Steady, ATtlGoesDownWithItsChecksum) {
  teal_ipv4 ip{};
  ip.proto = TEAL_PROTO_TCP;
  for (uint32_t ttl = 2; ttl < 256; ttl += 23)
    for (uint32_t csum = 0; csum < 65536; csum++) {
      ip.ttl = static_cast<uint8_t>(ttl);
      ip.csum = static_cast<uint16_t>(csum);
      ASSERT_EQ(teal_hop_down(reinterpret_cast<uint8_t*>(&ip), 4), 1);
      ASSERT_EQ(ip.ttl, ttl - 1);
      const auto from = static_cast<uint16_t>(ttl | TEAL_PROTO_TCP << 8);
      ASSERT_EQ(ip.csum,
                teal_csum_apply(static_cast<uint16_t>(csum), teal_csum_diff16(from, static_cast<uint16_t>(from - 1))))
          << csum;
    }
}

TEST(Steady, AnAddressIsFoundInTheFilterItWasPutInto) {
  uint64_t filter[TEAL_FILTER_BITS / 64] = {};
  uint32_t strangers = 0;
  for (uint32_t i = 0; i < 64; i++) {
    teal_addr a{};
    a.v4 = teal_swap32(0x0a010000 + i);
    teal_filter_add(filter, &a);
  }
  for (uint32_t i = 0; i < 4096; i++) {
    teal_addr a{};
    a.v4 = teal_swap32(0x0a010000 + i);
    if (i < 64)
      EXPECT_TRUE(teal_in_filter(filter, &a)) << i;
    else
      strangers += static_cast<uint32_t>(teal_in_filter(filter, &a));
  }
  EXPECT_LT(strangers, 4096 / 16u) << "of 4,032, where 64 bits of 4,096 are set";
}

TEST(Steady, HostRoutesAreSkippedWhereThereAreSome) {
  teal_route_lengths lengths{};
  EXPECT_EQ(teal_route_first(&lengths, 4, 0), 0u) << "no routes at all";
  lengths.count[0] = 2;
  lengths.at[0][0].length = 32;
  lengths.at[1][0].length = 64;
  EXPECT_EQ(teal_route_first(&lengths, 4, 0), 1u);
  EXPECT_EQ(teal_route_first(&lengths, 4, 1), 0u);
  EXPECT_EQ(teal_route_first(&lengths, 6, 0), 0u);
}

}  // namespace
}  // namespace teal::flow::test
