// SPDX-License-Identifier: Apache-2.0
#include "cases/invariants.h"

#include <span>

namespace teal::tests {
namespace {

using View = std::span<const uint8_t>;

unsigned word(View b, size_t at) {
  return static_cast<unsigned>(b[at] << 8 | b[at + 1]);
}

// RFC 1071, the plain way: big-endian words, carries added at once.
unsigned sum(View b, unsigned start = 0) {
  unsigned s = start;
  for (size_t i = 0; i < b.size(); i++) {
    s += i % 2 == 0 ? static_cast<unsigned>(b[i] << 8) : b[i];
    s = (s & 0xffff) + (s >> 16);
  }
  return s;
}

std::string check_ip(View ip, bool quoted);

// `addresses`: both of them, as in the pseudo header.
std::string check_l4(View l4, unsigned proto, View addresses, bool v6) {
  const unsigned pseudo = sum(addresses, proto + static_cast<unsigned>(l4.size() & 0xffff));
  if (proto == 6 && l4.size() >= 20) return sum(l4, pseudo) == 0xffff ? "" : "TCP checksum is wrong";
  if (proto == 17 && l4.size() >= 8) {
    if (word(l4, 6) == 0) return v6 ? "UDP over IPv6 without a checksum" : "";
    return sum(l4.first(word(l4, 4)), sum(addresses, proto + word(l4, 4))) == 0xffff ? "" : "UDP checksum is wrong";
  }
  if ((proto == 1 || proto == 58) && l4.size() >= 8) {
    if (sum(l4, proto == 58 ? pseudo : 0) != 0xffff) return "ICMP checksum is wrong";
    const unsigned type = l4[0];
    const bool error = proto == 58 ? type < 128 : type == 3 || type == 11 || type == 12;
    if (error) return check_ip(l4.subspan(8), true);
  }
  if (proto == 4 || proto == 41) return check_ip(l4, false);
  return "";
}

std::string check_ip(View ip, bool quoted) {
  if (ip.size() < 20) return "";
  const bool v6 = ip[0] >> 4 == 6;
  const size_t head = v6 ? 40 : static_cast<size_t>(ip[0] & 15) * 4;
  if (ip.size() < head) return "";
  if (!v6 && sum(ip.first(head)) != 0xffff)
    return quoted ? "quoted IPv4 header checksum is wrong" : "IPv4 header checksum is wrong";
  const size_t total = v6 ? 40 + word(ip, 4) : word(ip, 2);
  if (total > ip.size()) return quoted ? "" : "IP length reaches past the frame";
  if (!v6 && (word(ip, 6) & 0x3fff) != 0) return "";
  return check_l4(ip.subspan(head, total - head), v6 ? ip[6] : ip[9], v6 ? ip.subspan(8, 32) : ip.subspan(12, 8), v6);
}

}  // namespace

std::string wrong_checksum(const Bytes& frame) {
  const View b(frame);
  size_t at = 12;
  while (at + 4 <= b.size() && (word(b, at) == 0x8100 || word(b, at) == 0x88a8)) at += 4;
  if (at + 2 > b.size()) return "frame shorter than its Ethernet header";
  const unsigned type = word(b, at);
  if (type != 0x0800 && type != 0x86dd) return "";
  return check_ip(b.subspan(at + 2), false);
}

}  // namespace teal::tests
