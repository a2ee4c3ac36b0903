// SPDX-License-Identifier: Apache-2.0
#include "pins.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

namespace teal::xdp {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view link_prefix = "link_";
constexpr const char* fresh_pin = "teal_fresh";  // a pin on its way to its name

bool on_bpffs(const fs::path& path) {
  struct statfs where {};
  return statfs(path.c_str(), &where) == 0 && static_cast<unsigned long>(where.f_type) == BPF_FS_MAGIC;
}

}  // namespace

Pins::Pins(std::string directory) : directory_(std::move(directory)) {
  fs::path up = fs::path(directory_).lexically_normal();
  if (!up.has_filename()) up = up.parent_path();
  std::error_code error;
  while (up.has_relative_path() && !fs::exists(up, error)) up = up.parent_path();
  if (!on_bpffs(up))
    fail("engine.bpf_pins " + directory_ +
         ": not on a bpffs, expected a directory below one (mount -t bpf bpf /sys/fs/bpf)");
  fs::create_directories(directory_, error);
  if (error) fail("engine.bpf_pins " + directory_ + ": cannot make it: " + error.message());
  lock();
}

Pins Pins::existing(std::string directory) {
  Pins pins;
  pins.directory_ = std::move(directory);
  std::error_code error;
  if (!fs::exists(pins.directory_, error)) return pins;
  if (!on_bpffs(pins.directory_)) fail(pins.directory_ + ": not on a bpffs, expected the directory of teald's pins");
  pins.lock();
  return pins;
}

void Pins::lock() {
  lock_ = Fd(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock_) fail("engine.bpf_pins " + directory_ + ": cannot open it: " + std::strerror(errno));
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) fail("engine.bpf_pins " + directory_ + ": in use by another teald");
  // A teald that was going may have removed it between the two steps.
  struct stat locked {
  }, now{};
  if (fstat(lock_.get(), &locked) != 0 || stat(directory_.c_str(), &now) != 0 || locked.st_ino != now.st_ino)
    fail("engine.bpf_pins " + directory_ + ": removed by another teald just now; start again");
}

Pins::~Pins() {
  if (lock_) rmdir(directory_.c_str());  // refused when something is in it, as it should be
}

std::vector<std::string> Pins::names() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory_))
    if (!entry.is_directory()) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

Fd Pins::open(const std::string& name) const {
  const int fd = bpf_obj_get(path(name).c_str());
  if (fd < 0 && errno != ENOENT) fail("xdp: cannot open " + path(name) + ": " + std::strerror(errno));
  return Fd(fd < 0 ? -1 : fd);
}

void Pins::put(const std::string& name, int fd) const {
  const std::string fresh = path(fresh_pin);
  unlink(fresh.c_str());  // of a teald that died right here
  if (bpf_obj_pin(fd, fresh.c_str()) != 0) fail("xdp: cannot pin " + path(name) + ": " + std::strerror(errno));
  rename(fresh_pin, name);
}

void Pins::rename(const std::string& from, const std::string& to) const {
  if (::rename(path(from).c_str(), path(to).c_str()) != 0)
    fail("xdp: cannot rename " + path(from) + " to " + to + ": " + std::strerror(errno));
}

void Pins::remove(const std::string& name) const {
  if (unlink(path(name).c_str()) != 0 && errno != ENOENT)
    fail("xdp: cannot remove " + path(name) + ": " + std::strerror(errno));
}

std::string Pins::link_name(std::string_view port) {
  std::string name(link_prefix);
  for (char c : port) {
    if (c == '.' || c == '%' || c == '/') {
      char code[4];
      std::snprintf(code, sizeof(code), "%%%02x", static_cast<unsigned>(c));
      name += code;
    } else {
      name += c;
    }
  }
  return name;
}

bool Pins::is_link(std::string_view name) {
  return name.starts_with(link_prefix);
}

std::string Pins::port_of(std::string_view link_name) {
  std::string port;
  for (size_t i = link_prefix.size(); i < link_name.size(); i++) {
    if (link_name[i] == '%' && i + 2 < link_name.size()) {
      port += static_cast<char>(std::stoi(std::string(link_name.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      port += link_name[i];
    }
  }
  return port;
}

}  // namespace teal::xdp
