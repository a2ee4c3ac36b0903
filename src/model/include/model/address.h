// SPDX-License-Identifier: Apache-2.0
// Addresses and prefixes as plain values. Bytes are in network order, as on the wire.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "teal/net.h"

namespace teal::model {

// An IPv4 or IPv6 address. family is 4 or 6; 0 is "none". IPv4 uses the first four bytes, the rest is zero.
struct Address {
  uint8_t family = 0;
  std::array<uint8_t, 16> bytes{};

  auto operator<=>(const Address&) const = default;
  explicit operator bool() const { return family != 0; }

  [[nodiscard]] unsigned bits() const { return family == 4 ? 32 : family == 6 ? 128 : 0; }
  [[nodiscard]] teal_addr raw() const;  // for the shared structures
  [[nodiscard]] std::string str() const;

  static Address from_raw(uint8_t family, const teal_addr& raw);
  // "192.0.2.1" or "2001:db8::1"; nothing when it is neither.
  static std::optional<Address> parse(std::string_view text);
};

// An address with a mask length. `address` keeps its host bits (10.0.0.1/24 is an interface address as well).
struct Prefix {
  Address address;
  uint8_t length = 0;

  auto operator<=>(const Prefix&) const = default;
  [[nodiscard]] bool contains(const Address& a) const;
  [[nodiscard]] Prefix network() const;  // host bits cleared
  [[nodiscard]] std::string str() const;
  // "10.0.0.0/8", or an address alone, which is its own /32 or /128.
  static std::optional<Prefix> parse(std::string_view text);
};

// An address and a port in host byte order: "192.0.2.1:80", "[2001:db8::1]:80".
struct Endpoint {
  Address address;
  uint16_t port = 0;

  auto operator<=>(const Endpoint&) const = default;
  [[nodiscard]] std::string str() const;
  static std::optional<Endpoint> parse(std::string_view text);
};

using Mac = std::array<uint8_t, 6>;
std::string mac_str(const Mac& mac);

}  // namespace teal::model
