// SPDX-License-Identifier: Apache-2.0
#include "object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/utsname.h>

#include <algorithm>
#include <sstream>
#include <vector>

#include "handles.h"
#include "teal/xdp.h"

#include "teal.skel.h"  // names what teal/xdp.h has

namespace teal::xdp {
namespace {

constexpr size_t verifier_log_bytes = 4 << 20;  // the kernel keeps the end of it, which is what tells
constexpr size_t told_lines = 6;

// What libbpf says while one of these lives is kept instead of printed. libbpf has one printer a process; the control
// thread is its only user.
class Quiet {
 public:
  Quiet() {
    said().clear();
    before_ = libbpf_set_print(keep);
  }
  ~Quiet() { libbpf_set_print(before_); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
  static std::string& said() {
    static std::string text;
    return text;
  }

 private:
  static int keep(libbpf_print_level level, const char* format, va_list arguments) {
    if (level != LIBBPF_WARN) return 0;
    char line[512];
    const int n = vsnprintf(line, sizeof(line), format, arguments);
    if (said().size() < 4096) said() += line;
    return n;
  }
  libbpf_print_fn_t before_ = nullptr;
};

std::string last_lines(const std::string& text, size_t count, auto&& wanted) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (!line.empty() && wanted(line)) lines.push_back(line);
  if (lines.size() > count) lines.erase(lines.begin(), lines.end() - static_cast<ptrdiff_t>(count));
  std::string all;
  for (const auto& line : lines) all += (all.empty() ? "" : " | ") + line;
  return all;
}

std::string remedy(int error) {
  utsname kernel{};
  uname(&kernel);
  switch (error) {
    case EPERM:
      return "teald needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON";
    case ENOMEM:
      return "the kernel has no memory for its maps";
    default:
      return std::string("kernel ") + kernel.release +
             ", expected 6.1 or later; report it with this message, or use engine: dpdk ports";
  }
}

}  // namespace

std::span<const unsigned char> embedded_object() {
  size_t bytes = 0;
  const void* elf = teal_bpf::elf_bytes(&bytes);
  return {static_cast<const unsigned char*>(elf), bytes};
}

std::string verifier_verdict(const std::string& log) {
  return last_lines(log, told_lines, [](const std::string& line) {
    return !line.starts_with("processed ") && !line.starts_with("verification time") &&
           !line.starts_with("stack depth") && line.find("-- ") != 0;
  });
}

Object::Object(std::span<const unsigned char> elf, int table_fd, int cpus_fd, unsigned cpus) {
  const Quiet quiet;
  std::vector<char> log(verifier_log_bytes);
  LIBBPF_OPTS(bpf_object_open_opts, options);
  options.object_name = "teal";
  options.kernel_log_buf = log.data();
  options.kernel_log_size = log.size();
  object_ = bpf_object__open_mem(elf.data(), elf.size(), &options);
  if (object_ == nullptr)
    fail(std::string("xdp: libbpf cannot read the program's object: ") + std::strerror(errno) + ": " + Quiet::said());
  try {
    const auto map = [&](const char* name) {
      bpf_map* m = bpf_object__find_map_by_name(object_, name);
      if (m == nullptr) fail(std::string("xdp: the program's object has no map ") + name);
      return m;
    };
    if (const int e = bpf_map__reuse_fd(map("teal_table"), table_fd); e != 0)
      fail(std::string("xdp: cannot give the program the flow table: ") + std::strerror(-e));
    bpf_map* counters = map("teal_cpus");
    const int e = cpus_fd >= 0 ? bpf_map__reuse_fd(counters, cpus_fd) : bpf_map__set_max_entries(counters, cpus);
    if (e != 0) fail(std::string("xdp: cannot give the program its counters: ") + std::strerror(-e));

    if (const int error = bpf_object__load(object_); error != 0) {
      const std::string verdict = verifier_verdict(log.data());
      const std::string why =
          verdict.empty() ? last_lines(Quiet::said(), told_lines, [](const std::string&) { return true; }) : verdict;
      fail(std::string("xdp: the kernel refused the program or its maps: ") + std::strerror(-error) + " (" +
           remedy(-error) + "): " + why);
    }
    bpf_prog_info info{};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(program("teal_xdp"), &info, &size) == 0) {
      verified_ = info.verified_insns;
      jitted_ = info.jited_prog_len;
    }
  } catch (...) {
    bpf_object__close(object_);
    throw;
  }
}

Object::~Object() {
  bpf_object__close(object_);
}

int Object::map(const char* name) const {
  const int fd = bpf_object__find_map_fd_by_name(object_, name);
  if (fd < 0) fail(std::string("xdp: the program's object has no map ") + name);
  return fd;
}

int Object::program(const char* name) const {
  const bpf_program* p = bpf_object__find_program_by_name(object_, name);
  if (p == nullptr) fail(std::string("xdp: the program's object has no program ") + name);
  return bpf_program__fd(p);
}

}  // namespace teal::xdp
