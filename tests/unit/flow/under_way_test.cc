// SPDX-License-Identifier: Apache-2.0
// Packets under way: the parse by masks against the parse by steps, NAT by sums against NAT by differences.
#include "teal/under_way.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>
#include <vector>

#include "flow_fixture.h"
#include "teal/rewrite.h"

namespace teal::flow::test {
namespace {

constexpr uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x11};

std::vector<uint8_t> frame_of(uint32_t family, uint8_t flags, size_t payload) {
  const size_t l4 = TEAL_UNDER_WAY_L4(family);
  std::vector<uint8_t> f(l4 + 20 + payload);
  std::memcpy(f.data(), mac, 6);
  f[6] = 0x02;
  const auto total = static_cast<uint16_t>(f.size() - 14);
  if (family == 4) {
    const uint8_t ip[] = {0x08, 0x00, 0x45, 0x10, uint8_t(total >> 8), uint8_t(total), 0x12, 0x34, 0x40, 0x00, 64, 6};
    std::memcpy(&f[12], ip, sizeof ip);
  } else {
    const uint16_t length = static_cast<uint16_t>(total - 40);
    const uint8_t ip[] = {0x86, 0xdd, 0x60, 0x0a, 0x0b, 0x0c, uint8_t(length >> 8), uint8_t(length), 6, 64};
    std::memcpy(&f[12], ip, sizeof ip);
  }
  for (size_t i = 26; i < 34; i++) f[i] = static_cast<uint8_t>(i);
  f[l4] = 0x9c;
  f[l4 + 3] = 80;
  f[l4 + 12] = 5 << 4;
  f[l4 + 13] = flags;
  return f;
}

struct Counts {
  uint64_t under_way = 0, begin = 0, other = 0;
};

// Holds the short parse against the long one, both ways.
void compare(const std::vector<uint8_t>& f, size_t len, Counts& counts) {
  static const teal_frame_like ipv4 = teal_under_way_like(mac, 4), ipv6 = teal_under_way_like(mac, 6);
  for (const auto* like : {&ipv4, &ipv6})
    ASSERT_EQ(teal_is_like(f.data(), like), teal_is_like_by_words(f.data(), like));
  const bool for_us = std::memcmp(f.data(), mac, 6) == 0;  // the XDP program compares that apart
  ASSERT_EQ(teal_is_like(f.data(), &ipv4) != 0, for_us && teal_is_plain(f.data(), 4));
  ASSERT_EQ(teal_is_like(f.data(), &ipv6) != 0, for_us && teal_is_plain(f.data(), 6));
  enum teal_under_way what = TEAL_NOT_UNDER_WAY;
  if (teal_is_like(f.data(), &ipv4)) what = teal_is_under_way(f.data(), static_cast<uint32_t>(len), 4);
  if (teal_is_like(f.data(), &ipv6)) what = teal_is_under_way(f.data(), static_cast<uint32_t>(len), 6);
  teal_pkt pkt, filled;
  std::memset(&pkt, 0xa5, sizeof pkt);
  std::memset(&filled, 0xa5, sizeof filled);
  const int parsed = teal_parse_common(f.data(), f.data() + len, &pkt);
  const uint8_t flags = pkt.tcp_flags & (TEAL_TCP_SYN | TEAL_TCP_FIN | TEAL_TCP_RST);
  const bool ours = std::memcmp(f.data(), mac, 6) == 0 && parsed != 0 && pkt.proto == TEAL_PROTO_TCP;
  const auto expected = !ours                   ? TEAL_NOT_UNDER_WAY
                        : flags == 0            ? TEAL_UNDER_WAY
                        : flags == TEAL_TCP_SYN ? TEAL_BEGINS
                                                : TEAL_NOT_UNDER_WAY;
  ASSERT_EQ(what, expected) << "family " << parsed << ", flags " << int{pkt.tcp_flags} << ", bytes " << len;
  counts.under_way += what == TEAL_UNDER_WAY;
  counts.begin += what == TEAL_BEGINS;
  counts.other += what == TEAL_NOT_UNDER_WAY;
  if (what == TEAL_NOT_UNDER_WAY) return;
  if (parsed == 4)
    teal_under_way_parsed(f.data(), 4, &filled);
  else
    teal_under_way_parsed(f.data(), 6, &filled);
  ASSERT_EQ(std::memcmp(&filled, &pkt, sizeof pkt), 0) << "family " << parsed;
}

TEST(UnderWay, IsWhatTheParserCallsTcpOfOursWithoutEnds) {
  for (const uint32_t family : {4u, 6u}) {
    Counts counts;
    for (const size_t payload : {0, 6, 12}) {
      for (uint32_t flags = 0; flags < 256; flags++)
        compare(frame_of(family, static_cast<uint8_t>(flags), payload), TEAL_UNDER_WAY_L4(family) + 20 + payload,
                counts);
      for (const uint8_t flags : {TEAL_TCP_ACK, TEAL_TCP_SYN}) {
        const auto f = frame_of(family, flags, payload);
        for (size_t len = 16; len <= f.size(); len++) compare(f, len, counts);
        for (size_t at = 0; at < f.size(); at++)
          for (uint32_t value = 0; value < 256; value++) {
            auto other = f;
            other[at] = static_cast<uint8_t>(value);
            compare(other, other.size(), counts);
          }
      }
    }
    EXPECT_GT(counts.under_way, 10000u) << family;
    EXPECT_GT(counts.begin, 10000u) << family;
    EXPECT_GT(counts.other, 10000u) << family;
  }
}

TEST(UnderWay, AddressesAreThoseOfTheHeader) {
  for (const uint32_t family : {4u, 6u}) {
    auto f = frame_of(family, TEAL_TCP_ACK, 0);
    for (size_t i = 14; i < f.size(); i++) f[i] = static_cast<uint8_t>(i);
    teal_addr src, dst, expected{};
    teal_under_way_addresses(f.data(), family, &src, &dst);
    const size_t bytes = family == 4 ? 4 : 16, at = 14 + (family == 4 ? 12 : 8);
    std::memcpy(&expected, &f[at], bytes);
    EXPECT_TRUE(teal_addr_equal(&src, &expected)) << family;
    std::memcpy(&expected, &f[at + bytes], bytes);
    EXPECT_TRUE(teal_addr_equal(&dst, &expected)) << family;
  }
}

TEST(UnderWay, RandomChangesAreSeenAlike) {
  std::mt19937_64 random(20261128);
  Counts counts;
  for (int round = 0; round < 400000; round++) {
    auto f = frame_of(round % 2 ? 4 : 6, round % 3 ? TEAL_TCP_ACK : TEAL_TCP_SYN, random() % 20);
    for (uint64_t changes = random() % 3; changes > 0; changes--)
      f[random() % f.size()] = static_cast<uint8_t>(1u << random() % 8);
    compare(f, f.size() - (random() % 8 == 0 ? random() % 8 : 0), counts);
  }
  EXPECT_GT(counts.under_way, 50000u);
  EXPECT_GT(counts.other, 50000u);
}

TEST(UnderWay, SteadyEntriesAreThoseOfTheKeyToo) {
  constexpr uint16_t check = 0x1abc;
  constexpr uint32_t tick = 1u << TEAL_FINE_SHIFT;
  uint64_t steady = 0;
  for (const uint32_t now : {1u << 20, 3 * tick, 0xfffffff0u})
    for (uint8_t state = TEAL_FLOW_syn; state < TEAL_FLOW_STATE_COUNT; state++)
      for (const uint64_t data : {uint64_t{0}, uint64_t{TEAL_VAL_DATA}})
        for (int age = -3; age <= 40; age++)
          for (uint32_t bit = 0; bit <= 13; bit++) {
            const uint32_t then = now - static_cast<uint32_t>(age) * tick;
            const auto other = static_cast<uint16_t>(bit == 13 ? check : check ^ 1u << bit);
            const uint64_t val = teal_val(7, TEAL_GREEN, 9, state, other, then) | data;
            ASSERT_EQ(teal_is_steady_of(val, check, now) != 0,
                      teal_is_steady(val, TEAL_TCP_ACK, now) && other == check);
            steady += teal_is_steady_of(val, check, now);
          }
  EXPECT_EQ(steady, 3u * TEAL_REFRESH_TICKS);
  EXPECT_FALSE(teal_is_steady_of(0, check, tick));
}

TEST(Sums, EveryChecksumTakesThemAsItTakesTheDifference) {
  for (const uint32_t diff : {1u, 2u, 0x7fffu, 0x8000u, 0xfffdu, 0xfffeu, 0xffffu, 0x10000u, 0x1fffeu, 0xfffffffeu})
    for (uint32_t csum = 0; csum < 65536; csum++)
      ASSERT_EQ(teal_csum_add(static_cast<uint16_t>(csum), teal_csum_addend(diff)),
                teal_csum_apply(static_cast<uint16_t>(csum), diff))
          << csum << " and " << diff;
}

// Headers with any bytes in their checksums: NAT must not depend on their being right.
TEST(Sums, NatByThemIsNatByDifferences) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200000; round++) {
    const uint32_t family = round % 2 ? 4 : 6;
    const uint8_t proto = round / 2 % 2 ? TEAL_PROTO_TCP : TEAL_PROTO_UDP;
    const int side = round / 4 % 2 ? TEAL_SIDE_SRC : TEAL_SIDE_DST;
    uint8_t packet[64];
    for (uint8_t& b : packet) b = static_cast<uint8_t>(random());
    if (round % 64 == 0) std::memset(packet, round % 128 ? 0xff : 0, sizeof packet);
    uint8_t* l4 = packet + (family == 4 ? 20 : 40);
    packet[family == 4 ? 8 : 7] = static_cast<uint8_t>(random() % 4);
    teal_addr from{}, to{};
    std::memcpy(&from, packet + (family == 4 ? (side == TEAL_SIDE_SRC ? 12 : 16) : (side == TEAL_SIDE_SRC ? 8 : 24)),
                family == 4 ? 4 : 16);
    for (uint32_t& word : to.words) word = family == 4 && &word != &to.words[0] ? 0 : static_cast<uint32_t>(random());
    uint16_t from_port = 0;
    std::memcpy(&from_port, l4 + (side == TEAL_SIDE_SRC ? 0 : 2), 2);
    const auto to_port = static_cast<uint16_t>(random());
    uint8_t expected[64];
    std::memcpy(expected, packet, sizeof packet);
    const int lives = teal_hop_down(expected, family);
    if (lives) teal_nat(expected, expected + (l4 - packet), family, proto, side, &to, to_port);
    const teal_nat_sums sums = teal_nat_sums_of(family, &from, from_port, &to, to_port);
    ASSERT_EQ(teal_nat_hop(packet, l4, family, proto, side, &to, to_port, sums), lives);
    ASSERT_EQ(std::memcmp(packet, expected, sizeof packet), 0) << "round " << round;
  }
}

