// SPDX-License-Identifier: Apache-2.0
#include "model/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace teal::model {

namespace {

// Decimal digits only (no sign, no blank), at most `max`.
std::optional<unsigned> decimal(std::string_view text, unsigned max) {
  unsigned value = 0;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stop != end || value > max) return std::nullopt;
  return value;
}

}  // namespace

teal_addr Address::raw() const {
  teal_addr out{};
  std::memcpy(out.bytes, bytes.data(), bits() / 8);
  return out;
}

Address Address::from_raw(uint8_t family, const teal_addr& raw) {
  Address out;
  out.family = family;
  std::memcpy(out.bytes.data(), raw.bytes, out.bits() / 8);
  return out;
}

std::string Address::str() const {
  char text[INET6_ADDRSTRLEN];
  if (family == 0 || !inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof text)) return "none";
  return text;
}

std::optional<Address> Address::parse(std::string_view text) {
  char terminated[INET6_ADDRSTRLEN];
  if (text.size() >= sizeof terminated || text.find('\0') != std::string_view::npos) return std::nullopt;
  std::copy(text.begin(), text.end(), terminated);
  terminated[text.size()] = '\0';
  Address out;
  out.family = text.find(':') == std::string_view::npos ? 4 : 6;
  if (inet_pton(out.family == 4 ? AF_INET : AF_INET6, terminated, out.bytes.data()) != 1) return std::nullopt;
  return out;
}

Prefix Prefix::network() const {
  Prefix out = *this;
  for (unsigned i = 0; i < out.address.bytes.size(); ++i) {
    const unsigned kept = length > 8 * i ? std::min(8u, length - 8 * i) : 0;
    out.address.bytes[i] &= static_cast<uint8_t>(0xff00u >> kept);
  }
  return out;
}

bool Prefix::contains(const Address& a) const {
  return Prefix{a, length}.network() == network();
}

std::string Prefix::str() const {
  return address.str() + "/" + std::to_string(length);
}

std::optional<Prefix> Prefix::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = Address::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  if (slash == std::string_view::npos) return Prefix{*address, static_cast<uint8_t>(address->bits())};
  const auto length = decimal(text.substr(slash + 1), address->bits());
  if (!length) return std::nullopt;
  return Prefix{*address, static_cast<uint8_t>(*length)};
}

std::string Endpoint::str() const {
  const std::string text = address.str();
  return (address.family == 6 ? "[" + text + "]" : text) + ":" + std::to_string(port);
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = Address::parse(host);
  const auto port = decimal(text.substr(colon + 1), 65535);
  // Brackets belong to IPv6 and only to it: without them the port could not be told from the address.
  if (!address || !port || bracketed != (address->family == 6)) return std::nullopt;
  return Endpoint{*address, static_cast<uint16_t>(*port)};
}

std::string mac_str(const Mac& mac) {
  char text[18];
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
  return text;
}

}  // namespace teal::model
