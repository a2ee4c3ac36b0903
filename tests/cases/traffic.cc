// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "cases/generator.h"

namespace teal::tests {
namespace {

constexpr uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack = 16;
constexpr model::Mac edge{2, 0, 0, 0, 0, 1}, back{2, 0, 0, 0, 0, 2}, router{2, 0, 0, 0, 1, 1};
constexpr model::Mac broadcast{255, 255, 255, 255, 255, 255};
constexpr size_t longest = 9100;  // bytes of a frame

}  // namespace

Generator::Flow Generator::flow() {
  if (last_ && !random_.one_in(3)) return *last_;
  Flow f;
  f.service = random_.below(static_cast<uint32_t>(services_.size()));
  f.client = random_.of(clients_[services_[f.service].vip.family == 4 ? 0 : 1]);
  f.port = static_cast<uint16_t>(40000 + random_.below(crowded_ ? 40 : 5));
  if (random_.one_in(50)) f.port = 0;  // odd, and allowed
  last_ = f;
  return f;
}

// Where a client's packet goes: the service's port, or its preview's.
uint16_t Generator::port_of(const Service& s) {
  return s.preview_port != 0 && random_.one_in(5) ? s.preview_port : s.port;
}

Packet Generator::packet(const Service& s) {
  Packet p;
  p.proto = s.proto;
  static const std::vector<uint8_t> ttls{64, 64, 64, 64, 64, 64, 64, 64, 64, 255, 2, 1, 0};
  p.ttl = random_.of(ttls);
  p.dont_fragment = !random_.one_in(4);
  p.traffic_class = random_.one_in(4) ? static_cast<uint8_t>(random_.draw()) : uint8_t{0};
  p.id = static_cast<uint16_t>(random_.draw());
  p.seq = static_cast<uint32_t>(random_.draw());
  p.checksum = !random_.one_in(12);
  if (random_.one_in(40)) p.option_words = 1 + random_.below(10);
  static const std::vector<uint8_t> usual{syn,       syn,       syn, syn | ack, ack, ack,        ack,       ack | psh,
                                          fin | ack, fin | ack, rst, rst | ack, fin, 0x40 | syn, syn | psh, uint8_t{0}};
  p.flags = random_.one_in(30) ? static_cast<uint8_t>(random_.draw()) : random_.of(usual);
  if (p.flags & ack) p.ack = static_cast<uint32_t>(random_.draw());
  if (p.proto == 6 && (p.flags & syn) && !random_.one_in(3)) {
    static const std::vector<Bytes> options{{2, 4, 5, 0xb4},
                                            {1, 2, 4, 5, 0xb4, 1, 1, 1},
                                            {1, 1, 2, 4, 5, 0xb4, 1, 1},
                                            {4, 2, 3, 3, 7, 2, 4, 0xff, 0xff, 0, 0, 0},
                                            {2, 4, 2, 0},
                                            {2, 3, 5, 0xb4},
                                            {0, 2, 4, 5},
                                            {5, 1, 2, 4, 5, 0xb4, 0, 0},
                                            {1, 1, 1, 2},
                                            Bytes(40, 1),
                                            {254, 200, 2, 4},
                                            {8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 2, 4, 5, 0xb4, 1, 1}};
    p.tcp_options = random_.of(options);
  }
  return p;
}

// Payloads: mostly none, else small, large, or as long as makes the packet just fit, or just not.
void Generator::sizes(Packet& p, uint32_t mtu, uint32_t tunnel) {
  const uint32_t kind = random_.below(20);
  size_t bytes = 0;
  if (kind >= 11) bytes = random_.below(kind < 16 ? 64 : 1400);
  if (kind == 19) {
    const size_t head = packet_bytes(p).size();
    bytes = mtu - tunnel - head + random_.below(5) - 2;
  }
  if (mtu > 1500 && random_.one_in(20)) bytes = random_.below(mtu);
  p.payload.resize(std::min<size_t>(bytes, 9000));
  for (auto& b : p.payload) b = static_cast<uint8_t>(random_.draw());
}

// The frame as it comes in from the side of the backends or the clients.
Step Generator::received(bool from_backends, const Bytes& packet) {
  Step step;
  step.port = from_backends ? back_port() : 0;
  std::vector<Tag> tags;
  if (layout_ == Layout::one_tag && step.port == 0) tags = {{0x8100, 7}};
  if (layout_ == Layout::two_tags)
    tags = step.port == 0 ? std::vector<Tag>{{0x88a8, 100}, {0x8100, 7}} : std::vector<Tag>{{0x8100, 9}};
  if (vlan_link_ && step.port == 1) tags = {{0x8100, 9}};
  if (random_.one_in(40)) {
    tags.clear();
    for (uint32_t n = random_.below(4); n > 0; n--)
      tags.push_back({random_.one_in(2) ? uint16_t{0x8100} : uint16_t{0x88a8}, static_cast<uint16_t>(random_.draw())});
  }
  model::Mac source = router;
  if (from_backends) source = {2, 0, 0, 0, 2, 0x11};
  step.frame = ethernet(step.port == 0 ? edge : back, source, tags, packet);
  if (random_.one_in(20)) step.frame.resize(std::min(longest, step.frame.size() + 1 + random_.below(46)), 0xee);
  return step;
}

// Flows by the hundred: nothing else fills a table. Two packets each, mostly, so that many are established.
Step Generator::fill() {
  if (random_.one_in(2)) last_.reset();
  const bool second = last_.has_value();
  const Flow f = flow();
  const Service& s = services_[f.service];
  Packet p;
  p.proto = s.proto;
  p.flags = second ? ack : syn;
  p.src = f.client;
  p.dst = s.vip;
  p.sport = f.port;
  p.dport = port_of(s);
  return received(false, packet_bytes(p));
}

Step Generator::from_client() {
  const Flow f = flow();
  const Service& s = services_[f.service];
  Packet p = packet(s);
  p.src = f.client;
  p.dst = s.vip;
  p.sport = f.port;
  p.dport = port_of(s);
  if (random_.one_in(100)) p.src = *model::Address::parse(s.vip.family == 4 ? "127.0.0.1" : "::1");
  sizes(p, back_mtu_, s.forward == "ipip" ? (random_.one_in(2) ? 20 : 40) : 0);
  Step step = received(false, packet_bytes(p));
  if (random_.one_in(25)) fragments(step, p);
  return step;
}

// What NAT makes of a client that is a backend is known by its number only: some that may be.
model::Address Generator::seen_by_backend(const model::Address& client) {
  if (!std::any_of(backends_.begin(), backends_.end(), [&](const Backend& b) { return b.address == client; }))
    return client;
  const std::string number = std::to_string(1 + random_.below(8));
  return *model::Address::parse(client.family == 4 ? "100.127.0." + number : "fd7e:a100::" + number);
}

Step Generator::from_backend() {
  const Flow f = flow();
  const Service& s = services_[f.service];
  std::vector<Backend> own = s.pools[0];
  own.insert(own.end(), s.pools[1].begin(), s.pools[1].end());
  const Backend& b = own.empty() || random_.one_in(10) ? random_.of(backends_) : random_.of(own);
  Packet p = packet(s);
  if (p.flags == syn && !random_.one_in(4)) p.flags = syn | ack;
  p.src = b.address;
  p.sport = b.port;
  p.dport = f.port;
  p.dst = f.client.family == b.address.family ? seen_by_backend(f.client)
                                              : random_.of(clients_[b.address.family == 4 ? 0 : 1]);
  sizes(p, client_mtu_, 0);
  Step step = received(true, packet_bytes(p));
  if (random_.one_in(25)) fragments(step, p);
  return step;
}

// From the clients' side about what a backend sent, or from the backends' side about what a client sent.
Step Generator::icmp_error() {
  const Flow f = flow();
  const Service& s = services_[f.service];
  const bool v4 = s.vip.family == 4;
  const bool inside = random_.one_in(2);
  Packet quoted = packet(s);
  model::Address src, dst;
  if (inside) {
    const Backend& b = random_.of(backends_);
    if (b.address.family != s.vip.family) return elsewhere();
    quoted.src = seen_by_backend(f.client);
    quoted.sport = f.port;
    quoted.dst = b.address;
    quoted.dport = b.port;
    src = random_.one_in(2) ? b.address : *model::Address::parse(v4 ? "10.0.9.9" : "2001:db8:b:9::9");
    dst = quoted.src;
  } else {
    quoted.src = s.vip;
    quoted.sport = s.port;
    quoted.dst = f.client;
    quoted.dport = f.port;
    src = *model::Address::parse(v4 ? "198.51.100.1" : "2001:db8:e::1");
    dst = random_.one_in(10) ? f.client : s.vip;
  }
  Bytes quote = packet_bytes(quoted);
  const size_t head = v4 ? 20 : 40;
  if (!random_.one_in(3)) quote.resize(random_.one_in(4) ? random_.below(static_cast<uint32_t>(head) + 8) : head + 8);
  static const std::vector<uint8_t> types4{3, 3, 3, 11, 12, 4, 8, 5}, types6{1, 2, 2, 3, 4, 128, 133};
  const uint8_t type = random_.of(v4 ? types4 : types6);
  return received(inside, icmp_bytes(src, dst, type, static_cast<uint8_t>(random_.below(5)), 1400, quote,
                                     random_.one_in(10) ? uint8_t{1} : uint8_t{64}));
}

// Nobody's: other addresses, ports and protocols, other machines' frames, ARP, noise.
Step Generator::elsewhere() {
  const Flow f = flow();
  const Service& s = services_[f.service];
  Packet p = packet(s);
  p.src = f.client;
  p.dst = s.vip;
  p.sport = f.port;
  p.dport = static_cast<uint16_t>(random_.one_in(2) ? 22 : s.port);
  if (random_.one_in(3)) p.dst = *model::Address::parse(s.vip.family == 4 ? "198.51.100.2" : "2001:db8:e::2");
  if (random_.one_in(3)) p.proto = p.proto == 6 ? 17 : 6;
  sizes(p, client_mtu_, 0);
  Step step = received(random_.one_in(2), packet_bytes(p));
  switch (random_.below(5)) {
    case 0:
      step.frame[5] ^= 0x40;
      break;
    case 1:
      std::copy(broadcast.begin(), broadcast.end(), step.frame.begin());
      if (random_.one_in(2)) step.frame[13] = 0x06;
      break;
    case 2:
      step.frame.resize(14 + random_.below(100));
      for (size_t i = 12; i < step.frame.size(); i++) step.frame[i] = static_cast<uint8_t>(random_.draw());
      step.sound = false;
      break;
    default:
      break;
  }
  return step;
}

// A datagram of the flow in pieces, in any order, some missing, some twice; between other packets.
void Generator::fragments(Step whole, Packet p) {
  p.option_words = 0;
  p.dont_fragment = false;
  p.tcp_options.clear();
  p.payload.resize(200 + random_.below(2800));
  for (auto& b : p.payload) b = static_cast<uint8_t>(random_.draw());
  Bytes packet = packet_bytes(p);
  if (random_.one_in(10)) packet = icmp_bytes(p.src, p.dst, p.src.family == 4 ? 8 : 128, 0, 7, p.payload, 64);
  const bool back = whole.port != 0 || (back_port() == 0 && random_.one_in(2));
  for (const Bytes& f : fragment_bytes(packet, (packet.size() / (2 + random_.below(3)) + 8) & ~size_t{7}, p.id)) {
    if (random_.one_in(12)) continue;
    Step step = received(back, f);
    step.sound = false;
    step.frame.resize(std::min(step.frame.size(), longest));
    pending_.insert(pending_.begin() + random_.below(static_cast<uint32_t>(pending_.size()) + 1), step);
    if (random_.one_in(20)) pending_.push_back(step);
  }
}

void Generator::mutate(Step& step) {
  step.sound = false;
  Bytes& f = step.frame;
  if (random_.one_in(3)) {
    f.resize(random_.below(static_cast<uint32_t>(f.size()) + 1));
    return;
  }
  const uint32_t reach = static_cast<uint32_t>(std::min<size_t>(f.size(), random_.one_in(4) ? longest : 90));
  for (uint32_t n = 1 + random_.below(3); n > 0 && reach > 0; n--)
    f[random_.below(reach)] ^= static_cast<uint8_t>(1u << random_.below(8));
}

Step Generator::traffic() {
  Step step;
  if (random_.one_in(80)) conversation();
  if (random_.one_in(calm_ ? 20 : 60)) settled();
  if (!pending_.empty() && random_.one_in(calm_ ? 8 : 2) != calm_) {
    step = std::move(pending_.front());
    pending_.pop_front();
  } else {
    const uint32_t kind = random_.below(100);
    step = kind < 55 ? from_client() : kind < 86 ? from_backend() : kind < 92 ? icmp_error() : elsewhere();
  }
  if (step.control.is_null() && random_.one_in(14)) mutate(step);
  return step;
}

}  // namespace teal::tests
