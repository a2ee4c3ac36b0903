// SPDX-License-Identifier: Apache-2.0
#include "worker_model.h"

#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "teal/net.h"

namespace teal::perf {
namespace {

constexpr size_t huge_page = size_t{2} << 20;

// RFC 1624, equation 3: `csum` when a word, or two, become others.
uint16_t update16(uint16_t csum, uint16_t from, uint16_t to) {
  uint32_t s = static_cast<uint16_t>(~csum);
  s += static_cast<uint16_t>(~from);
  s += to;
  s = (s & 0xffff) + (s >> 16);
  return static_cast<uint16_t>(~((s & 0xffff) + (s >> 16)));
}
uint16_t update32(uint16_t csum, uint32_t from, uint32_t to) {
  uint32_t s = static_cast<uint16_t>(~csum);
  s += static_cast<uint16_t>(~from);
  s += static_cast<uint16_t>(~(from >> 16));
  s += static_cast<uint16_t>(to);
  s += to >> 16;
  s = (s & 0xffff) + (s >> 16);
  return static_cast<uint16_t>(~((s & 0xffff) + (s >> 16)));
}

constexpr uint64_t outer_start = 0x45 | uint64_t{0x0040} << 48;  // version and length, then "do not fragment"
constexpr uint32_t outer_ttl = 64 | TEAL_PROTO_IPIP << 8;

// Of a tunnel's header but for its length.
uint16_t outer_sum(uint32_t source, uint32_t destination) {
  uint16_t sum = 0xffff;
  for (const uint32_t word :
       {static_cast<uint32_t>(outer_start), static_cast<uint32_t>(outer_start >> 32), outer_ttl, source, destination})
    sum = update32(sum, 0, word);
  return sum;
}

}  // namespace

inline uint32_t Model::hash(uint64_t key) {
  return static_cast<uint32_t>(((_mm_crc32_u64(0, key) ^ key << 32) * 0x9e3779b97f4a7c15ull) >> 32);
}
inline uint32_t Model::place(uint32_t address, uint16_t port, uint8_t proto) {
  return static_cast<uint32_t>(_mm_crc32_u64(proto, uint64_t{address} << 16 | port)) & 1023;
}

inline uint64_t* Model::find(Bucket& b, uint64_t key) {
#ifdef __AVX2__
  const __m256i keys = _mm256_load_si256(reinterpret_cast<const __m256i*>(b.key));
  const __m256i same = _mm256_cmpeq_epi64(keys, _mm256_set1_epi64x(static_cast<long long>(key)));
  const int mask = _mm256_movemask_pd(_mm256_castsi256_pd(same));
  return TEAL_LIKELY(mask != 0) ? &b.value[__builtin_ctz(static_cast<unsigned>(mask))] : nullptr;
#else
  for (int i = 0; i < 4; i++)
    if (b.key[i] == key) return &b.value[i];
  return nullptr;
#endif
}

[[gnu::noinline]] uint64_t* Model::find_second(uint64_t key, uint32_t h) {
  return find(bucket(second(h)), key);
}

Model::Model(const BenchWorld& world, uint32_t flows, uint32_t load)
    : tunnel_(world.shape().forward == model::Forward::ipip) {
  count_ = std::max(1u, static_cast<uint32_t>(uint64_t{flows} * 100 / std::min(load, 50u) / 4));
  const size_t bytes = (count_ * sizeof(Bucket) + huge_page - 1) / huge_page * huge_page;
  buckets_.reset(static_cast<Bucket*>(std::aligned_alloc(huge_page, bytes)));
  if (!buckets_) throw std::runtime_error("no memory for the model's table");
  madvise(buckets_.get(), bytes, MADV_HUGEPAGE);
  std::memset(static_cast<void*>(buckets_.get()), 0, bytes);

  const teal_service& service = world.view().services[world.service_of(0)];
  services_[place(service.vip.v4, service.port, service.proto)] = {service.vip.v4, service.port, service.proto, true,
                                                                   1};
  if (world.view().backend_count > backends_.size()) throw std::runtime_error("the model holds 256 backends");
  for (uint32_t i = 0; i < world.view().backend_count; i++) {
    const teal_backend& from = world.view().backends[i];
    Backend& to = backends_[i];
    std::memcpy(to.macs, from.hop.dst, 12);
    to.address = from.addr.v4;
    to.port = from.port;
    to.tunnel_source = tunnel_ ? from.tunnel4.src : 0;
    to.sum = outer_sum(to.tunnel_source, to.address);
  }
  for (uint32_t flow = 0; flow < flows; flow++)
    enter(uint64_t{client4_of(flow)} | uint64_t{client_port_of(flow)} << 32 | uint64_t{1} << 48,
          world.backend_of(flow));
}

void Model::enter(uint64_t key, uint64_t backend) {
  const uint32_t h = hash(key);
  for (Bucket* b : {&bucket(h), &bucket(second(h))})
    for (int i = 0; i < 4; i++)
      if (b->key[i] == 0) {
        b->key[i] = key;
        b->value[i] = backend;
        return;
      }
  unplaced_++;
}

void Model::forward(rte_mbuf** packets, unsigned count) {
  uint64_t keys[64];
  uint32_t hashes[64];
  rte_mbuf* known[64];
  unsigned n = 0;
  now_++;
  for (unsigned i = 0; i < count; i++) {
    const auto* frame = rte_pktmbuf_mtod(packets[i], const uint8_t*);
    const auto* ip = reinterpret_cast<const teal_ipv4*>(frame + 14);
    uint16_t ether_type = 0;
    std::memcpy(&ether_type, frame + 12, 2);
    uint32_t ports = 0;
    std::memcpy(&ports, frame + 34, 4);
    const auto dport = static_cast<uint16_t>(ports >> 16);
    const Service& s = services_[place(ip->dst, dport, ip->proto)];
    bool good = ether_type == teal_swap16(TEAL_ETH_IPV4) && ip->version_ihl == 0x45 &&
                (ip->frag & teal_swap16(0x3fff)) == 0 && packets[i]->data_len >= 54;
    good &= s.used && s.address == ip->dst && s.port == dport && s.proto == ip->proto;
    if (TEAL_UNLIKELY(!good)) {
      strangers_++;
      continue;
    }
    keys[n] = uint64_t{ip->src} | uint64_t{ports & 0xffff} << 32 | s.number << 48;
    hashes[n] = hash(keys[n]);
    known[n] = packets[i];
    _mm_prefetch(reinterpret_cast<const char*>(&bucket(hashes[n])), _MM_HINT_T0);
    n++;
  }
  if (tunnel_)
    rewrite<true>(known, keys, hashes, n);
  else
    rewrite<false>(known, keys, hashes, n);
}

template <bool tunnel>
void Model::rewrite(rte_mbuf** packets, const uint64_t* keys, const uint32_t* hashes, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    uint64_t* found = find(bucket(hashes[i]), keys[i]);
    if (TEAL_UNLIKELY(found == nullptr)) found = find_second(keys[i], hashes[i]);
    if (TEAL_UNLIKELY(found == nullptr)) {
      strangers_++;
      continue;
    }
    uint64_t value = *found;
    Backend& to = backends_[value & 255];
    rte_mbuf* const m = packets[i];
    auto* frame = rte_pktmbuf_mtod(m, uint8_t*);
    auto* ip = reinterpret_cast<teal_ipv4*>(frame + 14);
    auto* tcp = reinterpret_cast<teal_tcp*>(frame + 34);
    if (TEAL_UNLIKELY(tcp->flags & (TEAL_TCP_FIN | TEAL_TCP_RST))) value |= 1u << 16;
    *found = (value & 0xffffffff) | uint64_t{now_} << 32;
    to.packets++;
    to.bytes += m->pkt_len;
    if (tunnel) {
      const auto length = teal_swap16(static_cast<uint16_t>(teal_swap16(ip->total_len) + sizeof(teal_ipv4)));
      auto* outer = reinterpret_cast<uint8_t*>(rte_pktmbuf_prepend(m, sizeof(teal_ipv4)));
      std::memcpy(outer, to.macs, 12);
      const uint16_t ether_type = teal_swap16(TEAL_ETH_IPV4);
      std::memcpy(outer + 12, &ether_type, 2);
      const uint64_t start = outer_start | uint64_t{length} << 16;
      const uint32_t end[3] = {outer_ttl | uint32_t{update16(to.sum, 0, length)} << 16, to.tunnel_source, to.address};
      std::memcpy(outer + 14, &start, 8);
      std::memcpy(outer + 22, end, 12);
    } else {
      const uint32_t was = ip->dst;
      const auto ttl = static_cast<uint16_t>(ip->ttl | ip->proto << 8);
      ip->dst = to.address;
      ip->ttl--;
      ip->csum = update16(update32(ip->csum, was, to.address), ttl, static_cast<uint16_t>(ttl - 1));
      const uint16_t port = tcp->dport;
      tcp->dport = to.port;
      tcp->csum = update16(update32(tcp->csum, was, to.address), port, to.port);
      std::memcpy(frame, to.macs, 12);
    }
  }
}

}  // namespace teal::perf
