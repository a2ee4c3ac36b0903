// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>

#include "pins.h"
#include "xdp/engine.h"

namespace teal::xdp {
namespace {

std::string size_of(const Fd& map) {
  bpf_map_info info{};
  uint32_t size = sizeof(info);
  if (!map || bpf_obj_get_info_by_fd(map.get(), &info, &size) != 0) return {};
  return ", " + grouped((uint64_t{info.max_entries} * info.value_size) >> 20) + " MiB";
}

}  // namespace

std::vector<std::string> Engine::detach(const std::string& directory) {
  std::vector<std::string> removed;
  const Pins pins = Pins::existing(directory);
  if (!pins.exists()) return removed;
  // Links first: with them the program stops, before what it works on is gone.
  for (const auto& name : pins.names()) {
    if (!Pins::is_link(name)) continue;
    if (const Fd link = pins.open(name)) bpf_link_detach(link.get());  // at once; a link let go by its pin ends later
    pins.remove(name);
    removed.push_back("port " + Pins::port_of(name) + ": XDP program detached");
  }
  for (const auto& name : pins.names()) {
    const std::string what = name == "table" ? "flow table" : name == "program" ? "program" : "map " + name;
    const std::string size = name == "program" ? "" : size_of(pins.open(name));
    pins.remove(name);
    removed.push_back(what + size + ": removed");
  }
  return removed;
}

}  // namespace teal::xdp
