// SPDX-License-Identifier: Apache-2.0
// Reading the YAML configuration (yaml-cpp), checked whole before anything of it is used.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/config.h"

namespace teal::model {

struct ConfigError {
  std::string where;  // "file:line:column"
  std::string what;   // what was found and what was expected, one line
  [[nodiscard]] std::string str() const { return where + ": " + what; }
};

struct ConfigResult {
  Config config;                    // meaningful only when errors is empty
  std::vector<ConfigError> errors;  // every one that was found, in the order of the file
  [[nodiscard]] bool ok() const { return errors.empty(); }
};

// Reads `path`. A file that cannot be opened is one error at "path:0:0".
ConfigResult read_config(const std::string& path);

// As above for text already in memory; `name` stands for the file in errors.
ConfigResult parse_config(const std::string& text, const std::string& name);

// Every key that the file may have, in the order of the tables that read it: "engine.timeouts.udp_s", "ports[].mtu",
// "services[].pools.*[].weight" (of a backend in either pool). docs/configuration.md is held against it.
std::vector<std::string> config_keys();

// Where the flow table lies: engine.table_file, or where it is left out, the default for the ports and the memory.
std::string table_file_of(const Config& config);

// The settings outside of `services` as text, by path: {"engine.workers", "1"}, {"ports.edge0.mtu", "1500"}. A setting
// that has no value reads "none".
std::vector<std::pair<std::string, std::string>> settings(const Config& config);

// What teald understood, for people: `teald --check`.
std::string describe(const Config& config);

// Why `next` cannot replace `now` while teald runs, one line each; empty when it can. Engine, ports and control need a
// restart. Services come, go and change freely, except that one of the same name keeps its forward, group and split_by.
std::vector<std::string> reload_obstacles(const Config& now, const Config& next);

}  // namespace teal::model
