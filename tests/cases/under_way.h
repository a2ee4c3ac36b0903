// SPDX-License-Identifier: Apache-2.0
// The oracle of settled services: a packet of a connection under way goes where its entry says, looked up or not.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <tuple>

#include <nlohmann/json.hpp>

#include "engines/engine.h"

namespace teal::tests {

class UnderWay {
 public:
  // `world`: as the head of a case, or what a reload publishes.
  void publish(const nlohmann::json& world);
  // Before the engine gets the frame.
  void before(const Engine& engine, const Bytes& frame);
  // Afterwards: empty, or where it went that it must not.
  std::string after(const Engine& engine);

 private:
  std::map<std::tuple<model::Address, uint16_t>, std::string> tcp_;  // services by VIP and port
  std::string flow_;
  std::optional<FlowEntry> entry_;  // of the packet's flow, when it decides; else nullopt
  Counts counts_;
};

}  // namespace teal::tests
