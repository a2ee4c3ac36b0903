// SPDX-License-Identifier: Apache-2.0
#include "cases/frames.h"

#include <algorithm>

namespace teal::tests {
namespace {

constexpr uint8_t udp = 17, icmp = 1, icmpv6 = 58, destination_options = 60, fragment_header = 44;

void put16(Bytes& b, size_t at, unsigned v) {
  b[at] = static_cast<uint8_t>(v >> 8);
  b[at + 1] = static_cast<uint8_t>(v);
}
void put32(Bytes& b, size_t at, uint32_t v) {
  put16(b, at, v >> 16);
  put16(b, at + 2, v & 0xffff);
}

unsigned sum(const uint8_t* p, size_t bytes, unsigned start = 0) {
  uint64_t s = start;
  for (size_t i = 0; i < bytes; i++) s += i % 2 == 0 ? static_cast<unsigned>(p[i] << 8) : p[i];
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return static_cast<unsigned>(s);
}

size_t address_bytes(const model::Address& a) {
  return a.family == 4 ? 4 : 16;
}

unsigned pseudo(const model::Address& src, const model::Address& dst, uint8_t proto, size_t bytes) {
  const unsigned s = sum(src.bytes.data(), address_bytes(src), proto + static_cast<unsigned>(bytes));
  return sum(dst.bytes.data(), address_bytes(dst), s);
}

// IP header and, over IPv6, what stands between it and the payload.
Bytes ip_bytes(const Packet& p, uint8_t proto, const Bytes& payload) {
  Bytes b;
  const auto address = [&](const model::Address& a) {
    b.insert(b.end(), a.bytes.begin(), a.bytes.begin() + static_cast<ptrdiff_t>(address_bytes(a)));
  };
  if (p.src.family == 4) {
    const size_t head = 20 + p.option_words * size_t{4};
    b.assign(12, 0);
    b[0] = static_cast<uint8_t>(0x40 | head / 4);
    b[1] = p.traffic_class;
    put16(b, 2, static_cast<unsigned>(head + payload.size()));
    put16(b, 4, p.id);
    put16(b, 6, p.dont_fragment ? 0x4000 : 0);
    b[8] = p.ttl;
    b[9] = proto;
    address(p.src);
    address(p.dst);
    b.resize(head, 1);  // no-operation
    put16(b, 10, ~sum(b.data(), head) & 0xffff);
  } else {
    b.assign(8, 0);
    put32(b, 0, 6u << 28 | static_cast<uint32_t>(p.traffic_class) << 20 | 0x12345);
    put16(b, 4, static_cast<unsigned>(p.option_words * 8 + payload.size()));
    b[6] = p.option_words > 0 ? destination_options : proto;
    b[7] = p.ttl;
    address(p.src);
    address(p.dst);
    for (unsigned i = 0; i < p.option_words; i++) {
      const uint8_t next = i + 1 < p.option_words ? destination_options : proto;
      b.insert(b.end(), {next, 0, 1, 4, 0, 0, 0, 0});  // PadN
    }
  }
  b.insert(b.end(), payload.begin(), payload.end());
  return b;
}

}  // namespace

Bytes packet_bytes(const Packet& p) {
  Bytes l4(p.proto == udp ? 8 : 20);
  put16(l4, 0, p.sport);
  put16(l4, 2, p.dport);
  if (p.proto != udp) {
    put32(l4, 4, p.seq);
    put32(l4, 8, p.ack);
    l4[12] = static_cast<uint8_t>((20 + p.tcp_options.size()) / 4 << 4);
    l4[13] = p.flags;
    put16(l4, 14, 8192);
    l4.insert(l4.end(), p.tcp_options.begin(), p.tcp_options.end());
  }
  l4.insert(l4.end(), p.payload.begin(), p.payload.end());
  if (p.proto == udp) put16(l4, 4, static_cast<unsigned>(l4.size()));
  unsigned check = ~sum(l4.data(), l4.size(), pseudo(p.src, p.dst, p.proto, l4.size())) & 0xffff;
  if (p.proto == udp && check == 0) check = 0xffff;
  if (p.proto == udp && !p.checksum && p.src.family == 4) check = 0;
  put16(l4, p.proto == udp ? 6 : 16, check);
  return ip_bytes(p, p.proto, l4);
}

std::vector<Bytes> fragment_bytes(const Bytes& packet, size_t piece, uint16_t id) {
  const bool v4 = packet[0] >> 4 == 4;
  const size_t head = v4 ? 20 : 40;
  std::vector<Bytes> out;
  for (size_t at = 0; at + head < packet.size(); at += piece) {
    const size_t bytes = std::min(piece, packet.size() - head - at);
    const bool more = at + head + bytes < packet.size();
    Bytes f(packet.begin(), packet.begin() + static_cast<ptrdiff_t>(head));
    if (v4) {
      put16(f, 2, static_cast<unsigned>(head + bytes));
      put16(f, 4, id);
      put16(f, 6, (more ? 0x2000u : 0u) | static_cast<unsigned>(at / 8));
      put16(f, 10, 0);
      put16(f, 10, ~sum(f.data(), head) & 0xffff);
    } else {
      const uint8_t next = f[6];
      f[6] = fragment_header;
      put16(f, 4, static_cast<unsigned>(8 + bytes));
      f.resize(48);
      f[40] = next;
      put16(f, 42, static_cast<unsigned>(at) | (more ? 1u : 0u));
      put32(f, 44, id);
    }
    const auto from = packet.begin() + static_cast<ptrdiff_t>(head + at);
    f.insert(f.end(), from, from + static_cast<ptrdiff_t>(bytes));
    out.push_back(std::move(f));
  }
  return out;
}

Bytes icmp_bytes(const model::Address& src, const model::Address& dst, uint8_t type, uint8_t code, uint32_t rest,
                 const Bytes& quoted, uint8_t ttl) {
  Bytes message(8);
  message[0] = type;
  message[1] = code;
  put32(message, 4, rest);
  message.insert(message.end(), quoted.begin(), quoted.end());
  const uint8_t proto = src.family == 4 ? icmp : icmpv6;
  const unsigned start = src.family == 4 ? 0 : pseudo(src, dst, proto, message.size());
  put16(message, 2, ~sum(message.data(), message.size(), start) & 0xffff);
  Packet p;
  p.src = src;
  p.dst = dst;
  p.ttl = ttl;
  return ip_bytes(p, proto, message);
}

Bytes ethernet(const model::Mac& dst, const model::Mac& src, const std::vector<Tag>& tags, const Bytes& packet) {
  Bytes f(dst.begin(), dst.end());
  f.insert(f.end(), src.begin(), src.end());
  const auto word = [&](unsigned v) {
    f.push_back(static_cast<uint8_t>(v >> 8));
    f.push_back(static_cast<uint8_t>(v));
  };
  for (const Tag& t : tags) {
    word(t.tpid);
    word(t.id);
  }
  word(packet[0] >> 4 == 4 ? 0x0800 : 0x86dd);
  f.insert(f.end(), packet.begin(), packet.end());
  return f;
}

}  // namespace teal::tests
