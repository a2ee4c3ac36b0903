// SPDX-License-Identifier: Apache-2.0
// Connections that settle (teal/settled.h), and what may happen to them then: random packets seldom come as far.
#include "cases/generator.h"

namespace teal::tests {

// A few connections of one service with data both ways, sweeps, more data, a change, data, sweeps, data, an end.
void Generator::settled() {
  constexpr uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack = 16;
  if (pending_.size() > 200) return;
  last_.reset();
  std::vector<Flow> flows{flow()};
  const Service& s = services_[flows[0].service];
  std::vector<Backend> own = s.pools[0];
  own.insert(own.end(), s.pools[1].begin(), s.pools[1].end());
  if (s.proto != 6 || own.empty() || !s.configured) return;
  for (uint32_t i = random_.below(4); i > 0; i--)
    flows.push_back({flows[0].service, random_.of(clients_[s.vip.family == 4 ? 0 : 1]),
                     static_cast<uint16_t>(40000 + random_.below(crowded_ ? 40 : 5))});
  const auto up = [&](const Flow& f, uint8_t flags) {
    Packet p;
    p.flags = flags;
    p.src = f.client;
    p.dst = s.vip;
    p.sport = f.port;
    p.dport = s.port;
    pending_.push_back(received(false, packet_bytes(p)));
  };
  // Which backend a flow is on is not known here: all answer, and one is believed.
  const auto down = [&](const Flow& f, uint8_t flags) {
    if (s.forward != "nat") return up(f, psh | ack);
    for (const Backend& b : own) {
      Packet p;
      p.flags = flags;
      p.src = b.address;
      p.dst = seen_by_backend(f.client);
      p.sport = b.port;
      p.dport = f.port;
      if (p.src.family == p.dst.family) pending_.push_back(received(true, packet_bytes(p)));
    }
  };
  const auto order = [&](nlohmann::json control) {
    Step step;
    step.control = std::move(control);
    pending_.push_back(std::move(step));
  };
  const auto talk = [&] {
    for (uint32_t i = 1 + random_.below(8); i > 0; i--) {
      const Flow& f = random_.of(flows);
      up(f, random_.one_in(2) ? psh | ack : ack);
      if (random_.one_in(2)) down(f, random_.one_in(2) ? psh | ack : ack);
    }
  };
  const auto sweep = [&] {
    if (!random_.one_in(6)) order({{"drained", s.name}});
    for (uint32_t i = random_.one_in(4) ? random_.below(2) : 2; i > 0; i--) order({{"sweep", true}});
  };
  if (random_.one_in(2)) order({{"cutover", s.name}, {"to", random_.one_in(2) ? "green" : "blue"}});
  for (const Flow& f : flows) {
    up(f, syn);
    down(f, syn | ack);
    up(f, ack);
    if (!random_.one_in(6)) down(f, psh | ack);
  }
  for (uint32_t rounds = 1 + random_.below(4); rounds > 0; rounds--) {
    sweep();
    for (const Flow& f : flows) up(f, ack);
    talk();
    switch (random_.below(9)) {
      case 0:
      case 1:
        order({{"cutover", s.name}, {"to", random_.one_in(2) ? "green" : "blue"}});
        break;
      case 2:
        order({{"rollback", s.name}, {"flows", random_.one_in(3) ? "reset" : "keep"}});
        break;
      case 3:
        order(split(s));
        break;
      case 4:
      case 5:
        order({{"backend", random_.of(own).name()}, {"service", s.name}, {"weight", random_.below(3)}});
        break;
      case 6:
        order(advance());
        break;
      case 7:
        up(random_.of(flows), random_.of(std::vector<uint8_t>{syn, fin | ack, rst, rst | ack}));
        break;
      default:
        down(random_.of(flows), random_.of(std::vector<uint8_t>{fin | ack, rst, syn | ack}));
    }
    talk();
  }
  if (random_.one_in(3)) up(random_.of(flows), fin | ack);
}

}  // namespace teal::tests
