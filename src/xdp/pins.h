// SPDX-License-Identifier: Apache-2.0
// The directory of pins: what keeps maps, program and links alive while no teald runs. Held under a lock, so that two
// teald never feed one program.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "handles.h"

namespace teal::xdp {

class Pins {
 public:
  // Makes the directory when it is missing and locks it. Throws std::runtime_error: not on a bpffs, locked.
  explicit Pins(std::string directory);
  // Only when the directory is there; an object without a directory (exists() is false) otherwise.
  static Pins existing(std::string directory);
  ~Pins();  // removes the directory when nothing is in it
  Pins(Pins&&) = default;
  Pins(const Pins&) = delete;
  Pins& operator=(const Pins&) = delete;

  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] bool exists() const { return static_cast<bool>(lock_); }
  [[nodiscard]] std::vector<std::string> names() const;  // sorted; directories in it are not pins
  [[nodiscard]] Fd open(const std::string& name) const;  // none when there is no such pin
  // Pins the object, in one step also where the name is taken: what held it before loses it.
  void put(const std::string& name, int fd) const;
  void rename(const std::string& from, const std::string& to) const;
  void remove(const std::string& name) const;

  // A link's pin by the port's name, and back. bpffs refuses dots in names.
  static std::string link_name(std::string_view port);
  static bool is_link(std::string_view name);
  static std::string port_of(std::string_view link_name);

 private:
  Pins() = default;
  void lock();
  [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }

  std::string directory_;
  Fd lock_;
};

}  // namespace teal::xdp
