// SPDX-License-Identifier: Apache-2.0
// A file of cases: one JSON object a line, made by tests/cases/*.py (see README.md for the form). A line with "case"
// begins a case, each line after it is a step.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engines/engine.h"

namespace teal::tests {

struct Case {
  std::string name;  // "nat_tcp_life/v4"
  std::string file;
  int line = 0;  // where it begins
  nlohmann::json head;
  std::vector<nlohmann::json> steps;
};

// Every case of the file. Throws with file and line on a bad line.
std::vector<Case> read_case_file(const std::string& path);
// Every case of every .jsonl file in the directory, by name. Throws with file and line on a bad line.
std::vector<Case> read_cases(const std::string& directory);

World world_of(const nlohmann::json& head);
// Does what the step says and nothing else: no expectation is looked at. What left because of it.
std::vector<Output> play(Engine& engine, const nlohmann::json& step);
Bytes bytes_of(const std::string& hex);
std::string hex_of(const Bytes& bytes);

}  // namespace teal::tests
