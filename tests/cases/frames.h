// SPDX-License-Identifier: Apache-2.0
// Frames for the differential run, byte by byte and with nothing of include/teal; checksums worked out from scratch.
#pragma once

#include <cstdint>
#include <vector>

#include "engines/engine.h"
#include "model/address.h"

namespace teal::tests {

struct Tag {
  uint16_t tpid = 0x8100;
  uint16_t id = 0;
};

struct Packet {  // TCP or UDP; ports, sequence and so on in host byte order
  model::Address src, dst;
  uint16_t sport = 0, dport = 0;
  uint8_t proto = 6;
  uint8_t flags = 0;  // TCP's
  uint8_t ttl = 64;
  uint8_t traffic_class = 0;
  bool dont_fragment = true;  // IPv4
  bool checksum = true;       // false: UDP over IPv4 without one
  uint16_t id = 0x1234;       // IPv4 identification; of an IPv6 fragment too
  uint32_t seq = 1000, ack = 0;
  unsigned option_words = 0;  // IPv4: of 4 bytes, at most 10; IPv6: a destination options header of 8 bytes each
  Bytes tcp_options;          // a multiple of 4, at most 40
  Bytes payload;
};

// The IP packet.
Bytes packet_bytes(const Packet& p);

// The IP packet (without options or extension headers) in pieces of at most `piece` payload bytes, a multiple of 8.
std::vector<Bytes> fragment_bytes(const Bytes& packet, size_t piece, uint16_t id);

// An ICMP or ICMPv6 error (by the family of `src`) that quotes `quoted`.
Bytes icmp_bytes(const model::Address& src, const model::Address& dst, uint8_t type, uint8_t code, uint32_t rest,
                 const Bytes& quoted, uint8_t ttl);

// An Ethernet frame around an IP packet.
Bytes ethernet(const model::Mac& dst, const model::Mac& src, const std::vector<Tag>& tags, const Bytes& packet);

}  // namespace teal::tests
