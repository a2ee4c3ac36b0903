// SPDX-License-Identifier: Apache-2.0
// Keeps a group's rollout in one file: written beside it, fsynced, renamed over it, directory fsynced. A cut at any
// point leaves the old state or the new one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rollout/state.h"

namespace teal::rollout {

// The file system, so that a test can cut it at each call. Each returns an empty text, or what went wrong.
struct Files {
  virtual ~Files() = default;
  virtual std::string write(const std::string& path, std::string_view text) = 0;  // created or truncated, mode 0600
  virtual std::string fsync(const std::string& path) = 0;                         // a file's, or a directory's
  virtual std::string rename(const std::string& from, const std::string& to) = 0;
  virtual std::string read(const std::string& path, std::optional<std::string>& text) = 0;  // none: no such file
};

struct Loaded {
  std::optional<State> state;  // none and no error: nothing was stored
  std::string error;           // path, what was found and what was expected
};

class Store {
 public:
  // `path`: "/var/lib/teal/rollouts/GROUP.json"; its directory exists. ".new" is appended for the file beside it.
  Store(Files& files, std::string path);
  [[nodiscard]] std::string save(const State& state);  // empty: it is safe; else what went wrong, with the path
  [[nodiscard]] Loaded load();

 private:
  Files& files_;
  std::string path_;
};

}  // namespace teal::rollout