// Of every class and length: from the inner header's first word as from its fields, and with a checksum that is right.
TEST(Tunnel, AnOuterHeaderIsTheSameFromTheInnerOnesFirstWord) {
  for (const teal_be32 address : {0u, 0x0100000au, 0xfefeffffu, 0xffffffffu})
    for (uint32_t length = 20; length <= 0xffff - sizeof(teal_ipv4); length += 61)
      for (uint32_t tos = 0; tos < 256; tos++) {
        const teal_tunnel4 tunnel = teal_tunnel4_of(address, 0x0200000a);
        uint8_t by_word[20], by_fields[20];
        teal_write_tunnel4_as(by_word, &tunnel, 0x45u << 24 | tos << 16 | length);
        teal_write_tunnel4(by_fields, &tunnel, 4, static_cast<uint8_t>(tos), length);
        ASSERT_EQ(std::memcmp(by_word, by_fields, sizeof by_word), 0) << "class " << tos << ", length " << length;
        teal_ipv4 header;
        std::memcpy(&header, by_word, sizeof header);
        header.csum = 0;
        uint16_t csum = 0;
        std::memcpy(&csum, by_word + 10, 2);
        ASSERT_EQ(teal_csum_ipv4(&header), csum) << "class " << tos << ", length " << length;
        ASSERT_EQ(header.tos, tos);
        ASSERT_EQ(teal_swap16(header.total_len), length + 20);
      }
}

