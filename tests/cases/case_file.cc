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

std::vector<Case> read_cases(const std::string& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().extension() == ".jsonl") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<Case> out;
  for (const auto& file : files) {
    std::ifstream in(file);
    std::string line;
    for (int at = 1; std::getline(in, line); at++) {
      const std::string where = file.filename().string() + ":" + std::to_string(at) + ": ";
      auto json = nlohmann::json::parse(line, nullptr, false);
      if (json.is_discarded()) throw std::runtime_error(where + "not JSON");
      if (json.contains("case")) {
        out.push_back({json["case"], file.filename().string(), at, json, {}});
      } else {
        if (out.empty() || out.back().file != file.filename().string())
          throw std::runtime_error(where + "a step before any case");
        out.back().steps.push_back(std::move(json));
      }
    }
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

Bytes bytes_of(const std::string& hex) {
  Bytes out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
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
