// SPDX-License-Identifier: Apache-2.0
// Memory for a table as src/xdp maps it from a BPF array: zeroes, made by somebody else than the Storage.
#pragma once

#include <memory>

#include "flow/storage.h"

namespace teal::flow::test {

class MappedMemory {
 public:
  explicit MappedMemory(uint64_t flows)
      : bytes_(Storage::bytes_for(flows)), lines_(new Line[bytes_ / sizeof(Line)]{}) {}

  [[nodiscard]] Storage::Mapped mapped(bool live) const { return {lines_.get(), bytes_, "the table", live}; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] const void* base() const { return lines_.get(); }
  [[nodiscard]] teal_head& head() const { return *reinterpret_cast<teal_head*>(lines_.get()); }
  [[nodiscard]] uint32_t* locks() const { return reinterpret_cast<uint32_t*>(at(TEAL_AT_LOCKS)); }
  [[nodiscard]] teal_bucket* buckets() const { return reinterpret_cast<teal_bucket*>(at(TEAL_AT_BUCKETS)); }

 private:
  struct alignas(64) Line {
    char bytes[64];
  };
  [[nodiscard]] char* at(uint64_t offset) const { return lines_[offset / sizeof(Line)].bytes; }

  uint64_t bytes_;
  std::unique_ptr<Line[]> lines_;
};

}  // namespace teal::flow::test
