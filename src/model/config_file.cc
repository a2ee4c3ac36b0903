// SPDX-License-Identifier: Apache-2.0
#include "model/config_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "config_fields.h"
#include "config_release.h"

namespace teal::model {

namespace {

constexpr size_t largest_file = 64u << 20;  // 60,000 backends with every key take about 5 MiB

Place place_of(const YAML::Mark& mark) {
  return mark.is_null() ? Place{} : Place{mark.line + 1, mark.column + 1};
}

}  // namespace

ConfigResult parse_config(const std::string& text, const std::string& name) {
  ConfigResult result;
  ConfigReport report(name);
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1)
      report.add(place_of(documents[1].Mark()), "a second document begins, expected one in a file");
    const YAML::Node root = documents.empty() ? YAML::Node() : documents.front();
    if (!root.IsNull()) report.note("", place_of(root.Mark()));
    read_root(root, report, result.config);
    share_rollouts(result.config, report);
    check_config(result.config, report);
  } catch (const YAML::Exception& e) {
    report.add(place_of(e.mark), "not valid YAML: " + e.msg);
  }
  result.errors = report.finish();
  return result;
}

ConfigResult read_config(const std::string& path) {
  const auto refuse = [&](const std::string& what) { return ConfigResult{{}, {{path + ":0:0", what}}}; };
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  // An empty file gives no character, which ostream takes for a failure of its own.
  if (!in || (in.peek() != std::ifstream::traits_type::eof() && !(text << in.rdbuf())) || in.bad())
    return refuse("cannot be read: " + std::string(errno ? std::strerror(errno) : "input/output error"));
  if (text.view().size() > largest_file)
    return refuse("has " + std::to_string(text.view().size()) + " bytes, expected at most " +
                  std::to_string(largest_file));
  return parse_config(text.str(), path);
}

}  // namespace teal::model
