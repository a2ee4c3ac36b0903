// SPDX-License-Identifier: Apache-2.0
// The value's fields, how a state follows the packets, and what is decided of a packet.
#include <gtest/gtest.h>

#include <set>

#include "teal/decide.h"

namespace {

constexpr uint8_t over[] = {TEAL_FLOW_closing, TEAL_FLOW_closed, TEAL_FLOW_reset};

teal_service service() {
  teal_service s{};
  s.timeout[TEAL_TIMEOUT_half_open] = 160;
  s.timeout[TEAL_TIMEOUT_established] = 57600;
  s.timeout[TEAL_TIMEOUT_closing] = 160;
  s.timeout[TEAL_TIMEOUT_udp] = 960;
  return s;
}

constexpr uint32_t at(uint32_t ticks) {  // fine ticks
  return ticks << TEAL_FINE_SHIFT;
}

uint64_t value(uint8_t state, uint32_t ticks = 0) {
  return teal_val(7, 1, 3, state, 0x1234, at(ticks));
}

TEST(Value, FieldsDoNotTouchEachOther) {
  const uint64_t v = teal_val(0xffff, 1, 31, 15, 0x1fff, 0xffffffff);
  EXPECT_EQ(v, ~TEAL_VAL_DATA) << "whether data was seen is said by packets only";
  EXPECT_EQ(teal_val(0xffff, 0, 0, 0, 0, 0), 0xffff000000000000ull);
  const uint64_t w = teal_val(0xa5c3, 1, 64 + 9, TEAL_FLOW_udp, 0x2bcd, 0x1fedcba5);
  EXPECT_EQ(teal_val_backend(w), 0xa5c3);
  EXPECT_EQ(teal_val_pool(w), 1);
  EXPECT_EQ(teal_val_generation(w), 9);
  EXPECT_EQ(teal_val_state(w), TEAL_FLOW_udp);
  EXPECT_EQ(teal_val_check(w), 0x2bcd & TEAL_CHECK_MASK);
  EXPECT_EQ(teal_val_stamp(w), 0x1fedcbu) << "in ticks";
  EXPECT_EQ(teal_val_stamp(teal_val(1, 0, 0, TEAL_FLOW_syn, 0, 0x1fedcba5)), 0xedcba5u) << "in fine ticks";
}

TEST(Value, AgeWrapsWithTheStampAndIgnoresAStampAhead) {
  EXPECT_EQ(teal_val_age(value(TEAL_FLOW_established, 0xfffff0), at(0x1000010)), 0x20u);
  EXPECT_EQ(teal_val_age(value(TEAL_FLOW_established, 5), at(5)), 0u);
  EXPECT_EQ(teal_val_age(value(TEAL_FLOW_established, 10), at(5)), 0u);
  EXPECT_EQ(teal_val_age(value(TEAL_FLOW_established, 0), at(0x7fffff)), 0x7fffffu);
  EXPECT_EQ(teal_val_age(value(TEAL_FLOW_established, 0), at(0x800000)), 0u);
}

TEST(Value, AHandshakeIsTimedInFineTicks) {
  const uint64_t v = teal_val(7, 0, 1, TEAL_FLOW_syn, 0, 0xfffffff0);
  EXPECT_EQ(teal_val_fine_age(v, 0x10), 0x20u) << "over the clock's wrap";
  EXPECT_EQ(teal_val_age(v, 0x10), 0u);
  EXPECT_EQ(teal_val_age(v, 0xfffffff0 + 3 * 256 + 255), 3u);
  const uint64_t again = teal_val_after(v, TEAL_PROTO_TCP, TEAL_TO_BACKEND, TEAL_TCP_SYN, 1, at(100));
  EXPECT_EQ(again, v) << "a SYN that comes again does not start the clock anew";
  EXPECT_TRUE(teal_is_retransmit(v, TEAL_TO_BACKEND, TEAL_TCP_SYN));
  EXPECT_FALSE(teal_is_retransmit(v, TEAL_TO_CLIENT, TEAL_TCP_SYN | TEAL_TCP_ACK));
}

TEST(Signals, OfEachChangeOfState) {
  const auto step = [](uint64_t& v, uint8_t dir, uint8_t flags, uint8_t two_way) {
    const uint64_t was = v;
    v = teal_val_after(v, TEAL_PROTO_TCP, dir, flags, two_way, at(1));
    return teal_signals_of(was, v, dir, two_way);
  };
  uint64_t v = value(TEAL_FLOW_syn);
  EXPECT_EQ(step(v, TEAL_TO_CLIENT, TEAL_TCP_SYN | TEAL_TCP_ACK, 1), TEAL_SIGNAL_timed);
  EXPECT_EQ(step(v, TEAL_TO_BACKEND, TEAL_TCP_ACK, 1), TEAL_SIGNAL_handshake);
  const uint64_t open = v;
  EXPECT_EQ(step(v, TEAL_TO_CLIENT, TEAL_TCP_RST, 1), TEAL_SIGNAL_early_reset);
  v = open;
  EXPECT_EQ(step(v, TEAL_TO_BACKEND, TEAL_TCP_RST, 1), 0u) << "the client's own business";
  v = open;
  EXPECT_EQ(step(v, TEAL_TO_BACKEND, TEAL_TCP_PSH | TEAL_TCP_ACK, 1), 0u);
  EXPECT_FALSE(v & TEAL_VAL_DATA) << "the request is not the backend's data";
  EXPECT_EQ(step(v, TEAL_TO_CLIENT, TEAL_TCP_PSH | TEAL_TCP_ACK, 1), 0u);
  EXPECT_TRUE(v & TEAL_VAL_DATA);
  EXPECT_EQ(step(v, TEAL_TO_CLIENT, TEAL_TCP_RST | TEAL_TCP_ACK, 1), TEAL_SIGNAL_reset);
  EXPECT_EQ(step(v, TEAL_TO_CLIENT, TEAL_TCP_RST, 1), 0u) << "counted once";
  v = value(TEAL_FLOW_syn);
  EXPECT_EQ(step(v, TEAL_TO_CLIENT, TEAL_TCP_RST | TEAL_TCP_ACK, 1), TEAL_SIGNAL_refused);
  v = value(TEAL_FLOW_syn);
  EXPECT_EQ(step(v, TEAL_TO_BACKEND, TEAL_TCP_ACK, 0), TEAL_SIGNAL_timed | TEAL_SIGNAL_handshake);
  EXPECT_EQ(step(v, TEAL_TO_BACKEND, TEAL_TCP_RST, 0), TEAL_SIGNAL_early_reset) << "all that direct return sees";
}

TEST(Signals, BucketsOfTheHandshakeTime) {
  EXPECT_EQ(teal_handshake_bucket(0), 0u);
  EXPECT_EQ(teal_handshake_bucket(1), 1u);
  for (uint32_t b = 1; b < TEAL_HANDSHAKE_BUCKETS - 1; b++) {
    EXPECT_EQ(teal_handshake_bucket(teal_handshake_edge(b) - 1), b);
    EXPECT_EQ(teal_handshake_bucket(teal_handshake_edge(b)), b + 1);
  }
  EXPECT_EQ(teal_handshake_bucket(UINT32_MAX), TEAL_HANDSHAKE_BUCKETS - 1);
}

TEST(TcpNext, NeverLeavesTheValidStatesAndOverStaysOver) {
  const std::set<uint8_t> valid = {TEAL_FLOW_syn,        TEAL_FLOW_syn_ack,     TEAL_FLOW_established,
                                   TEAL_FLOW_fin_client, TEAL_FLOW_fin_backend, TEAL_FLOW_closing,
                                   TEAL_FLOW_closed,     TEAL_FLOW_recovered,   TEAL_FLOW_reset};
  for (uint8_t state : valid)
    for (uint8_t dir : {TEAL_TO_BACKEND, TEAL_TO_CLIENT})
      for (uint8_t two_way : {0, 1})
        for (unsigned flags = 0; flags < 256; flags++) {
          const uint8_t next = teal_tcp_next(state, dir, static_cast<uint8_t>(flags), two_way);
          SCOPED_TRACE(testing::Message() << "state " << int{state} << " dir " << int{dir} << " two_way "
                                          << int{two_way} << " flags " << flags << " next " << int{next});
          ASSERT_TRUE(valid.contains(next));
          if (teal_state_is_over(state)) {
            ASSERT_EQ(next, state);
            continue;
          }
          ASSERT_NE(next, TEAL_FLOW_reset);  // only the operator's word resets
          ASSERT_TRUE(next == state || next != TEAL_FLOW_recovered);
          ASSERT_TRUE(!(flags & TEAL_TCP_RST) || next == TEAL_FLOW_closed);
          // What has been established gives way to nobody, unless an end was seen.
          ASSERT_TRUE(teal_state_gives_way(state) || (flags & (TEAL_TCP_RST | TEAL_TCP_FIN)) ||
                      !teal_state_gives_way(next));
          // A SYN alone never establishes.
          ASSERT_TRUE(!(flags & TEAL_TCP_SYN) || state == TEAL_FLOW_established || next != TEAL_FLOW_established);
        }
}

TEST(TcpNext, AHandshakeAndACloseSeenFromBothSides) {
  uint8_t s = TEAL_FLOW_syn;
  s = teal_tcp_next(s, TEAL_TO_CLIENT, TEAL_TCP_SYN | TEAL_TCP_ACK, 1);
  EXPECT_EQ(s, TEAL_FLOW_syn_ack);
  s = teal_tcp_next(s, TEAL_TO_BACKEND, TEAL_TCP_ACK, 1);
  EXPECT_EQ(s, TEAL_FLOW_established);
  EXPECT_EQ(teal_tcp_next(s, TEAL_TO_BACKEND, TEAL_TCP_SYN, 1), TEAL_FLOW_established);
  s = teal_tcp_next(s, TEAL_TO_BACKEND, TEAL_TCP_FIN | TEAL_TCP_ACK, 1);
  EXPECT_EQ(s, TEAL_FLOW_fin_client);
  EXPECT_EQ(teal_tcp_next(s, TEAL_TO_BACKEND, TEAL_TCP_FIN | TEAL_TCP_ACK, 1), TEAL_FLOW_fin_client);
  s = teal_tcp_next(s, TEAL_TO_CLIENT, TEAL_TCP_FIN | TEAL_TCP_ACK, 1);
  EXPECT_EQ(s, TEAL_FLOW_closing);
  EXPECT_EQ(teal_tcp_next(TEAL_FLOW_syn, TEAL_TO_BACKEND, TEAL_TCP_ACK, 1), TEAL_FLOW_syn);
}

TEST(TcpNext, DirectReturnSeesOneSideOnly) {
  EXPECT_EQ(teal_tcp_next(TEAL_FLOW_syn, TEAL_TO_BACKEND, TEAL_TCP_ACK, 0), TEAL_FLOW_established);
  EXPECT_EQ(teal_tcp_next(TEAL_FLOW_recovered, TEAL_TO_BACKEND, TEAL_TCP_ACK, 0), TEAL_FLOW_established);
  EXPECT_EQ(teal_tcp_next(TEAL_FLOW_established, TEAL_TO_BACKEND, TEAL_TCP_FIN, 0), TEAL_FLOW_closing);
}

TEST(ValAfter, ChangesStateAndStampOnly) {
  const uint64_t v = value(TEAL_FLOW_syn_ack, 100);
  const uint64_t w = teal_val_after(v, TEAL_PROTO_TCP, TEAL_TO_BACKEND, TEAL_TCP_ACK, 1, at(105));
  EXPECT_EQ(w, value(TEAL_FLOW_established, 105));
  EXPECT_EQ(teal_val_after(w, TEAL_PROTO_TCP, TEAL_TO_BACKEND, TEAL_TCP_ACK, 1, at(105 + TEAL_REFRESH_TICKS - 1)), w);
  EXPECT_EQ(teal_val_after(w, TEAL_PROTO_TCP, TEAL_TO_BACKEND, TEAL_TCP_ACK, 1, at(105 + TEAL_REFRESH_TICKS)),
            value(TEAL_FLOW_established, 105 + TEAL_REFRESH_TICKS));
  EXPECT_EQ(teal_val_after(value(TEAL_FLOW_udp_new, 9), TEAL_PROTO_UDP, TEAL_TO_CLIENT, 0, 1, at(9)),
            value(TEAL_FLOW_udp, 9));
  EXPECT_EQ(teal_val_after(value(TEAL_FLOW_udp_new, 9), TEAL_PROTO_UDP, TEAL_TO_BACKEND, 0, 1, at(9)),
            value(TEAL_FLOW_udp_new, 9));
}

TEST(Decide, WithoutAnEntry) {
  const teal_service s = service();
  for (unsigned f = 0; f < 256; f++) {
    const auto flags = static_cast<uint8_t>(f);
    const bool syn = flags & TEAL_TCP_SYN, ack = flags & TEAL_TCP_ACK, rst = flags & TEAL_TCP_RST;
    const teal_action want = syn && !ack && !rst ? TEAL_ACT_ENTER : rst ? TEAL_ACT_STATELESS : TEAL_ACT_RECOVER;
    ASSERT_EQ(teal_decide(&s, 0, TEAL_PROTO_TCP, flags, 0), want) << f;
  }
  EXPECT_EQ(teal_decide(&s, 0, TEAL_PROTO_UDP, 0, 0), TEAL_ACT_ENTER);
}

TEST(Decide, AnEntryThatLivesKeepsItsFlow) {
  const teal_service s = service();
  for (uint8_t state = TEAL_FLOW_syn; state < TEAL_FLOW_STATE_COUNT; state++) {
    if (state == TEAL_FLOW_udp || state == TEAL_FLOW_udp_new || state == TEAL_FLOW_affinity) continue;
    const bool is_over = teal_state_is_over(state);
    EXPECT_EQ(teal_decide(&s, value(state), TEAL_PROTO_TCP, TEAL_TCP_SYN, at(1)),
              is_over ? TEAL_ACT_ENTER : TEAL_ACT_KEEP)
        << int{state};
    EXPECT_EQ(teal_decide(&s, value(state), TEAL_PROTO_TCP, TEAL_TCP_ACK, at(1)),
              state == TEAL_FLOW_reset ? TEAL_ACT_RESET : TEAL_ACT_KEEP)
        << int{state};
  }
  for (uint8_t state : over) EXPECT_TRUE(teal_state_is_over(state));
}

TEST(Decide, ASynOrDatagramAfterTheTimeoutBeginsAnew) {
  const teal_service s = service();
  EXPECT_EQ(teal_decide(&s, value(TEAL_FLOW_established), TEAL_PROTO_TCP, TEAL_TCP_SYN, at(57600)), TEAL_ACT_KEEP);
  EXPECT_EQ(teal_decide(&s, value(TEAL_FLOW_established), TEAL_PROTO_TCP, TEAL_TCP_SYN, at(57601)), TEAL_ACT_ENTER);
  EXPECT_EQ(teal_decide(&s, value(TEAL_FLOW_established), TEAL_PROTO_TCP, TEAL_TCP_ACK, at(57601)), TEAL_ACT_KEEP);
  EXPECT_EQ(teal_decide(&s, value(TEAL_FLOW_udp), TEAL_PROTO_UDP, 0, at(960)), TEAL_ACT_KEEP);
  EXPECT_EQ(teal_decide(&s, value(TEAL_FLOW_udp), TEAL_PROTO_UDP, 0, at(961)), TEAL_ACT_ENTER);
}

TEST(Decide, OnlyRecoveredFlowsAskThePreviousSplitAndOnlyWhileDraining) {
  const uint64_t draining = teal_split_make(2, TEAL_SPLIT_ALL, 1, 1),
                 settled = teal_split_make(2, TEAL_SPLIT_ALL, 0, 1);
  const uint64_t before = teal_split_make(1, 0, 0, 0);
  EXPECT_EQ(teal_deciding_split(TEAL_ACT_ENTER, draining, before), draining);
  EXPECT_EQ(teal_deciding_split(TEAL_ACT_RECOVER, draining, before), before);
  EXPECT_EQ(teal_deciding_split(TEAL_ACT_STATELESS, draining, before), before);
  EXPECT_EQ(teal_deciding_split(TEAL_ACT_RECOVER, settled, before), settled);
}

}  // namespace
