// SPDX-License-Identifier: Apache-2.0
#include "worker_source.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>

namespace teal::perf {
namespace {

constexpr double exponent = 1.1;
constexpr size_t zipf_draws = size_t{1} << 22;

// Rejection-inversion (Hoermann and Derflinger 1996): ranks 1 to n by a Zipf law, without a table of n.
class Zipf {
 public:
  explicit Zipf(double n) : n_(n), low_(integral(1.5) - 1), high_(integral(n + 0.5)) {}
  uint32_t operator()(std::mt19937_64& random) {
    std::uniform_real_distribution<double> uniform(low_, high_);
    for (;;) {
      const double u = uniform(random);
      const double x = std::pow((1 - exponent) * u + 1, 1 / (1 - exponent));
      const double k = std::clamp(std::floor(x + 0.5), 1.0, n_);
      if (u >= integral(k + 0.5) - std::pow(k, -exponent)) return static_cast<uint32_t>(k) - 1;
    }
  }

 private:
  static double integral(double x) { return (std::pow(x, 1 - exponent) - 1) / (1 - exponent); }
  double n_, low_, high_;
};

}  // namespace

std::array<uint16_t, 12> imix() {
  return {60, 572, 60, 60, 572, 60, 60, 572, 60, 1514, 572, 60};
}

Source::Source(const BenchWorld& world, const Traffic& traffic, rte_mempool* pool, uint32_t fresh)
    : traffic_(traffic),
      family_(world.shape().family),
      services_(world.shape().services),
      pool_(pool),
      ack_(world.shape(), false, TEAL_TCP_ACK),
      syn_(world.shape(), false, TEAL_TCP_SYN),
      reply_(world.shape(), true, TEAL_TCP_ACK),
      fresh_(fresh) {
  const Shape& shape = world.shape();
  const uint32_t period = services_ * ((shape.backends + 1) / 2);  // flows from which on backends repeat
  for (uint32_t i = 0; i < period && traffic.reply_percent > 0; i++) {
    const teal_backend& b = world.view().backends[world.backend_of(i)];
    peers_.push_back({b.addr, b.port});
  }
  if (traffic.pick == Pick::zipf) make_zipf();
}

Source::Template::Template(const Shape& shape, bool reply, uint8_t flags) {
  const auto f = bench_frame(shape, reply, flags);
  std::copy(f.begin(), f.end(), bytes.begin());
  len = static_cast<uint16_t>(f.size());
}

// Drawn beforehand: a power's cost would be the source's, not teal's. The popular flows lie anywhere in the table.
void Source::make_zipf() {
  std::mt19937_64 random(7);
  Zipf draw(traffic_.flows);
  zipf_.resize(zipf_draws);
  for (uint32_t& flow : zipf_) flow = static_cast<uint32_t>(draw(random) * uint64_t{2654435761u} % traffic_.flows);
}

inline void Source::write(rte_mbuf* m, const Template& from, uint32_t flow, bool reply, uint16_t length) const {
  auto* p = rte_pktmbuf_mtod(m, uint8_t*);
  std::memcpy(p, from.bytes.data(), 64);
  m->data_len = length;
  m->pkt_len = length;
  const uint16_t port = client_port_of(flow);
  const uint32_t service = services_ == 1 ? 0 : flow % services_;
  if (family_ == 4) {
    const uint32_t client = client4_of(flow);
    std::memcpy(p + (reply ? 30 : 26), &client, 4);
    std::memcpy(p + (reply ? 36 : 34), &port, 2);
    if (reply) {
      const Peer& peer = peers_[flow % peers_.size()];
      std::memcpy(p + 26, &peer.address.v4, 4);
    } else if (service != 0) {
      uint32_t vip = 0;
      std::memcpy(&vip, p + 30, 4);
      vip = teal_swap32(teal_swap32(vip) + service);
      std::memcpy(p + 30, &vip, 4);
    }
    return;
  }
  std::memcpy(p + 64, from.bytes.data() + 64, 16);
  const uint32_t client = teal_swap32(flow);
  std::memcpy(p + (reply ? 50 : 34), &client, 4);
  std::memcpy(p + (reply ? 56 : 54), &port, 2);
  if (reply) {
    const Peer& peer = peers_[flow % peers_.size()];
    std::memcpy(p + 22, &peer.address, 16);
  } else if (service != 0) {
    const uint32_t last = teal_swap32(service + 1);  // vip_of() counts from ...::1
    std::memcpy(p + 50, &last, 4);
  }
}

bool Source::fill(rte_mbuf** packets, unsigned count) {
  if (rte_pktmbuf_alloc_bulk(pool_, packets, count) != 0) return false;
  static const std::array<uint16_t, 12> lengths = imix();
  for (unsigned i = 0; i < count; i++) {
    uint16_t length = ack_.len;
    if (traffic_.sizes == Sizes::imix) length = std::max(length, lengths[count_ % lengths.size()]);
    count_++;
    if ((reply_error_ += traffic_.reply_percent) >= 100) {  // evenly spread, without a draw
      reply_error_ -= 100;
      replies_++;
      write(packets[i], reply_, next_flow(), true, length);
    } else if ((syn_error_ += traffic_.syn_percent) >= 100) {
      syn_error_ -= 100;
      syns_++;
      write(packets[i], syn_, fresh_++, false, length);
    } else {
      write(packets[i], ack_, next_flow(), false, length);
    }
    // The IP header's own length, for what is larger than the template.
    if (length != ack_.len) {
      auto* p = rte_pktmbuf_mtod(packets[i], uint8_t*);
      const uint16_t ip = teal_swap16(static_cast<uint16_t>(length - (family_ == 4 ? 14 : 54)));
      std::memcpy(p + (family_ == 4 ? 16 : 18), &ip, 2);
    }
  }
  return true;
}

}  // namespace teal::perf
