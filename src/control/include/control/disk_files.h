// SPDX-License-Identifier: Apache-2.0
// The file system as rollout/store.h asks for it.
#pragma once

#include "rollout/store.h"

namespace teal::control {

class DiskFiles : public rollout::Files {
 public:
  std::string write(const std::string& path, std::string_view text) override;
  std::string fsync(const std::string& path) override;
  std::string rename(const std::string& from, const std::string& to) override;
  std::string read(const std::string& path, std::optional<std::string>& text) override;
};

// Makes the directory (0750), and those above it, where they are missing. Empty, or what went wrong with which path.
std::string make_state_directory(const std::string& path);

}  // namespace teal::control
