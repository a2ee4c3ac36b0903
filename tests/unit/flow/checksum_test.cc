// SPDX-License-Identifier: Apache-2.0
// Incremental checksums against sums made from scratch.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "teal/checksum.h"

namespace {

// RFC 1071, straight from its definition.
uint16_t from_scratch(const std::vector<uint16_t>& words) {
  uint32_t sum = 0;
  for (uint16_t w : words) {
    sum += w;
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(~sum);
}

TEST(Checksum, EveryValueOfOneField) {
  std::vector<uint16_t> words = {0x0045, 0x5400, 0x1234, 0x0040, 0x0640, 0x0ac0, 0x0200};
  const uint16_t before = from_scratch(words), old = words[2];
  for (uint32_t v = 0; v < 65536; v++) {
    words[2] = static_cast<uint16_t>(v);
    ASSERT_EQ(teal_csum_apply(before, teal_csum_diff16(old, words[2])), from_scratch(words)) << v;
  }
}

TEST(Checksum, EveryOldValueOfOneField) {
  std::vector<uint16_t> words = {0x0001, 0, 0x1234, 0xffff};
  for (uint32_t v = 0; v < 65536; v++) {
    words[1] = static_cast<uint16_t>(v);
    const uint16_t before = from_scratch(words);
    words[1] = 0xc0a8;
    ASSERT_EQ(teal_csum_apply(before, teal_csum_diff16(static_cast<uint16_t>(v), 0xc0a8)), from_scratch(words)) << v;
  }
}

TEST(Checksum, RandomChangesOfSeveralFieldsAddUp) {
  std::mt19937_64 rng(20261123);
  for (int round = 0; round < 200000; round++) {
    std::vector<uint16_t> words(20);
    for (auto& w : words) w = static_cast<uint16_t>(rng());
    words[0] = static_cast<uint16_t>(words[0] | 1);  // a header is never all zero
    const uint16_t before = from_scratch(words);
    uint64_t diff = 0;
    for (int i = 0; i < 4; i++) {
      const size_t at = 2 + 2 * (rng() % 8);
      uint32_t from, to = static_cast<uint32_t>(rng());
      std::memcpy(&from, &words[at], 4);
      std::memcpy(&words[at], &to, 4);
      diff += teal_csum_diff32(from, to);
    }
    const auto port = static_cast<uint16_t>(rng());
    diff += teal_csum_diff16(words[19], port);
    words[19] = port;
    ASSERT_EQ(teal_csum_apply(before, diff), from_scratch(words)) << "round " << round;
  }
}

TEST(Checksum, UdpNeverSendsZero) {
  int met = 0;
  for (uint32_t v = 0; v < 65536; v++) {
    const auto to = static_cast<uint16_t>(v);
    const uint64_t diff = teal_csum_diff16(0x0102, to);
    const uint16_t plain = teal_csum_apply(0x4321, diff), udp = teal_csum_apply_udp(0x4321, diff);
    ASSERT_NE(udp, 0) << v;
    ASSERT_EQ(udp, plain == 0 ? 0xffff : plain) << v;
    met += plain == 0;
  }
  EXPECT_GT(met, 0);
}

TEST(Checksum, Ipv4HeaderOfRfc1071sKind) {
  // 45 00 00 73 00 00 40 00 40 11 b8 61 c0 a8 00 01 c0 a8 00 c7: the much quoted example.
  const uint8_t bytes[20] = {0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7};
  teal_ipv4 ip;
  std::memcpy(&ip, bytes, sizeof(ip));
  EXPECT_EQ(teal_csum_ipv4(&ip), teal_swap16(0xb861));
}

}  // namespace
