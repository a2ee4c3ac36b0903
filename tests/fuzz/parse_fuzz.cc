// SPDX-License-Identifier: Apache-2.0
// libFuzzer over parse, quote parsing and rewrite, with an oracle that recomputes everything from scratch and shares no
// code with what it judges. Input: eight bytes that choose addresses, port, side and MSS limit, then a frame.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "teal/quote.h"

namespace {

using Bytes = std::vector<uint8_t>;

#define CHECK(what)                                                           \
  do {                                                                        \
    if (!(what)) {                                                            \
      std::fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #what); \
      std::abort();                                                           \
    }                                                                         \
  } while (0)

// The frame on the heap, to the byte, so that AddressSanitizer sees any access past its end.
struct Frame {
  explicit Frame(const Bytes& from) : size(from.size()), data(new uint8_t[from.size()]) {
    std::copy(from.begin(), from.end(), data.get());
  }
  size_t size;
  std::unique_ptr<uint8_t[]> data;
  [[nodiscard]] const uint8_t* end() const { return data.get() + size; }
  [[nodiscard]] Bytes bytes() const { return {data.get(), data.get() + size}; }
};

// One's complement sum (RFC 1071) as a residue modulo 65,535: 0 and 0xffff are the same number there, which is all that
// a checksum can tell.
uint32_t residue(const uint8_t* p, size_t n) {
  uint64_t sum = 0;
  for (size_t i = 0; i < n; i++) sum += i % 2 == 0 ? uint64_t{p[i]} << 8 : p[i];
  return static_cast<uint32_t>(sum % 65535);
}

uint32_t be16(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) << 8 | p[1];
}

// How wrong the checksum of an IPv4 header is: 0 for a right one.
uint32_t ip_error(const Bytes& b, size_t l3) {
  return residue(&b[l3], (b[l3] & 15u) * 4);
}

// The same of a whole TCP, UDP or ICMPv6 segment with its pseudo header.
uint32_t segment_error(const Bytes& b, size_t l3, size_t l4, size_t length, unsigned family, bool pseudo) {
  uint64_t sum = residue(&b[l4], length);
  if (pseudo) sum += family == 4 ? residue(&b[l3 + 12], 8) : residue(&b[l3 + 8], 32);
  return static_cast<uint32_t>(sum % 65535);  // length and protocol do not change and are left out
}

class Change {  // which bytes a rewrite may change
 public:
  explicit Change(size_t n) : may_(n) {}
  void allow(size_t at, size_t n) {
    for (size_t i = at; i < at + n && i < may_.size(); i++) may_[i] = true;
  }
  void check(const Bytes& before, const Bytes& after) const {
    CHECK(before.size() == after.size());
    for (size_t i = 0; i < before.size(); i++) CHECK(before[i] == after[i] || may_[i]);
  }

 private:
  std::vector<bool> may_;
};

void allow_address(Change& c, const teal_pkt& pkt, size_t l3, int side) {
  if (pkt.family == 4) {
    c.allow(l3 + (side == TEAL_SIDE_SRC ? 12 : 16), 4);
    c.allow(l3 + 10, 2);
  } else {
    c.allow(l3 + (side == TEAL_SIDE_SRC ? 8 : 24), 16);
  }
}

size_t segment_length(const Bytes& b, const teal_pkt& pkt) {
  return pkt.proto == TEAL_PROTO_UDP ? be16(&b[pkt.l4 + 4]) : pkt.l3_len - (pkt.l4 - pkt.l3);
}

size_t csum_at(const teal_pkt& pkt) {
  return pkt.l4 + (pkt.proto == TEAL_PROTO_TCP ? 16u : 6u);
}

teal_addr address_of(const uint8_t* ip, unsigned family, int side) {
  teal_addr a{};
  if (family == 4)
    std::memcpy(a.bytes, ip + (side == TEAL_SIDE_SRC ? 12 : 16), 4);
  else
    std::memcpy(a.bytes, ip + (side == TEAL_SIDE_SRC ? 8 : 24), 16);
  return a;
}

void check_parsed(const Bytes& b, const teal_pkt& pkt) {
  CHECK(pkt.kind <= TEAL_KIND_BAD);
  if (pkt.kind == TEAL_KIND_BAD) {
    CHECK(pkt.reason < TEAL_DROP_COUNT);
    return;
  }
  CHECK(pkt.tags <= 2);
  if (pkt.family == 0) {
    CHECK(pkt.kind == TEAL_KIND_OTHER);
    return;
  }
  CHECK(pkt.l3 == 14 + 4 * pkt.tags);
  CHECK(pkt.l3 + pkt.l3_len <= b.size());
  CHECK(pkt.l4 > pkt.l3 && pkt.l4 <= pkt.l3 + pkt.l3_len);
  if (pkt.kind == TEAL_KIND_L4) {
    CHECK(pkt.proto == TEAL_PROTO_TCP || pkt.proto == TEAL_PROTO_UDP);
    CHECK(pkt.l4 + (pkt.proto == TEAL_PROTO_TCP ? 20u : 8u) <= pkt.l3 + pkt.l3_len);
    CHECK(std::memcmp(&pkt.sport, &b[pkt.l4], 2) == 0 && std::memcmp(&pkt.dport, &b[pkt.l4 + 2], 2) == 0);
    CHECK(pkt.tcp_flags == (pkt.proto == TEAL_PROTO_TCP ? b[pkt.l4 + 13] : 0));
  }
}

