// SPDX-License-Identifier: Apache-2.0
#include "cases/under_way.h"

namespace teal::tests {
namespace {

struct Segment {
  model::Endpoint from, to;
  uint8_t flags = 0;
};

uint16_t be16(const Bytes& f, size_t at) {
  return static_cast<uint16_t>(f[at] << 8 | f[at + 1]);
}

model::Address address(const Bytes& f, size_t at, bool v4) {
  model::Address a;
  a.family = v4 ? 4 : 6;
  std::copy_n(f.begin() + static_cast<ptrdiff_t>(at), v4 ? 4 : 16, a.bytes.begin());
  return a;
}

// A whole TCP segment, with or without IP options; nothing else.
std::optional<Segment> segment_of(const Bytes& f) {
  size_t at = 14;
  if (f.size() < at) return std::nullopt;
  uint16_t type = be16(f, 12);
  for (; (type == 0x8100 || type == 0x88a8) && at + 4 <= f.size(); at += 4) type = be16(f, at + 2);
  const bool v4 = type == 0x0800;
  if ((!v4 && type != 0x86dd) || f.size() < at + (v4 ? 20 : 40)) return std::nullopt;
  Segment s;
  s.from.address = address(f, at + (v4 ? 12 : 8), v4);
  s.to.address = address(f, at + (v4 ? 16 : 24), v4);
  if (f[at + (v4 ? 9 : 6)] != 6 || (v4 && (be16(f, at + 6) & 0x3fff) != 0)) return std::nullopt;
  at += v4 ? static_cast<size_t>(f[at] & 15) * 4 : 40;
  if (f.size() < at + 20) return std::nullopt;
  s.from.port = be16(f, at);
  s.to.port = be16(f, at + 2);
  s.flags = f[at + 13];
  return s;
}

}  // namespace

void UnderWay::publish(const nlohmann::json& world) {
  tcp_.clear();
  const auto config = nlohmann::json::parse(world.at("config").get<std::string>());
  for (const auto& s : config.at("services"))
    if (s.value("protocol", "tcp") == "tcp")
      tcp_[{*model::Address::parse(s.at("vip").get<std::string>()), s.at("port").get<uint16_t>()}] = s.at("name");
}

void UnderWay::before(const Engine& engine, const Bytes& frame) {
  constexpr uint8_t syn = 2, rst = 4, ack = 16;
  entry_.reset();
  const auto s = segment_of(frame);
  if (!s || (s->flags & (syn | rst | ack)) == syn) return;  // a SYN may begin anew
  const auto service = tcp_.find({s->to.address, s->to.port});
  if (service == tcp_.end()) return;
  entry_ = engine.flow(service->second, s->from);
  if (!entry_) return;
  flow_ = service->second + " from " + s->from.str();
  counts_ = engine.counts();
}

std::string UnderWay::after(const Engine& engine) {
  if (!entry_) return {};
  const Counts now = engine.counts();
  for (size_t i = 0; i < now.backend.size(); i++)
    if (now.backend[i].packets != (i < counts_.backend.size() ? counts_.backend[i].packets : 0) && i != entry_->number)
      return "a packet of " + flow_ + ", whose entry says backend " + std::to_string(entry_->number) + ", went to " +
             std::to_string(i) + "\n";
  return {};
}

}  // namespace teal::tests