TEST(Addresses, HalvesAreTheirWords) {
  teal_addr a{};
  for (uint32_t i = 0; i < 4; i++) a.words[i] = 0x01020304u * (i + 1);
  EXPECT_EQ(teal_addr_half(&a, 0), uint64_t{a.words[0]} << 32 | a.words[1]);
  EXPECT_EQ(teal_addr_half(&a, 1), uint64_t{a.words[2]} << 32 | a.words[3]);
  EXPECT_EQ(teal_addr_folded(&a), a.words[0] ^ a.words[1] ^ a.words[2] ^ a.words[3]);
}

// A configuration with two keys alike would be refused: addresses that have all but a few bits in common must not be.
TEST(Addresses, KeysOfLikeAddressesDiffer) {
  for (uint32_t word = 0; word < 4; word++)
    for (const uint32_t shift : {0u, 8u, 19u}) {
      std::set<uint64_t> keys;
      for (uint32_t i = 0; i < 4096; i++) {
        teal_addr a{};
        a.words[0] = 0xb80d0120;
        a.words[word] ^= i << shift;
        for (const uint16_t port : {80, 443})
          keys.insert(teal_match_key(&secret, 6, &a, teal_swap16(port), TEAL_PROTO_TCP, TEAL_MATCH_VIP));
      }
      EXPECT_EQ(keys.size(), 2u * 4096) << "word " << word << ", shift " << shift;
    }
}

}  // namespace
}  // namespace teal::flow::test
