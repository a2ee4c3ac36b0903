// SPDX-License-Identifier: Apache-2.0
#include "cases/pair.h"

#include <algorithm>

#include "cases/agreement.h"
#include "cases/case_file.h"
#include "cases/invariants.h"
#include "engines/dpdk_engine.h"
#include "engines/xdp_engine.h"

namespace teal::tests {
namespace {

struct Outcome {
  std::vector<Output> out;
  std::string refused;  // why the engine did not do it
};

Outcome play_step(Engine& engine, const Step& step) {
  Outcome o;
  try {
    o.out = step.control.is_null() ? engine.run(step.port, {step.frame}) : play(engine, step.control);
  } catch (const std::exception& e) {
    o.refused = e.what();
  }
  return o;
}

}  // namespace

Pair::Pair(const nlohmann::json& head) {
  const World world = world_of(head);
  const uint64_t flows = head.value("flows", uint64_t{1024});
  const teal_secret secret = secret_of(head.value("seed", uint64_t{0}));
  dpdk_ = make_dpdk_engine(flows, secret);
  xdp_ = make_xdp_engine(flows, secret, world.ports);
  dpdk_->publish(head.at("config"), world);
  xdp_->publish(head.at("config"), world);
  under_way_.publish(head);
}

std::string Pair::step(const Step& step) {
  if (step.control.is_null()) under_way_.before(*dpdk_, step.frame);
  const Outcome d = play_step(*dpdk_, step), x = play_step(*xdp_, step);
  std::string wrong = disagreement("dpdk", *dpdk_, d.out, "xdp", *xdp_, x.out);
  if (step.control.is_null()) wrong += under_way_.after(*dpdk_);
  if (step.control.contains("publish") && d.refused.empty()) under_way_.publish(step.control["publish"]);
  if (d.refused != x.refused) wrong += "dpdk says '" + d.refused + "', xdp says '" + x.refused + "'\n";
  if (dpdk_->counts().event[TEAL_EV_flows_moved] != 0) wrong += "a flow moved\n";
  if (step.control.is_null() && step.sound && wrong_checksum(step.frame).empty())
    for (const Output& o : x.out)
      if (const std::string why = wrong_checksum(o.frame); !why.empty()) wrong += why + ": " + hex_of(o.frame) + "\n";
  return wrong;
}

std::string Pair::end() {
  dpdk_->close_and_count_leaks();
  const uint64_t leaks = xdp_->close_and_count_leaks();  // both draw on one store
  return leaks == 0 ? "" : std::to_string(leaks) + " packet buffers that nobody freed\n";
}

std::optional<Failure> first_failure(const nlohmann::json& head, const std::vector<Step>& steps) {
  Pair pair(head);
  for (size_t i = 0; i < steps.size(); i++)
    if (std::string text = pair.step(steps[i]); !text.empty()) return Failure{i, std::move(text)};
  if (std::string text = pair.end(); !text.empty()) return Failure{steps.size(), std::move(text)};
  return std::nullopt;
}

std::vector<Step> shrink(const nlohmann::json& head, std::vector<Step> steps, std::chrono::seconds time) {
  const auto until = std::chrono::steady_clock::now() + time;
  bool shorter = true;
  for (size_t piece = std::max<size_t>(1, steps.size() / 2); shorter || piece > 1;
       piece = std::max<size_t>(1, piece / 2)) {
    if (piece == 1) shorter = false;  // single steps are tried until none can go
    for (size_t at = steps.size(); at > 0;) {
      if (std::chrono::steady_clock::now() > until) return steps;
      const size_t from = at > piece ? at - piece : 0;
      std::vector<Step> fewer(steps.begin(), steps.begin() + static_cast<ptrdiff_t>(from));
      fewer.insert(fewer.end(), steps.begin() + static_cast<ptrdiff_t>(at), steps.end());
      at = from;
      const auto failure = first_failure(head, fewer);
      if (!failure) continue;
      fewer.resize(std::min(fewer.size(), failure->at + 1));
      steps = std::move(fewer);
      at = std::min(at, steps.size());
      shorter = true;
    }
  }
  return steps;
}

}  // namespace teal::tests
