// SPDX-License-Identifier: Apache-2.0
#include "publisher.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>

namespace teal::xdp {
namespace {

constexpr size_t largest_batch = 256;  // Maglev tables at a time: one descriptor each
constexpr uint32_t maglev_bytes = (TEAL_MAGLEV_SLOTS + 3) * sizeof(uint16_t);  // teal_maglev_table of bpf/maps.h
static_assert(TEAL_MAGLEV_SLOTS == model::maglev_slots && maglev_bytes % 8 == 0);
static_assert(sizeof(teal_xdp_view::special) == sizeof(model::View::special));

void check(uint64_t count, uint64_t limit, const char* what) {
  if (count > limit)
    fail("xdp ports: the configuration needs " + grouped(count) + " " + what + ", expected at most " + grouped(limit));
}

void check_limits(const model::View& v) {
  check(v.service_count, TEAL_SERVICES, "services");
  check(v.backend_count, TEAL_BACKENDS, "backends");
  check(uint64_t{v.match_mask} + 1, TEAL_XDP_MATCH, "slots to match VIPs and backends (TEAL_XDP_MATCH)");
  check(v.endpoint_count, TEAL_XDP_ENDPOINTS, "addresses of NAT backends (TEAL_XDP_ENDPOINTS)");
  check(v.ref_count, TEAL_XDP_REFS, "uses of NAT backends (TEAL_XDP_REFS)");
  check(uint64_t{v.route_mask} + 1, TEAL_XDP_ROUTES, "slots for routes and neighbours (TEAL_XDP_ROUTES)");
  check(v.hop_count, TEAL_XDP_HOPS, "next hops (TEAL_XDP_HOPS)");
}

template <class T, size_t N>
void copy(T (&to)[N], const T* from, uint32_t count) {
  if (count > 0) std::memcpy(to, from, count * sizeof(T));
}

// Copies `count` and clears what is left of an earlier, longer content.
template <class T, size_t N>
void replace(T (&to)[N], const T* from, uint32_t count, uint32_t before) {
  copy(to, from, count);
  if (before > count) std::memset(&to[count], 0, (before - count) * sizeof(T));
}

}  // namespace

Publisher::Publisher(teal_xdp_view* views, teal_xdp_control* control, int maglevs_fd)
    : views_(views), control_(control), maglevs_fd_(maglevs_fd), half_(TEAL_LOAD(&control->half) & 1) {}

void Publisher::publish(const model::Snapshot& next, const teal_head& head, const Grace& grace) {
  check_limits(next.view());
  const uint32_t half = half_ ^ 1;
  fill_maglevs(half, next);
  fill(half, next.view(), head);
  half_ = half;
  __atomic_store_n(&control_->half, half, __ATOMIC_SEQ_CST);
  grace.wait();
}

void Publisher::fill(uint32_t half, const model::View& from, const teal_head& head) {
  teal_xdp_view& to = views_[half];
  Counts& counts = counts_[half];
  to.secret = head.secret;
  to.buckets = head.buckets;
  to.match_mask = from.match_mask;
  to.route_mask = from.route_mask;
  to.backend_count = from.backend_count;
  to.hairpin_mask4 = from.hairpin_mask4;
  to.hairpin4 = from.hairpin4;
  to.hairpin6 = from.hairpin6;
  copy(to.local, from.local, TEAL_FILTER_BITS / 64);
  copy(to.special, from.special, TEAL_FILTER_BITS / 64);
  to.route_default = from.route_default;
  to.lengths = from.route_lengths;
  to.previews = from.previews;
  replace(to.services, from.services, from.service_count, counts.services);
  replace(to.backends, from.backends, from.backend_count, counts.backends);
  copy(to.match, from.match, from.match_mask + 1);
  copy(to.endpoints, from.endpoints, from.endpoint_count);
  copy(to.refs, from.refs, from.ref_count);
  copy(to.routes, from.routes, from.route_mask + 1);
  copy(to.hops, from.hops, from.hop_count);
  counts = {from.service_count, from.backend_count};
}

void Publisher::fill_maglevs(uint32_t half, const model::Snapshot& next) {
  const model::View& view = next.view();
  std::map<uint32_t, Table> wanted;
  for (uint32_t s = 0; s < view.service_count; s++)
    for (uint8_t pool = 0; pool < 2; pool++)
      if (view.services[s].maglev[pool] != 0) wanted[s * 2 + pool] = next.maglev(static_cast<uint16_t>(s), pool);

  // What differs, in batches: an update of a map of maps waits for the kernel's grace period, milliseconds each.
  auto& held = held_[half];
  std::vector<uint32_t> slots;
  for (const auto& [slot, table] : wanted)
    if (const auto at = held.find(slot); at == held.end() || at->second != table) slots.push_back(slot);
  for (const auto& [slot, table] : held)
    if (!wanted.contains(slot)) slots.push_back(slot);

  for (size_t done = 0; done < slots.size(); done += largest_batch) {
    const size_t end = std::min(slots.size(), done + largest_batch);
    std::vector<uint32_t> keys;
    std::vector<Fd> fresh;
    std::vector<int> fds;
    for (size_t i = done; i < end; i++) {
      keys.push_back(half * TEAL_XDP_MAGLEVS + slots[i]);
      const auto table = wanted.find(slots[i]);
      if (table != wanted.end()) fresh.push_back(make_inner(*table->second));
      fds.push_back(table != wanted.end() ? fresh.back().get() : empty_inner());
    }
    uint32_t count = static_cast<uint32_t>(keys.size());
    LIBBPF_OPTS(bpf_map_batch_opts, options);
    if (const int e = bpf_map_update_batch(maglevs_fd_, keys.data(), fds.data(), &count, &options); e != 0)
      fail("xdp: the kernel takes no Maglev table: " + std::string(std::strerror(-e)));
    for (size_t i = done; i < end; i++) {
      const auto table = wanted.find(slots[i]);
      if (table != wanted.end())
        held[slots[i]] = table->second;
      else
        held.erase(slots[i]);
    }
  }
}

Fd Publisher::make_inner(const model::MaglevTable& table) {
  Fd inner(bpf_map_create(BPF_MAP_TYPE_ARRAY, "teal_maglev", sizeof(uint32_t), maglev_bytes, 1, nullptr));
  if (!inner) fail("xdp: the kernel makes no Maglev table: " + std::string(std::strerror(errno)));
  std::vector<uint16_t> value(maglev_bytes / sizeof(uint16_t));
  std::copy_n(table.begin(), std::min<size_t>(table.size(), TEAL_MAGLEV_SLOTS), value.begin());
  const uint32_t zero = 0;
  if (bpf_map_update_elem(inner.get(), &zero, value.data(), BPF_ANY) != 0)
    fail("xdp: the kernel takes no Maglev table: " + std::string(std::strerror(errno)));
  return inner;
}

int Publisher::empty_inner() {
  if (!empty_) empty_ = make_inner({});
  return empty_.get();
}

}  // namespace teal::xdp