bool same(const teal_pkt& a, const teal_pkt& b) {
  if (a.kind == TEAL_KIND_BAD || b.kind == TEAL_KIND_BAD) return a.kind == b.kind && a.reason == b.reason;
  return a.l3 == b.l3 && a.l4 == b.l4 && a.l3_len == b.l3_len && a.kind == b.kind && a.family == b.family &&
         a.proto == b.proto && a.tags == b.tags && a.tcp_flags == b.tcp_flags && a.sport == b.sport &&
         a.dport == b.dport;
}

// The short cut for common frames makes of them what the long way makes; and so does the XDP program, which parses a
// frame as if it were endless and measures it afterwards.
void check_ways(const Frame& f, const teal_pkt& pkt) {
  teal_pkt any{}, endless{};
  teal_parse_any(f.data.get(), f.end(), static_cast<uint32_t>(f.size), &any);
  CHECK(same(pkt, any));
  teal_parse_any(f.data.get(), f.end(), 1u << 17, &endless);
  if (endless.l3 + endless.l3_len > f.size) teal_bad(&endless, TEAL_DROP_truncated);
  CHECK(same(any, endless));
}

void nat(const Bytes& before, const teal_pkt& pkt, int side, const teal_addr& to, teal_be16 port) {
  Frame f(before);
  teal_nat(f.data.get() + pkt.l3, f.data.get() + pkt.l4, pkt.family, pkt.proto, side, &to, port);
  const Bytes after = f.bytes();

  Change change(before.size());
  allow_address(change, pkt, pkt.l3, side);
  change.allow(pkt.l4 + (side == TEAL_SIDE_SRC ? 0u : 2u), 2);
  const size_t csum = csum_at(pkt);
  const bool none = pkt.proto == TEAL_PROTO_UDP && be16(&before[csum]) == 0;
  if (!none) change.allow(csum, 2);
  change.check(before, after);

  const teal_addr now = address_of(&after[pkt.l3], pkt.family, side);
  CHECK(std::memcmp(&now, &to, pkt.family == 4 ? 4 : 16) == 0);
  CHECK(std::memcmp(&after[pkt.l4 + (side == TEAL_SIDE_SRC ? 0u : 2u)], &port, 2) == 0);
  if (pkt.family == 4) CHECK(ip_error(before, pkt.l3) == ip_error(after, pkt.l3));
  const size_t length = segment_length(before, pkt);
  if (!none) {
    CHECK(segment_error(before, pkt.l3, pkt.l4, length, pkt.family, true) ==
          segment_error(after, pkt.l3, pkt.l4, length, pkt.family, true));
    if (pkt.proto == TEAL_PROTO_UDP) CHECK(be16(&after[csum]) != 0);
  }

  // And back: the very bytes, but that a checksum of 0 and of 0xffff are one number.
  const teal_addr was = address_of(&before[pkt.l3], pkt.family, side);
  teal_nat(f.data.get() + pkt.l3, f.data.get() + pkt.l4, pkt.family, pkt.proto, side, &was,
           side == TEAL_SIDE_SRC ? pkt.sport : pkt.dport);
  Bytes back = f.bytes();
  for (size_t at : {csum, pkt.family == 4 ? pkt.l3 + size_t{10} : csum})
    if (be16(&back[at]) % 65535 == be16(&before[at]) % 65535) std::memcpy(&back[at], &before[at], 2);
  CHECK(back == before);
}

void hop_down(const Bytes& before, const teal_pkt& pkt) {
  Frame f(before);
  const int went = teal_hop_down(f.data.get() + pkt.l3, pkt.family);
  const Bytes after = f.bytes();
  const size_t at = pkt.l3 + (pkt.family == 4 ? 8u : 7u);
  Change change(before.size());
  CHECK(went == (before[at] > 1));
  if (went) {
    change.allow(at, 1);
    if (pkt.family == 4) change.allow(pkt.l3 + 10, 2);
    CHECK(after[at] == before[at] - 1);
    if (pkt.family == 4) CHECK(ip_error(before, pkt.l3) == ip_error(after, pkt.l3));
  }
  change.check(before, after);
}

