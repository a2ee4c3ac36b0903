// SPDX-License-Identifier: Apache-2.0
#include "load_flows.h"

#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>

#include "bench_world.h"
#include "teal/net.h"

namespace teal::perf {
namespace {

const uint32_t vip = teal_swap32(0xc6120001);  // 198.18.0.1
constexpr unsigned tcp_at = 34, payload_at = 54;

struct Template {
  std::array<uint8_t, Frames::bytes> bytes{};
  uint64_t ip_sum = 0, tcp_sum = 0;  // of all that never changes
};

// To be folded: the carries of 16 bits are those of 32.
template <class Word, size_t bytes>
uint64_t sum_of(const uint8_t* p) {
  static_assert(bytes % sizeof(Word) == 0);
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes; i += sizeof(Word)) {
    Word word = 0;
    std::memcpy(&word, p + i, sizeof(word));
    sum += word;
  }
  return sum;
}

uint16_t folded(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

Template make_template() {
  Template t;
  auto* eth = reinterpret_cast<teal_eth*>(t.bytes.data());
  std::memcpy(eth->dst, BenchWorld::port_mac.data(), 6);
  std::memcpy(eth->src, BenchWorld::gateway_mac.data(), 6);
  eth->type = teal_swap16(TEAL_ETH_IPV4);
  auto* ip = reinterpret_cast<teal_ipv4*>(&t.bytes[14]);
  ip->version_ihl = 0x45;
  ip->total_len = teal_swap16(Frames::bytes - 14);
  ip->ttl = 64;
  ip->proto = TEAL_PROTO_TCP;
  auto* tcp = reinterpret_cast<teal_tcp*>(&t.bytes[tcp_at]);
  tcp->offset = 5 << 4;
  tcp->window = teal_swap16(8192);
  t.ip_sum = sum_of<uint16_t, 20>(&t.bytes[14]);
  const uint32_t pseudo = uint32_t{teal_swap16(TEAL_PROTO_TCP)} + teal_swap16(Frames::bytes - tcp_at);
  t.tcp_sum = sum_of<uint16_t, Frames::bytes - tcp_at>(&t.bytes[tcp_at]) + pseudo;
  return t;
}

}  // namespace

void Frames::write(uint8_t* frame, const Segment& segment, const Stamp& stamp) const {
  static const Template base = make_template();
  static_assert(sizeof(Stamp) == bytes - payload_at);
  std::memcpy(frame, base.bytes.data(), bytes);
  auto* ip = reinterpret_cast<teal_ipv4*>(frame + 14);
  auto* tcp = reinterpret_cast<teal_tcp*>(frame + tcp_at);
  const uint32_t service = segment.flow % services_;
  const uint32_t client = client4_of(segment.flow);
  const uint16_t client_port = client_port_of(segment.flow);
  if (segment.backend != 0) {
    ip->src = static_cast<uint32_t>(segment.backend >> 16);
    tcp->sport = static_cast<uint16_t>(segment.backend);
    ip->dst = client;
    tcp->dport = client_port;
  } else {
    ip->src = client;
    tcp->sport = client_port;
    ip->dst = vip;
    tcp->dport = teal_swap16(static_cast<uint16_t>(service == 0 ? 80 : 10000 + service));
  }
  tcp->flags = segment.tcp_flags;
  std::memcpy(frame + payload_at, &stamp, sizeof(stamp));
  const uint64_t addresses = sum_of<uint32_t, 8>(frame + 26);
  ip->csum = folded(base.ip_sum + addresses);
  tcp->csum = folded(base.tcp_sum + addresses + tcp->sport + tcp->dport + (uint32_t{segment.tcp_flags} << 8) +
                     sum_of<uint32_t, sizeof(Stamp)>(frame + payload_at));
}

bool Frames::read(const uint8_t* frame, unsigned length, Segment& segment, Stamp& stamp) {
  const auto* eth = reinterpret_cast<const teal_eth*>(frame);
  const auto* ip = reinterpret_cast<const teal_ipv4*>(frame + 14);
  const auto* tcp = reinterpret_cast<const teal_tcp*>(frame + tcp_at);
  if (length != bytes || eth->type != teal_swap16(TEAL_ETH_IPV4) || ip->proto != TEAL_PROTO_TCP) return false;
  std::memcpy(&stamp, frame + payload_at, sizeof(stamp));
  segment.flow = stamp.flow;
  segment.tcp_flags = tcp->flags;
  segment.backend = ip->src == vip ? 0 : uint64_t{ip->dst} << 16 | tcp->dport;
  return true;
}

Flows::Flows(uint32_t count, uint32_t frames_a_syn)
    : places_(count), mask_(count - 1), frames_a_syn_(frames_a_syn), renewed_(count), until_turn_(frames_a_syn) {
  if (count < 2 || (count & mask_) != 0)
    throw std::runtime_error("found " + std::to_string(count) + " flows, expected a power of two");
  if (frames_a_syn < 3)
    throw std::runtime_error("found " + std::to_string(frames_a_syn) + " frames a SYN, expected 3 or more");
  for (uint32_t i = 0; i < count; i++) places_[i].flow = i;
}

void Flows::renew() {
  answers_.clear();
  renewed_ = renewed_ <= count() ? count() : 0;  // nothing to end when none was begun
  turn_step_ = 0;
}

Segment Flows::next() {
  if (!answers_.empty()) {
    const Segment answer = answers_.back();
    answers_.pop_back();
    return answer;
  }
  if (renewed_ < 3 * count()) {
    Place& place = places_[renewed_ & mask_];
    const uint32_t step = renewed_++ / count();
    if (step == 1) place.flow += count();
    return {place.flow, static_cast<uint8_t>(step == 0 ? TEAL_TCP_RST : step == 1 ? TEAL_TCP_SYN : TEAL_TCP_ACK)};
  }
  if (--until_turn_ == 0) {
    until_turn_ = frames_a_syn_;
    turn_step_ = 3;
  }
  if (turn_step_ == 0) {
    state_ = state_ * 1664525u + 1013904223u;
    return {places_[state_ >> 8 & mask_].flow, TEAL_TCP_ACK};
  }
  Place& place = places_[turning_];
  switch (turn_step_--) {
    case 3:
      return {place.flow, TEAL_TCP_RST};
    case 2:
      place.flow += count();
      return {place.flow, TEAL_TCP_SYN};
    default:
      turning_ = (turning_ + 2) & mask_;
      return {place.flow, TEAL_TCP_ACK};
  }
}

void Flows::seen(const Segment& segment, const Stamp& stamp, Seen& counts) {
  if (segment.backend == 0) return;  // an answer, at the client
  if (segment.tcp_flags == TEAL_TCP_SYN) answers_.push_back({stamp.flow, TEAL_TCP_SYN | TEAL_TCP_ACK, segment.backend});
  Place& place = places_[stamp.flow & mask_];
  if (place.answered != stamp.flow) {
    place.answered = stamp.flow;
    place.backend = segment.backend;
    place.last = stamp.sequence;
    return;
  }
  if (place.backend != segment.backend) {
    counts.moved++;
    place.backend = segment.backend;
  }
  if (static_cast<int32_t>(stamp.sequence - place.last) < 0) counts.reordered++;
  place.last = stamp.sequence;
}

}  // namespace teal::perf
