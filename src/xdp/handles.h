// SPDX-License-Identifier: Apache-2.0
// Owners of a file descriptor and of a BPF array's mapping.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace teal::xdp {

[[noreturn]] inline void fail(const std::string& what) {
  throw std::runtime_error(what);
}

// Number with thousands separated, for messages: 524,288.
inline std::string grouped(uint64_t n) {
  std::string s = std::to_string(n);
  for (size_t at = s.size(); at > 3;) s.insert(at -= 3, ",");
  return s;
}

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    if (this != &o) {
      reset();
      fd_ = std::exchange(o.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }
  void reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// A BPF_F_MMAPABLE array, mapped for reading and writing. The mapping keeps the map alive by itself.
class Mapping {
 public:
  Mapping() = default;
  Mapping(int map_fd, uint64_t bytes, const std::string& what) : bytes_(bytes) {
    base_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
    if (base_ == MAP_FAILED) fail("xdp: cannot map " + what + ": " + std::strerror(errno));
  }
  Mapping(Mapping&& o) noexcept : base_(std::exchange(o.base_, MAP_FAILED)), bytes_(o.bytes_) {}
  Mapping& operator=(Mapping&& o) noexcept {
    if (this != &o) {
      reset();
      base_ = std::exchange(o.base_, MAP_FAILED);
      bytes_ = o.bytes_;
    }
    return *this;
  }
  ~Mapping() { reset(); }
  void reset() {
    if (base_ != MAP_FAILED) munmap(base_, bytes_);
    base_ = MAP_FAILED;
  }
  [[nodiscard]] void* base() const { return base_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  explicit operator bool() const { return base_ != MAP_FAILED; }

 private:
  void* base_ = MAP_FAILED;
  uint64_t bytes_ = 0;
};

}  // namespace teal::xdp
