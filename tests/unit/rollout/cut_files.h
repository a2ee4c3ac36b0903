// SPDX-License-Identifier: Apache-2.0
// A file system in memory whose power can be cut at any call, and the driver of a rollout over it.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "rollout/store.h"

namespace teal::test {

struct PowerCut {};

// What of the changes that were not fsynced a cut leaves.
struct Remains {
  bool names = false;  // renames and new names
  enum class Bytes { none, half, all } bytes = Bytes::none;
};

class CutFiles : public rollout::Files {
 public:
  // Calls until the power is cut (the call itself has an effect that is not fsynced); none: never.
  std::optional<int> calls_left;
  bool full = false;    // every write fails
  std::string written;  // the text of the last write

  std::string write(const std::string& path, std::string_view text) override {
    if (full) return "No space left on device";
    written = text;
    if (!names_.contains(path)) {
      names_[path] = next_inode_++;
      inodes_[names_[path]] = {};
    }
    inodes_[names_[path]].cached = std::string(text);
    count();
    return {};
  }
  std::string fsync(const std::string& path) override {
    count();
    if (path == "/rollouts")
      durable_names_ = names_;
    else
      inodes_[names_.at(path)].durable = inodes_[names_.at(path)].cached;
    return {};
  }
  std::string rename(const std::string& from, const std::string& to) override {
    names_[to] = names_.at(from);
    names_.erase(from);
    count();
    return {};
  }
  std::string read(const std::string& path, std::optional<std::string>& text) override {
    if (names_.contains(path)) text = inodes_[names_.at(path)].cached;
    return {};
  }
  void count() {
    if (calls_left && --*calls_left < 0) throw PowerCut{};
  }
  void crash(const Remains& remains) {
    if (!remains.names) names_ = durable_names_;
    for (auto& [number, inode] : inodes_) {
      if (remains.bytes == Remains::Bytes::none) inode.cached = inode.durable;
      if (remains.bytes == Remains::Bytes::half && inode.cached != inode.durable)
        inode.cached = inode.cached.substr(0, inode.cached.size() / 2);
      inode.durable = inode.cached;
    }
    durable_names_ = names_;
    calls_left.reset();
  }

 private:
  struct Inode {
    std::string cached, durable;
  };
  std::map<int, Inode> inodes_;
  std::map<std::string, int> names_, durable_names_;
  int next_inode_ = 1;
};

}  // namespace teal::test
