// SPDX-License-Identifier: Apache-2.0
#include "model/address.h"

#include <gtest/gtest.h>

#include <string>

namespace {

using namespace teal::model;

TEST(Address, ReadsAndWritesBothFamilies) {
  const auto v4 = Address::parse("192.0.2.1");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->family, 4);
  EXPECT_EQ(v4->bits(), 32u);
  EXPECT_EQ(v4->bytes, (std::array<uint8_t, 16>{192, 0, 2, 1}));
  EXPECT_EQ(v4->str(), "192.0.2.1");

  const auto v6 = Address::parse("2001:DB8:0:0::1");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->family, 6);
  EXPECT_EQ(v6->bits(), 128u);
  EXPECT_EQ(v6->bytes, (std::array<uint8_t, 16>{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(v6->str(), "2001:db8::1");
  EXPECT_EQ(Address::parse("::ffff:192.0.2.1")->family, 6);
}

TEST(Address, NoneIsNeither) {
  EXPECT_FALSE(Address{});
  EXPECT_EQ(Address{}.bits(), 0u);
  EXPECT_EQ(Address{}.str(), "none");
}

TEST(Address, RefusesWhatIsNoAddress) {
  for (const char* text :
       {"", " ", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4/8", "0x7f.0.0.1",
        "host", ":", ":::", "1::2::3", "fe80::1%eth0", "[::1]", "::g", "1:2:3:4:5:6:7:8:9", "1.2.3.4:80"})
    EXPECT_FALSE(Address::parse(text)) << text;
  EXPECT_FALSE(Address::parse(std::string_view("1.2.3.4\0", 8)));
  EXPECT_FALSE(Address::parse(std::string(1000, '1')));
  EXPECT_FALSE(Address::parse("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255.255"));
}

TEST(Address, RawKeepsNetworkOrderAndZeroesTheRest) {
  const Address v4 = *Address::parse("192.0.2.1");
  const teal_addr raw = v4.raw();
  EXPECT_EQ(raw.words[0], 0x010200c0u);  // 192 first in memory
  EXPECT_EQ(raw.words[1] | raw.words[2] | raw.words[3], 0u);
  EXPECT_EQ(Address::from_raw(4, raw), v4);

  const Address v6 = *Address::parse("2001:db8::5");
  EXPECT_EQ(Address::from_raw(6, v6.raw()), v6);
  // An IPv4 address takes nothing from behind its four bytes, or two equal ones would differ.
  EXPECT_EQ(Address::from_raw(4, v6.raw()), *Address::parse("32.1.13.184"));
}

TEST(Prefix, ReadsAndWrites) {
  EXPECT_EQ(Prefix::parse("10.1.2.3/8")->str(), "10.1.2.3/8");
  EXPECT_EQ(Prefix::parse("10.1.2.3/8")->network().str(), "10.0.0.0/8");
  EXPECT_EQ(Prefix::parse("10.1.2.3")->length, 32);
  EXPECT_EQ(Prefix::parse("2001:db8::1")->length, 128);
  EXPECT_EQ(Prefix::parse("2001:db8:ffff::1/33")->network().str(), "2001:db8:8000::/33");
  EXPECT_EQ(Prefix::parse("255.255.255.255/0")->network().str(), "0.0.0.0/0");
  for (const char* text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8 ",
                           "10.0.0.0/8/8", "10.0.0/8", "10.0.0.0/255.0.0.0", "10.0.0.0/99999999999"})
    EXPECT_FALSE(Prefix::parse(text)) << text;
}

// Every length of both families: the address itself is inside, one with the last kept bit turned is not, one with the
// first free bit turned is.
TEST(Prefix, ContainsAtEveryLength) {
  for (const char* text : {"10.85.170.3", "2001:db8:5555:aaaa:5555:aaaa:5555:aaaa"}) {
    const Address base = *Address::parse(text);
    const auto turned = [&](unsigned bit) {
      Address a = base;
      a.bytes[bit / 8] ^= static_cast<uint8_t>(0x80u >> bit % 8);
      return a;
    };
    for (unsigned length = 0; length <= base.bits(); ++length) {
      const Prefix p{base, static_cast<uint8_t>(length)};
      EXPECT_TRUE(p.contains(base)) << p.str();
      EXPECT_FALSE(length > 0 && p.contains(turned(length - 1))) << p.str();
      EXPECT_TRUE(length == base.bits() || p.contains(turned(length))) << p.str();
      EXPECT_TRUE(p.contains(p.network().address));
    }
  }
  EXPECT_FALSE(Prefix::parse("0.0.0.0/0")->contains(*Address::parse("::1")));
  EXPECT_FALSE(Prefix::parse("::/0")->contains(*Address::parse("10.0.0.1")));
}

TEST(Endpoint, ReadsAndWrites) {
  EXPECT_EQ(Endpoint::parse("192.0.2.1:80"), (Endpoint{*Address::parse("192.0.2.1"), 80}));
  EXPECT_EQ(Endpoint::parse("[2001:db8::1]:65535"), (Endpoint{*Address::parse("2001:db8::1"), 65535}));
  for (const char* text : {"192.0.2.1:80", "[2001:db8::1]:443", "10.0.0.1:0"})
    EXPECT_EQ(Endpoint::parse(text)->str(), text);
  for (const char* text : {"", ":", "192.0.2.1", "192.0.2.1:", ":80", "192.0.2.1:65536", "192.0.2.1:-1",
                           "192.0.2.1:80x", "192.0.2.1: 80", "[192.0.2.1]:80", "2001:db8::1", "2001:db8::1:80",
                           "[2001:db8::1]", "[2001:db8::1]80", "[]:80", "[:80", "host:80"})
    EXPECT_FALSE(Endpoint::parse(text)) << text;
}

TEST(Mac, Writes) {
  EXPECT_EQ(mac_str({0x02, 0, 0, 0xab, 0xcd, 0xef}), "02:00:00:ab:cd:ef");
}

}  // namespace
