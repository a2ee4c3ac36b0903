// SPDX-License-Identifier: Apache-2.0
// bpf/teal.bpf.c as the binary carries it: opened, given its maps, verified and loaded.
#pragma once

#include <cstdint>
#include <span>
#include <string>

struct bpf_object;

namespace teal::xdp {

// The compiled bpf/teal.bpf.c.
std::span<const unsigned char> embedded_object();

class Object {
 public:
  // The program works on the maps given; what has no entry (-1) is made new with `cpus` entries. Throws
  // std::runtime_error: what the kernel refused, the end of the verifier's log, and what to do.
  Object(std::span<const unsigned char> elf, int table_fd, int cpus_fd, unsigned cpus);
  ~Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  [[nodiscard]] int map(const char* name) const;      // descriptor, owned by the object
  [[nodiscard]] int program(const char* name) const;  // descriptor, owned by the object
  [[nodiscard]] uint32_t verified_instructions() const { return verified_; }
  [[nodiscard]] uint32_t jit_bytes() const { return jitted_; }

 private:
  bpf_object* object_ = nullptr;
  uint32_t verified_ = 0, jitted_ = 0;
};

// The lines of a verifier's log that tell why: the last that are not its statistics.
std::string verifier_verdict(const std::string& log);

}  // namespace teal::xdp
