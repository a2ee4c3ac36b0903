// SPDX-License-Identifier: Apache-2.0
// What releases bring into the random sequences: affinity, previews, whole split words, the clock's wraps.
#include <algorithm>

#include "cases/generator.h"

namespace teal::tests {

using nlohmann::json;

void Generator::make_affinity(Service& s) {
  static const std::vector<unsigned> seconds{1, 3, 10, 60};
  static const std::vector<unsigned> lengths4{32, 32, 24, 30, 8}, lengths6{128, 128, 64, 126, 16};
  s.affinity_s = (calm_ ? !random_.one_in(8) : random_.one_in(3)) ? 0 : random_.of(seconds);
  s.affinity_prefix = random_.of(s.vip.family == 4 ? lengths4 : lengths6);
}

void Generator::make_preview(Service& s) {
  static const std::vector<std::string> prefixes4{"203.0.113.1/32", "203.0.113.2/31",  "203.0.113.0/29",
                                                  "203.0.112.0/23", "198.51.100.0/24", "10.0.0.0/8",
                                                  "10.0.0.11/32",   "128.0.0.0/1"};
  static const std::vector<std::string> prefixes6{"2001:db8:c::1/128", "2001:db8:c::2/127",  "2001:db8:c::/64",
                                                  "2001:db8:e::/48",   "2001:db8:b::11/128", "2001:db8::/33",
                                                  "8000::/1"};
  s.preview_clients.clear();
  if (!random_.one_in(calm_ ? 6 : 2)) return;
  for (unsigned i = 1 + random_.below(3); i > 0; i--) {
    const std::string& prefix = random_.of(s.vip.family == 4 ? prefixes4 : prefixes6);
    if (std::find(s.preview_clients.begin(), s.preview_clients.end(), prefix) == s.preview_clients.end())
      s.preview_clients.push_back(prefix);
  }
}

void Generator::add_release(const Service& s, json& config) {
  if (s.affinity_s != 0)
    config["affinity"] = {
        {"by", "client"}, {"timeout", std::to_string(s.affinity_s) + "s"}, {"prefix", s.affinity_prefix}};
  if (s.preview_port != 0) config["preview"]["port"] = s.preview_port;
  if (!s.preview_clients.empty()) config["preview"]["clients"] = s.preview_clients;
}

json Generator::advance() {
  static const std::vector<uint32_t> ms{1, 62, 63, 300, 600, 1100, 2200, 5500, 21000};
  static const std::vector<uint32_t> ticks{1, 1, 2, 3, 4, 7, 100, 255, 256};
  // Once in a while close to the wrap of a stamp, or past it: fine ones after 2^24 ticks, coarse ones after 2^32.
  const uint64_t short_of = random_.below(20000);
  if (random_.one_in(150)) return {{"advance_ticks", (uint64_t{1} << 24) - short_of}};
  if (random_.one_in(300)) return {{"advance_ticks", (uint64_t{1} << 32) - short_of}};
  if (random_.one_in(3)) return {{"advance_ticks", random_.of(ticks)}};
  return {{"advance_ms", random_.of(ms)}};
}

// Any word that a rollout may store, and some that none would.
json Generator::split(const Service& s) {
  static const std::vector<uint32_t> shares{0, 1, 655, 6554, 32768, 65535, 65536, 65536};
  return {{"split", s.name},
          {"of", random_.one_in(3) ? random_.below(65537) : random_.of(shares)},
          {"active", random_.one_in(2) ? "green" : "blue"},
          {"draining", !random_.one_in(3)},
          {"ignore_affinity", random_.one_in(4)},
          {"rolled_back", random_.one_in(4)}};
}

// A connection from its SYN on, as far as it comes, with time in between: random packets seldom make one.
void Generator::conversation() {
  constexpr uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack = 16;
  last_.reset();
  const Flow f = flow();
  const Service& s = services_[f.service];
  std::vector<Backend> own = s.pools[0];
  own.insert(own.end(), s.pools[1].begin(), s.pools[1].end());
  if (s.proto != 6 || own.empty()) return;
  const Backend backend = random_.of(own);
  const auto say = [&](bool from_backend, uint8_t flags) {
    Packet p;
    p.flags = flags;
    p.src = from_backend ? backend.address : f.client;
    p.dst = from_backend ? seen_by_backend(f.client) : s.vip;
    p.sport = from_backend ? backend.port : f.port;
    p.dport = from_backend ? f.port : s.port;
    if (p.src.family == p.dst.family) pending_.push_back(received(from_backend, packet_bytes(p)));
  };
  const auto wait = [&] {
    Step step;
    step.control = {{"advance_ticks", random_.below(2u << random_.below(15))}};
    pending_.push_back(std::move(step));
  };
  const bool two_way = s.forward == "nat";
  say(false, syn);
  if (random_.one_in(4)) say(false, syn);
  wait();
  if (random_.one_in(6)) return say(two_way, rst);
  if (two_way) say(true, syn | ack);
  if (random_.one_in(2)) wait();
  if (random_.one_in(6)) return say(two_way, rst);
  say(false, ack);
  if (random_.one_in(5)) return say(two_way, rst);
  for (uint32_t i = random_.below(4); i > 0; i--) say(two_way && random_.one_in(2), psh | ack);
  if (random_.one_in(3)) say(false, fin | ack);
  if (random_.one_in(3)) say(two_way, psh | ack);
  say(two_way, random_.one_in(2) ? fin | ack : rst);
}

}  // namespace teal::tests
