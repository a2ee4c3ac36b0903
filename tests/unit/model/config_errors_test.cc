// SPDX-License-Identifier: Apache-2.0
// Malformed configurations: what each is told, word for word (bad_configs.txt), and the limits that need a long file.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "model/config_file.h"

namespace {

using namespace teal::model;

std::string errors_of(const std::string& text) {
  std::string out;
  for (const ConfigError& e : parse_config(text, "f").errors) out += e.str() + "\n";
  return out;
}

struct Case {
  int line = 0;  // of bad_configs.txt
  std::string text, errors;
};

std::vector<Case> bad_configs() {
  std::ifstream in(std::string(TEAL_SOURCE_DIR) + "/tests/unit/model/bad_configs.txt");
  std::vector<Case> cases;
  std::string line;
  int number = 1;
  while (std::getline(in, line) && !line.empty()) ++number;  // the heading
  for (Case c; in;) {
    const bool more = static_cast<bool>(std::getline(in, line));
    ++number;
    if (c.line == 0) c.line = number;
    if (more && line.starts_with("!! ")) {
      c.errors += "f:" + line.substr(3) + "\n";
    } else if (!c.errors.empty()) {
      cases.push_back(std::exchange(c, {}));
    } else {
      c.text += line + "\n";
    }
  }
  return cases;
}

TEST(BadConfig, IsToldWhatIsWrongWithIt) {
  const auto cases = bad_configs();
  ASSERT_GE(cases.size(), 100u);
  for (const Case& c : cases) {
    SCOPED_TRACE("bad_configs.txt:" + std::to_string(c.line));
    EXPECT_EQ(errors_of(c.text), c.errors) << c.text;
  }
}

TEST(BadConfig, TooManyPorts) {
  std::string text = "ports:\n";
  for (int i = 0; i < 32; ++i) text += "  - {name: p" + std::to_string(i) + ", device: d" + std::to_string(i) + "}\n";
  EXPECT_EQ(errors_of(text), "");
  EXPECT_EQ(errors_of(text + "  - {name: p32, device: d32}\n"), "f:2:3: ports: found 33 ports, expected at most 32\n");
}

TEST(BadConfig, TooManyServices) {
  std::string text = "ports: [{name: p, device: d}]\nservices:\n";
  for (int i = 1; i <= 4095; ++i)
    text += "  - {name: s" + std::to_string(i) + ", vip: 192.0.2.1, port: " + std::to_string(i) + ", pools: {}}\n";
  EXPECT_EQ(errors_of(text), "");
  EXPECT_EQ(errors_of(text + "  - {name: s0, vip: 192.0.2.2, port: 1, pools: {}}\n"),
            "f:3:3: services: found 4096 services, expected at most 4095\n");
  EXPECT_EQ(errors_of(text.substr(0, text.size() - 2) + ", preview: {vip: 192.0.2.2}}\n"),
            "f:3:3: services: found 4096 services, 1 of them previews, expected at most 4095\n");
}

TEST(BadConfig, TooManyBackends) {
  std::string text =
      "ports: [{name: p, device: d}]\nservices:\n  - name: s\n    vip: 192.0.2.1\n    port: 80\n    pools:\n";
  for (int i = 0; i < 60000; ++i) {
    if (i % 30000 == 0) text += i == 0 ? "      blue:\n" : "      green:\n";
    text += "        - 10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + "\n";
  }
  EXPECT_EQ(errors_of(text), "");
  EXPECT_EQ(errors_of(text + "        - 10.1.0.1\n"),
            "f:3:3: services: found 60001 backends in all, expected at most 60000\n");
  // Those of a preview are its own.
  EXPECT_EQ(errors_of(text + "    preview: {port: 81}\n"),
            "f:3:3: services: found 120000 backends in all, expected at most 60000\n");
}

TEST(BadConfig, ValuesInMessagesStayOnOneLineAndShort) {
  EXPECT_EQ(errors_of("\"a\\nb\\e[1m\\\"\": 1\nports: [{name: p, device: d}]"),
            "f:1:1: unknown key \"a\\x0ab\\x1b[1m\\\"\", expected one of control, engine, ports, services\n");
  // Shortened between two characters, never inside of one.
  std::string umlauts;
  for (int i = 0; i < 40; ++i) umlauts += "ü";
  EXPECT_EQ(errors_of("ports: [{name: p, device: d}]\nengine: {idle: x" + umlauts + "}"),
            "f:2:16: engine.idle: found \"x" + umlauts.substr(0, 60) + "...\", expected poll or adaptive\n");
}

TEST(BadConfig, FilesThatCannotBeRead) {
  const auto only_error = [](const std::string& path) {
    const auto errors = read_config(path).errors;
    return errors.size() == 1 ? errors[0].str() : "not one error but " + std::to_string(errors.size());
  };
  EXPECT_EQ(only_error("/nonexistent/teal.yaml"),
            "/nonexistent/teal.yaml:0:0: cannot be read: No such file or directory");
  EXPECT_EQ(only_error("/"), "/:0:0: cannot be read: Is a directory");
  EXPECT_EQ(only_error("/dev/null"),
            "/dev/null:1:1: found nothing, expected a map with the keys control, engine, ports, services");
}

// Whatever a file holds, it is read or refused with places inside of it: no exception, no crash, no error without a
// place.
TEST(BadConfig, DamagedFilesAreReadOrRefused) {
  std::mt19937 random(7);
  std::vector<std::string> originals;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(TEAL_SOURCE_DIR) + "/config")) {
    std::ifstream in(entry.path());
    originals.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  ASSERT_FALSE(originals.empty());
  int refused = 0;
  for (int round = 0; round < 500; ++round) {
    std::string text = originals[random() % originals.size()];
    for (unsigned edits = random() % 4 + 1; edits > 0 && !text.empty(); --edits) {
      const size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, random() % 40);
          break;
        case 2:
          text.insert(at, 1, "[]{}:,#&*!|>'\"%@`-?\t\n"[random() % 21]);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 60));
      }
    }
    const auto result = parse_config(text, "f");
    refused += !result.ok();
    for (const ConfigError& e : result.errors) {
      int line = 0, column = 0;
      ASSERT_EQ(std::sscanf(e.where.c_str(), "f:%d:%d", &line, &column), 2) << e.str();
      EXPECT_TRUE(line >= 1 && line <= std::count(text.begin(), text.end(), '\n') + 1 && column >= 1) << e.str();
      EXPECT_EQ(e.what.find('\n'), std::string::npos) << e.str();
    }
    EXPECT_FALSE(result.ok() && describe(result.config).empty());
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
