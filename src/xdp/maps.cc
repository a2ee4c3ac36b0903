// SPDX-License-Identifier: Apache-2.0
#include "maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <sys/syscall.h>

#include <optional>

namespace teal::xdp {
namespace {

constexpr uint64_t line_bytes = sizeof(teal_line);

std::optional<bpf_map_info> array_of(const Fd& fd) {
  bpf_map_info info{};
  uint32_t size = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0 || info.type != BPF_MAP_TYPE_ARRAY ||
      (info.map_flags & BPF_F_MMAPABLE) == 0)
    return std::nullopt;
  return info;
}

// Empty when the table fits, otherwise what is there and what was expected.
std::string misfit(const TableMap& found, const Engine::Options& options) {
  const auto& head = *static_cast<const teal_head*>(found.memory.base());
  const bool made = found.bytes >= sizeof(teal_head) && head.magic == TEAL_MAGIC;
  if (made && head.layout != options.layout)
    return "layout " + std::to_string(head.layout) + ", expected " + std::to_string(options.layout);
  if (found.bytes == options.table_bytes) return {};
  return grouped(found.bytes) + " bytes" +
         (made ? " (made for engine.flows " + std::to_string(head.capacity) + ")" : "") + ", expected " +
         grouped(options.table_bytes);
}

TableMap make_table(uint64_t bytes) {
  LIBBPF_OPTS(bpf_map_create_opts, create);
  create.map_flags = BPF_F_MMAPABLE;
  TableMap made;
  made.bytes = bytes;
  made.fd = Fd(bpf_map_create(BPF_MAP_TYPE_ARRAY, "teal_table", sizeof(uint32_t), line_bytes,
                              static_cast<uint32_t>(bytes / line_bytes), &create));
  if (!made.fd && errno == EPERM) fail("xdp: the kernel makes no BPF map: not permitted, expected CAP_BPF");
  if (!made.fd)
    fail("xdp: flow table: needs " + grouped(bytes >> 20) + " MiB of kernel memory: " + std::strerror(errno) +
         "; lower engine.flows or add memory");
  made.memory = Mapping(made.fd.get(), bytes, "the flow table");
  return made;
}

}  // namespace

unsigned possible_cpus() {
  const int n = libbpf_num_possible_cpus();
  if (n <= 0) fail(std::string("xdp: cannot count the CPUs: ") + std::strerror(-n));
  return static_cast<unsigned>(n);
}

void require_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  if (syscall(SYS_capget, &header, data) != 0) return;  // then the kernel's own refusals tell
  const auto have = [&](unsigned cap) { return (data[cap / 32].effective >> (cap % 32) & 1) != 0; };
  std::string missing;
  const auto want = [&](bool there, const char* name) {
    if (!there) missing += std::string(missing.empty() ? "" : ", ") + name;
  };
  want(have(CAP_BPF) || have(CAP_SYS_ADMIN), "CAP_BPF");
  want(have(CAP_PERFMON) || have(CAP_SYS_ADMIN), "CAP_PERFMON");
  want(have(CAP_NET_ADMIN), "CAP_NET_ADMIN");
  if (!missing.empty())
    fail("xdp ports: teald lacks " + missing + "; run it as root or give its unit these capabilities");
}

FoundTables find_or_make_table(const Pins& pins, const Engine::Options& options) {
  FoundTables result;
  if (options.table_bytes == 0 || options.table_bytes % line_bytes != 0)
    fail("xdp: flow table of " + grouped(options.table_bytes) + " bytes, expected a multiple of 64");
  if (options.table_bytes / line_bytes > UINT32_MAX)
    fail("xdp: flow table of " + grouped(options.table_bytes) +
         " bytes, expected at most 274,877,906,880; lower engine.flows");
  Fd pinned = pins.open(table_pin);
  if (pinned) {
    const std::string where = "flow table pinned at " + pins.directory() + "/" + table_pin;
    const auto info = array_of(pinned);
    if (!info || info->value_size != line_bytes)
      fail(where + ": is not a flow table of teal; teald --detach removes it");
    TableMap found;
    found.bytes = uint64_t{info->max_entries} * info->value_size;
    found.memory = Mapping(pinned.get(), found.bytes, where);
    found.fd = std::move(pinned);
    found.found = true;
    const std::string why = misfit(found, options);
    if (why.empty()) {
      result.table = std::move(found);
      return result;
    }
    if (!options.migrate)
      fail(where + ": " + why + "; teald --migrate carries its flows over, teald --detach gives them up");
    result.old = std::move(found);
  }
  result.table = make_table(options.table_bytes);
  return result;
}

Fd find_counters(const Pins& pins, unsigned cpus) {
  Fd fd = pins.open(cpus_pin);
  if (!fd) return fd;
  const auto info = array_of(fd);
  if (info && info->value_size == sizeof(teal_xdp_cpu) && info->max_entries == cpus) return fd;
  return {};
}

}  // namespace teal::xdp
