// SPDX-License-Identifier: Apache-2.0
#include "worker_subjects.h"

namespace teal::perf {

using F = model::Forward;

std::vector<WorkerSubject> worker_subjects(const std::vector<uint32_t>& flows, const std::vector<uint32_t>& services,
                                           const std::vector<uint32_t>& backends) {
  std::vector<WorkerSubject> all;
  const uint32_t middle = flows.size() > 1 ? flows[flows.size() - 2] : flows.front();
  const auto add = [&all](const std::string& name, const Shape& shape, const Traffic& traffic) {
    all.push_back({name, shape, traffic});
  };
  for (const uint32_t n : flows) {
    Traffic plain;
    plain.flows = n;
    Traffic zipf = plain, large = plain, both = plain;
    zipf.pick = Pick::zipf;
    large.sizes = Sizes::imix;
    both.reply_percent = 50;
    add("nat", {}, plain);
    add("nat, both ways", {}, both);
    add("nat, Zipf 1.1", {}, zipf);
    add("nat, IMIX", {}, large);
    if (n == middle) {
      for (const uint32_t syn : {1, 10, 50, 100}) {
        Traffic t = plain;
        t.syn_percent = syn;
        add("nat, new flows", {}, t);
      }
      for (const uint32_t burst : {1, 4, 8, 16}) {
        Traffic t = plain;
        t.burst = burst;
        add("nat", {}, t);
      }
    }
    add("l2dsr", {F::l2dsr, 4}, plain);
    add("ipip", {F::ipip, 4}, plain);
    add("nat", {F::nat, 6}, plain);
    add("nat, both ways", {F::nat, 6}, both);
    add("ipip", {F::ipip, 6}, plain);
    add("settled nat", {F::nat, 4, 1, 2, true}, plain);
    add("settled nat, both ways", {F::nat, 4, 1, 2, true}, both);
    add("settled ipip", {F::ipip, 4, 1, 2, true}, plain);
    add("settled nat", {F::nat, 6, 1, 2, true}, plain);
    if (n != middle) continue;
    for (const uint32_t s : services) add("nat", {F::nat, 4, s, 4}, plain);
    for (const uint32_t b : backends) add("nat", {F::nat, 4, 1, b}, plain);
  }
  return all;
}

}  // namespace teal::perf
