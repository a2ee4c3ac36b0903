// SPDX-License-Identifier: Apache-2.0
#include "cases/case_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace teal::tests {
namespace {

template <class T>
T need(const std::optional<T>& value, const std::string& what) {
  if (!value) throw std::runtime_error("not an address: '" + what + "'");
  return *value;
}

model::Mac mac_of(const std::string& text) {
  model::Mac mac{};
  if (text.size() != 17) throw std::runtime_error("not a MAC address: '" + text + "'");
  for (size_t i = 0; i < 6; i++) mac[i] = static_cast<uint8_t>(std::stoul(text.substr(i * 3, 2), nullptr, 16));
  return mac;
}

model::Address address_of(const std::string& text) {
  return need(model::Address::parse(text), text);
}
model::Prefix prefix_of(const std::string& text) {
  return need(model::Prefix::parse(text), text);
}

}  // namespace

std::vector<Case> read_case_file(const std::string& path) {
  std::vector<Case> out;
  const std::string name = std::filesystem::path(path).filename().string();
  std::ifstream in(path);
  if (!in) throw std::runtime_error(path + ": cannot be read");
  std::string line;
  for (int at = 1; std::getline(in, line); at++) {
    const std::string where = name + ":" + std::to_string(at) + ": ";
    auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_discarded()) throw std::runtime_error(where + "not JSON");
    if (json.contains("case")) {
      out.push_back({json["case"], name, at, json, {}});
    } else {
      if (out.empty()) throw std::runtime_error(where + "a step before any case");
      out.back().steps.push_back(std::move(json));
    }
  }
  return out;
}

std::vector<Case> read_cases(const std::string& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().extension() == ".jsonl") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<Case> out;
  for (const auto& file : files) {
    auto cases = read_case_file(file.string());
    std::move(cases.begin(), cases.end(), std::back_inserter(out));
  }
  return out;
}

World world_of(const nlohmann::json& head) {
  World w;
  for (const auto& p : head.at("ports"))
    w.ports.push_back({mac_of(p.at("mac")), p.at("ifindex"), p.value("mtu", uint16_t{1500}),
                       p.value("vlan", std::vector<uint16_t>{})});
  const auto& t = head.at("topology");
  for (const auto& l : t.at("links")) {
    model::Link link;
    link.ifindex = l.at("ifindex");
    link.mtu = l.value("mtu", 1500u);
    link.up = true;
    link.parent = l.value("parent", 0);
    link.vlan = l.value("vlan", uint16_t{0});
    link.qinq = l.value("qinq", false);
    w.topology.links.push_back(link);
  }
  for (const auto& a : t.at("addresses")) w.topology.addresses.push_back({a.at("ifindex"), prefix_of(a.at("prefix"))});
  for (const auto& r : t.at("routes")) {
    model::Route route;
    route.to = prefix_of(r.at("to"));
    route.ifindex = r.at("ifindex");
    if (r.contains("via")) route.gateway = address_of(r["via"]);
    w.topology.routes.push_back(route);
  }
  for (const auto& n : t.at("neighbours"))
    w.topology.neighbours.push_back({n.at("ifindex"), address_of(n.at("address")), mac_of(n.at("mac")), true});
  return w;
}

std::vector<Output> play(Engine& engine, const nlohmann::json& step) {
  if (step.contains("send")) {
    std::vector<Bytes> frames;
    for (const auto& hex : step["send"]) frames.push_back(bytes_of(hex));
    return engine.run(step.at("port"), frames);
  }
  if (step.contains("advance_ms"))
    return engine.advance(std::chrono::duration<uint64_t, std::milli>(step["advance_ms"].get<uint64_t>()));
  if (step.contains("advance_ticks")) return engine.advance(FineTicks(step["advance_ticks"].get<uint64_t>()));
  if (step.contains("publish")) {
    engine.publish(step["publish"].at("config"), world_of(step["publish"]));
  } else if (step.contains("cutover")) {
    engine.cutover(step["cutover"], step.at("to") == "green" ? model::Pool::green : model::Pool::blue);
  } else if (step.contains("rollback")) {
    engine.rollback(step["rollback"], step.at("flows") == "reset");
  } else if (step.contains("share")) {
    engine.set_share(step["share"], step.at("of"));
  } else if (step.contains("split")) {
    SplitOrder order;
    order.share = step.at("of");
    order.active = step.at("active") == "green" ? model::Pool::green : model::Pool::blue;
    order.draining = step.value("draining", order.draining);
    order.ignore_affinity = step.value("ignore_affinity", order.ignore_affinity);
    order.rolled_back = step.value("rolled_back", order.rolled_back);
    engine.set_split(step["split"], order);
  } else if (step.contains("drained")) {
    engine.drained(step["drained"]);
  } else if (step.contains("backend")) {
    std::optional<uint32_t> weight;
    std::optional<uint8_t> state;
    if (step.contains("weight")) weight = step["weight"];
    if (step.contains("state")) state = step["state"] == "ready" ? 0 : step["state"] == "drain" ? 1 : 2;
    engine.set_backend(step.at("service"), step["backend"], weight, state);
  } else if (step.contains("locks")) {
    engine.take_locks(step["locks"] == "taken");
  } else if (step.contains("sweep")) {
    engine.sweep();
  } else {
    throw std::runtime_error("a step of no known kind: " + step.dump());
  }
  return {};
}

Bytes bytes_of(const std::string& hex) {
  const auto digit = [&](char c) -> unsigned {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
    throw std::runtime_error("not hex: '" + hex + "'");
  };
  Bytes out(hex.size() / 2);
  for (size_t i = 0; i < out.size(); i++) out[i] = static_cast<uint8_t>(digit(hex[i * 2]) << 4 | digit(hex[i * 2 + 1]));
  return out;
}

std::string hex_of(const Bytes& bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string out;
  for (uint8_t b : bytes) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

}  // namespace teal::tests
