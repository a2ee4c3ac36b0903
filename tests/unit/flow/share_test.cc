// SPDX-License-Identifier: Apache-2.0
// The share of new flows that a split promises, and that a growing share only ever moves flows one way: through the
// functions that both engines decide by.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "flow_fixture.h"
#include "teal/decide.h"

namespace teal::flow::test {
namespace {

constexpr uint32_t clients = 100'000;
constexpr std::array<uint32_t, 8> shares = {1, 66, 655, 3277, 6554, 16384, 32768, 64881};  // of 65,536

// The least interval around the median that a binomial count of n draws at p misses with at most 0.05 % on each side.
std::pair<uint32_t, uint32_t> interval(uint32_t n, double p) {
  const auto log_at = [&](uint32_t k) {
    return std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0) + k * std::log(p) +
           (n - k) * std::log1p(-p);
  };
  double below = 0;
  uint32_t low = 0, high = n;
  while ((below += std::exp(log_at(low))) < 0.0005) low++;
  double above = 0;
  while ((above += std::exp(log_at(high))) < 0.0005) high--;
  return {low, high};
}

struct Client {
  teal_addr address{};
  uint16_t port = 40000;
};

teal_addr v4(uint32_t host_order) {
  teal_addr a{};
  a.v4 = teal_swap32(host_order);
  return a;
}
teal_addr v6(uint32_t subnet, uint32_t host) {
  teal_addr a{};
  a.words[0] = teal_swap32(0x20010db8);
  a.words[1] = teal_swap32(subnet);
  a.words[3] = teal_swap32(host);
  return a;
}

struct Population {
  std::string name;
  uint8_t family;
  Client (*client)(uint32_t i);
};
// As they come: a campus, one host a subnet, anybody, a proxy's many ports, an IPv6 provider's customers.
const std::vector<Population> by_client = {
    {"consecutive addresses", 4, [](uint32_t i) { return Client{v4(0x0a000000 + i)}; }},
    {"a host of each /24", 4, [](uint32_t i) { return Client{v4(0x0a000007 + (i << 8))}; }},
    {"anybody", 4, [](uint32_t i) { return Client{v4(i * 2654435761u)}; }},
    {"consecutive IPv6 hosts", 6, [](uint32_t i) { return Client{v6(1, i)}; }},
    {"a host of each /64", 6, [](uint32_t i) { return Client{v6(i, 1)}; }},
};
const std::vector<Population> by_flow = {
    {"two hosts' ports", 4,
     [](uint32_t i) {
       return Client{v4(0x0a000001 + i / 50'000), static_cast<uint16_t>(1024 + i % 50'000)};
     }},
    {"four ports of each host", 4,
     [](uint32_t i) {
       return Client{v4(0x0a000000 + i / 4), static_cast<uint16_t>(40000 + i % 4)};
     }},
    {"one host's ports, IPv6", 6,
     [](uint32_t i) {
       return Client{v6(1 + i / 50'000, 9), static_cast<uint16_t>(1024 + i % 50'000)};
     }},
};

// The pool of a new flow, as both engines find it.
int pool(const teal_secret& s, const teal_service& service, const Client& c, uint64_t current, uint64_t previous) {
  const teal_flow_key key = service.family == 4 ? teal_flow_key4(&s, c.address.v4, teal_swap16(c.port), 1)
                                                : teal_flow_key6(&s, &c.address, teal_swap16(c.port), 1);
  const uint64_t word = teal_deciding_split(TEAL_ACT_ENTER, current, previous);
  return teal_pool_of(word, teal_point(&s, teal_point_basis(&s, &service, &c.address, key.key)));
}

teal_service service_of(uint8_t family, uint8_t flags) {
  teal_service s{};
  s.family = family;
  s.flags = flags;
  return s;
}

class Shares : public testing::TestWithParam<uint8_t> {
 protected:
  const std::vector<Population>& populations() const { return GetParam() != 0 ? by_flow : by_client; }
};

// A hash that is keyed anew at each installation has to be good under all keys: of 100 of them no more may leave a
// 99.9 % interval than chance allows.
TEST_P(Shares, AreMetOver100000NewFlows) {
  constexpr uint32_t secrets = 100, allowed = 3;  // P(more than 3 of 100 at 0.001) is 4 in a million
  std::array<std::pair<uint32_t, uint32_t>, shares.size()> bounds;
  for (size_t i = 0; i < shares.size(); i++) bounds.at(i) = interval(clients, shares.at(i) / 65536.0);
  for (const Population& population : populations()) {
    const teal_service service = service_of(population.family, GetParam());
    std::array<uint32_t, shares.size()> missed{};
    std::mt19937_64 random(7);
    for (uint32_t k = 0; k < secrets; k++) {
      const teal_secret s = {{random(), random()}, {random() | 1, random() | 1}};
      std::array<uint32_t, shares.size()> green{};
      for (uint32_t i = 0; i < clients; i++) {
        const Client c = population.client(i);
        // From the largest share down: who is blue there is blue at all below.
        for (size_t at = shares.size(); at-- > 0;) {
          if (pool(s, service, c, teal_split_make(at + 2, shares.at(at), 1, 0), 0) == TEAL_BLUE) break;
          green.at(at)++;
        }
      }
      for (size_t at = 0; at < shares.size(); at++)
        missed.at(at) += green.at(at) < bounds.at(at).first || green.at(at) > bounds.at(at).second;
    }
    for (size_t at = 0; at < shares.size(); at++)
      EXPECT_LE(missed.at(at), allowed) << population.name << ": a share of " << shares.at(at)
                                        << " of 65,536 lay outside " << bounds.at(at).first << " to "
                                        << bounds.at(at).second;
  }
}

// To green and, with the roles reversed, to blue: whom the target pool has had, it has at every later step.
TEST_P(Shares, AFlowOfTheTargetStaysItsAtEveryLaterStep) {
  std::mt19937_64 random(8);
  for (const Population& population : populations()) {
    const teal_service service = service_of(population.family, GetParam());
    const teal_secret s = {{random(), random()}, {random() | 1, random() | 1}};
    for (const int target : {TEAL_GREEN, TEAL_BLUE})
      for (uint32_t i = 0; i < clients; i++) {
        const Client c = population.client(i);
        uint64_t previous = teal_split_make(1, target == TEAL_GREEN ? 0 : TEAL_SPLIT_ALL, 0, 1 - target);
        ASSERT_NE(pool(s, service, c, previous, previous), target) << population.name << ", " << i;
        bool has = false;
        uint64_t generation = 2;
        for (const uint32_t share : {1u, 655u, 6554u, 6554u, 32768u, 65535u, 65536u}) {
          const uint32_t green = target == TEAL_GREEN ? share : TEAL_SPLIT_ALL - share;
          const uint64_t current =
              teal_split_make(generation++, green, 1, share == TEAL_SPLIT_ALL ? target : 1 - target) |
              (i % 2 != 0 ? TEAL_SPLIT_IGNORE_AFFINITY : 0);
          const bool now = pool(s, service, c, current, previous) == target;
          ASSERT_TRUE(now || !has) << population.name << ", " << i << " left the target at a share of " << share;
          has = now;
          previous = current;
        }
        ASSERT_TRUE(has) << population.name << ", " << i;
      }
  }
}

// One client's flows: together by client, apart by flow.
TEST_P(Shares, AClientsFlowsFollowItsAddressOrTheirOwnPorts) {
  const teal_service service = service_of(4, GetParam());
  const uint64_t half = teal_split_make(2, TEAL_SPLIT_ALL / 2, 1, 0);
  uint32_t split = 0;
  for (uint32_t i = 0; i < 1000; i++) {
    uint32_t green = 0;
    for (uint16_t port = 40000; port < 40016; port++)
      green += pool(secret, service, {v4(0x0a000000 + i), port}, half, half) == TEAL_GREEN;
    split += green != 0 && green != 16;
  }
  if (GetParam() != 0)
    EXPECT_GT(split, 990u);  // all alike: once in 32,768
  else
    EXPECT_EQ(split, 0u);
}

INSTANTIATE_TEST_SUITE_P(SplitBy, Shares, testing::Values(uint8_t{0}, uint8_t{TEAL_SERVICE_BY_FLOW}),
                         [](const auto& info) { return std::string(info.param != 0 ? "flow" : "client"); });

}  // namespace
}  // namespace teal::flow::test
