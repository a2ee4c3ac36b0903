// SPDX-License-Identifier: Apache-2.0
#include "cases/agreement.h"

#include <algorithm>
#include <cstring>
#include <sstream>
#include <string_view>

#include "cases/case_file.h"

namespace teal::tests {
namespace {

// What the engines may count differently, and why. Everything else must agree: whole frames but for what
// clear_identifications() clears, entries to the last bit, all other counters.
struct KnownDifference {
  std::string_view counter;
  const char* why;
};
constexpr KnownDifference known[] = {
    {"punted", "the DPDK engine has nobody to leave a packet to"},
};

bool is_known(std::string_view counter) {
  return std::any_of(std::begin(known), std::end(known),
                     [&](const KnownDifference& d) { return counter == d.counter; });
}

uint16_t be16(const Bytes& f, size_t at) {
  return static_cast<uint16_t>(f[at] << 8 | f[at + 1]);
}

// Clears what each engine numbers by itself: the identification of tunnel headers (and the header checksum that
// follows it) and of the IPv6 fragments that teal cuts.
void clear_identifications(Bytes& f) {
  size_t at = 14;
  if (f.size() < at) return;
  uint16_t type = be16(f, 12);
  while ((type == 0x8100 || type == 0x88a8) && at + 4 <= f.size()) {
    type = be16(f, at + 2);
    at += 4;
  }
  bool v4 = type == 0x0800;
  if (!v4 && type != 0x86dd) return;
  while (true) {  // header by header, into tunnels
    uint8_t next;
    if (v4) {
      if (at + 20 > f.size()) return;
      next = f[at + 9];
      if (next != 4 && next != 41) return;
      std::fill_n(f.begin() + static_cast<ptrdiff_t>(at) + 4, 2, uint8_t{0});
      std::fill_n(f.begin() + static_cast<ptrdiff_t>(at) + 10, 2, uint8_t{0});
      at += static_cast<size_t>(f[at] & 15) * 4;
    } else {
      if (at + 40 > f.size()) return;
      next = f[at + 6];
      at += 40;
      if (next == 44 && at + 8 <= f.size()) std::fill_n(f.begin() + static_cast<ptrdiff_t>(at) + 4, 4, uint8_t{0});
      if (next != 4 && next != 41) return;
    }
    v4 = next == 4;
  }
}

bool same_frame(const Bytes& a, const Bytes& b) {
  if (a == b) return true;
  Bytes x = a, y = b;
  clear_identifications(x);
  clear_identifications(y);
  return x == y;
}

std::string place(const Output& o) {
  return (o.kernel ? "kernel " : "port ") + std::to_string(o.port) + "  " + hex_of(o.frame);
}

void compare_frames(std::ostream& say, const std::string& a, const std::vector<Output>& out_a, const std::string& b,
                    const std::vector<Output>& out_b) {
  for (size_t i = 0; i < std::max(out_a.size(), out_b.size()); i++) {
    const Output* x = i < out_a.size() ? &out_a[i] : nullptr;
    const Output* y = i < out_b.size() ? &out_b[i] : nullptr;
    if (x && y && x->kernel == y->kernel && x->port == y->port && same_frame(x->frame, y->frame)) continue;
    say << "frame " << i << " that left:\n  " << a << ": " << (x ? place(*x) : "none") << "\n  " << b << ": "
        << (y ? place(*y) : "none") << "\n";
  }
}

struct Entry {
  uint64_t key, val;
  auto operator<=>(const Entry&) const = default;
};

std::vector<Entry> entries(std::span<const teal_bucket> buckets) {
  std::vector<Entry> out;
  for (const teal_bucket& b : buckets)
    for (int i = 0; i < TEAL_BUCKET_SLOTS; i++)
      if (b.key[i] != 0) out.push_back({b.key[i], b.val[i]});
  std::sort(out.begin(), out.end());
  return out;
}

void say_only(std::ostream& say, const std::string& who, const std::vector<Entry>& has,
              const std::vector<Entry>& not_in) {
  std::vector<Entry> only;
  std::set_difference(has.begin(), has.end(), not_in.begin(), not_in.end(), std::back_inserter(only));
  for (const Entry& e : only)
    say << "entry of " << who << " only: key " << std::hex << e.key << std::dec << " service "
        << teal_key_service(e.key) << " backend " << teal_val_backend(e.val) << " pool " << int{teal_val_pool(e.val)}
        << " generation " << int{teal_val_generation(e.val)} << " state " << int{teal_val_state(e.val)} << " check "
        << teal_val_check(e.val) << " stamp " << teal_val_stamp(e.val) << "\n";
}

void compare_entries(std::ostream& say, const std::string& a, std::span<const teal_bucket> x, const std::string& b,
                     std::span<const teal_bucket> y) {
  // One secret and one order of packets: even the slots agree, nearly always.
  if (x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size_bytes()) == 0) return;
  const auto in_a = entries(x), in_b = entries(y);
  say_only(say, a, in_a, in_b);
  say_only(say, b, in_b, in_a);
}

void compare_counts(std::ostream& say, const std::string& a, const Counts& x, const std::string& b, const Counts& y) {
  const auto differ = [&](std::string_view what, uint64_t m, uint64_t n) {
    if (m != n) say << "counter " << what << ": " << a << " " << m << ", " << b << " " << n << "\n";
  };
  if (x.drop != y.drop) {
#define X(name, text) differ("drop." #name, x.drop[TEAL_DROP_##name], y.drop[TEAL_DROP_##name]);
    TEAL_DROP_REASONS(X)
#undef X
  }
#define X(name, text)                                                         \
  if (x.event[TEAL_EV_##name] != y.event[TEAL_EV_##name] && !is_known(#name)) \
    differ(#name, x.event[TEAL_EV_##name], y.event[TEAL_EV_##name]);
  TEAL_EVENTS(X)
#undef X
  differ("count of services", x.service.size(), y.service.size());
  differ("count of backends", x.backend.size(), y.backend.size());
  for (size_t i = 0; i < std::min(x.service.size(), y.service.size()); i++) {
    const teal_service_counts &s = x.service[i], &t = y.service[i];
    if (std::memcmp(&s, &t, sizeof(s)) == 0) continue;
    const std::string of = " of service " + std::to_string(i);
    differ("new_flows[blue]" + of, s.new_flows[0], t.new_flows[0]);
    differ("new_flows[green]" + of, s.new_flows[1], t.new_flows[1]);
    differ("untracked" + of, s.untracked, t.untracked);
    differ("recovered" + of, s.recovered, t.recovered);
    differ("moved" + of, s.moved, t.moved);
  }
  for (size_t i = 0; i < std::min(x.signals.size(), y.signals.size()); i++) {
    if (x.timed_out[i] == y.timed_out[i] && std::memcmp(&x.signals[i], &y.signals[i], sizeof(Signals)) == 0) continue;
    for (size_t k = 0; k < signals_per_service; k++) {
      const auto p = named_signals(x, i, k), q = named_signals(y, i, k);
      for (const auto& [name, count] : p)
        differ("signal " + name + " of service " + std::to_string(i) + ", " + signal_place(k), count, q.at(name));
    }
  }
  for (size_t i = 0; i < std::min(x.backend.size(), y.backend.size()); i++) {
    if (std::memcmp(&x.backend[i], &y.backend[i], sizeof(teal_backend_counts)) == 0) continue;
    const std::string of = " of backend " + std::to_string(i);
    differ("packets" + of, x.backend[i].packets, y.backend[i].packets);
    differ("bytes" + of, x.backend[i].bytes, y.backend[i].bytes);
  }
}

}  // namespace

std::string disagreement(const std::string& a, const Engine& engine_a, const std::vector<Output>& out_a,
                         const std::string& b, const Engine& engine_b, const std::vector<Output>& out_b) {
  std::ostringstream say;
  compare_frames(say, a, out_a, b, out_b);
  compare_entries(say, a, engine_a.buckets(), b, engine_b.buckets());
  compare_counts(say, a, engine_a.counts(), b, engine_b.counts());
  return say.str();
}

}  // namespace teal::tests