// Where the value of the MSS option stands (RFC 9293, section 3.1), 0 when there is none before anything odd.
size_t mss_at(const Bytes& b, const teal_pkt& pkt) {
  const size_t end = pkt.l4 + (b[pkt.l4 + 12] >> 4) * size_t{4};
  for (size_t at = pkt.l4 + size_t{20}; at + 2 <= end;) {
    if (b[at] == 0) return 0;
    if (b[at] == 1) {
      at++;
      continue;
    }
    if (b[at + 1] < 2) return 0;
    if (b[at] == 2) return b[at + 1] == 4 && at + 4 <= end ? at + 2 : 0;
    at += b[at + 1];
  }
  return 0;
}

void clamp(const Bytes& before, const teal_pkt& pkt, uint16_t limit) {
  Frame f(before);
  const int done = teal_clamp_mss(f.data.get() + pkt.l4, f.end(), limit);
  const Bytes after = f.bytes();
  const size_t at = mss_at(before, pkt);
  CHECK(done == (at != 0 && be16(&before[at]) > limit));
  Change change(before.size());
  if (done) {
    CHECK(be16(&after[at]) == limit);
    change.allow(at, 2);
    change.allow(csum_at(pkt), 2);
    const size_t length = segment_length(before, pkt);
    CHECK(segment_error(before, pkt.l3, pkt.l4, length, pkt.family, true) ==
          segment_error(after, pkt.l3, pkt.l4, length, pkt.family, true));
  }
  change.check(before, after);
}

void quote(const Bytes& before, const teal_pkt& pkt, int side, const teal_addr& to, teal_be16 port) {
  Frame f(before);
  teal_quote q;
  const int parsed = teal_parse_quote(f.data.get(), f.end(), &pkt, &q);
  CHECK(parsed >= -1 && parsed <= 1);
  if (parsed != 1) return;
  const size_t end = pkt.l3 + pkt.l3_len;
  CHECK(q.l3 == pkt.l4 + 8 && q.l4 > q.l3);
  CHECK(q.l4 + 8u <= end);  // of the datagram: what pads the frame is not quoted
  const int outer = side == TEAL_SIDE_SRC ? TEAL_SIDE_DST : TEAL_SIDE_SRC;
  teal_nat_quote(f.data.get(), &pkt, &q, side, &to, port, outer, &to);
  const Bytes after = f.bytes();

  Change change(before.size());
  allow_address(change, pkt, pkt.l3, outer);
  allow_address(change, pkt, q.l3, side);
  change.allow(q.l4 + (side == TEAL_SIDE_SRC ? 0u : 2u), 2);
  if (q.whole_l4) change.allow(q.l4 + (q.proto == TEAL_PROTO_TCP ? 16u : 6u), 2);
  change.allow(pkt.l4 + 2u, 2);
  change.check(before, after);

  // The sums over the quoted IP header and over the whole ICMP message are as right, or as wrong, as they were.
  if (pkt.family == 4) {
    CHECK(ip_error(before, pkt.l3) == ip_error(after, pkt.l3));
    CHECK(ip_error(before, q.l3) == ip_error(after, q.l3));
  }
  const size_t length = end - pkt.l4;
  CHECK(segment_error(before, pkt.l3, pkt.l4, length, pkt.family, pkt.family == 6) ==
        segment_error(after, pkt.l3, pkt.l4, length, pkt.family, pkt.family == 6));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* input, size_t size) {
  if (size < 8 || size > 8 + 9000) return 0;
  const Bytes frame(input + 8, input + size);
  teal_addr to{};
  for (size_t i = 0; i < 16; i++) to.bytes[i] = static_cast<uint8_t>(input[i % 4] + i / 4 * input[4]);
  const auto port = static_cast<teal_be16>(input[4] << 8 | input[5]);
  const auto limit = static_cast<uint16_t>(input[6] << 8 | input[5]);
  const int side = input[7] & 1 ? TEAL_SIDE_SRC : TEAL_SIDE_DST;

  const Frame f(frame);
  teal_pkt pkt;
  teal_parse(f.data.get(), f.end(), static_cast<uint32_t>(f.size), &pkt);
  check_ways(f, pkt);
  CHECK(f.bytes() == frame);
  check_parsed(frame, pkt);
  // A scattered frame: its first segment ends anywhere, and nothing past that end may be read.
  const Frame first(Bytes(frame.begin(), frame.begin() + static_cast<long>(frame.size() * input[7] / 255)));
  teal_pkt scattered;
  teal_parse(first.data.get(), first.end(), static_cast<uint32_t>(frame.size()), &scattered);
  if (scattered.kind != TEAL_KIND_BAD) CHECK(scattered.kind == pkt.kind && scattered.l4 == pkt.l4);

  if (pkt.kind == TEAL_KIND_L4) {
    nat(frame, pkt, side, to, port);
    hop_down(frame, pkt);
    if (pkt.proto == TEAL_PROTO_TCP) clamp(frame, pkt, limit);
  } else if (pkt.kind == TEAL_KIND_ICMP_ERROR) {
    quote(frame, pkt, side, to, port);
  }
  return 0;
}
