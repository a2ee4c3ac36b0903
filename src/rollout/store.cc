// SPDX-License-Identifier: Apache-2.0
#include "rollout/store.h"

#include "rollout/state_json.h"

namespace teal::rollout {

Store::Store(Files& files, std::string path) : files_(files), path_(std::move(path)) {}

std::string Store::save(const State& state) {
  const std::string beside = path_ + ".new";
  const size_t slash = path_.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
  if (const std::string error = files_.write(beside, to_text(state)); !error.empty()) return beside + ": " + error;
  if (const std::string error = files_.fsync(beside); !error.empty()) return beside + ": " + error;
  if (const std::string error = files_.rename(beside, path_); !error.empty()) return path_ + ": " + error;
  if (const std::string error = files_.fsync(directory); !error.empty()) return directory + ": " + error;
  return {};
}

Loaded Store::load() {
  std::optional<std::string> text;
  if (const std::string error = files_.read(path_, text); !error.empty()) return {std::nullopt, path_ + ": " + error};
  if (!text) return {};
  Parsed parsed = from_text(*text);
  if (!parsed.state)
    return {std::nullopt, path_ + ": " + parsed.error + "; the rollout that it describes is not resumed"};
  return {std::move(parsed.state), {}};
}

}  // namespace teal::rollout
