// SPDX-License-Identifier: Apache-2.0
// What teal-xdp-bench measures: a subject is a kind of packet, and the services, flows and backends that go with it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "xdp_bench.h"

namespace teal::perf {

enum class Does : uint8_t { bare, lru, hit, reply, syn, not_ours, not_ip };

struct Subject {
  std::string name;
  Does does = Does::hit;
  uint8_t family = 4;
  model::Forward forward = model::Forward::nat;
  uint32_t vips = 1;  // services that the flows are spread over
  // Of issue 3, nanoseconds net, at 1, 1,000, 100,000 and 1,000,000 flows; 0: it names none.
  double targets[4] = {0, 0, 0, 0};
  bool settled = false;  // all flows on backend 0, where Maglev has them, and a sweeper has been by (teal/settled.h)

  [[nodiscard]] double target(uint32_t flows) const;
  // Whether the cost depends on the number of flows.
  [[nodiscard]] bool grows() const;
  // Bytes that teal puts in front of the packet.
  [[nodiscard]] uint32_t tunnel() const;
  // Service `index` of `vips`. Of its backends, 0 and 1 are blue, 2 and 3 green.
  [[nodiscard]] model::ServiceConfig service(uint32_t index) const;
  [[nodiscard]] model::Endpoint backend(uint32_t index, uint32_t peer) const;
  // The packet that the wrapper puts flow after flow into.
  [[nodiscard]] std::vector<uint8_t> frame() const;
};

// The services of all of them, each once.
std::vector<model::ServiceConfig> services_of(const std::vector<Subject>& subjects);

// With one service of each kind; and with `services` of them.
std::vector<Subject> ordinary_subjects();
std::vector<Subject> crowded_subjects(uint32_t services);

inline constexpr const char* client_prefix6 = "2001:db8:c::";  // flow i's client has i in its last 32 bits

}  // namespace teal::perf
