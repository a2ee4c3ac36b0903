// SPDX-License-Identifier: Apache-2.0
#include "xdp_world.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace teal::perf {
namespace {

constexpr const char* pins = "/sys/fs/bpf/teal-perf";

// The engine's maps are pinned by their names without the prefix.
std::string pin_of(const std::string& map) {
  if (map == ".bss") return "published";
  return map.starts_with("teal_") ? map.substr(5) : map;
}

[[noreturn]] void fail(const std::string& what, int error) {
  throw std::runtime_error(what + ": " + std::strerror(error));
}

void run(const std::string& command) {
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

std::string text(const model::Mac& mac) {
  return model::mac_str(mac);
}

void make_namespaces() {
  if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) fail("cannot make namespaces", errno);
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) fail("cannot make mounts private", errno);
  if (mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr) != 0) fail("cannot mount a bpffs at /sys/fs/bpf", errno);
  // The kernel's own IPv6 packets would be among those that are counted.
  std::ofstream("/proc/sys/net/ipv6/conf/all/disable_ipv6") << 1;
  std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << 1;
}

model::Address address(const char* of) {
  return *model::Address::parse(of);
}
model::Prefix prefix(const char* of) {
  return *model::Prefix::parse(of);
}

// An edge host as there are many: two subnets, one gateway each, a default route.
model::Topology topology(int port) {
  model::Topology t;
  t.links.push_back({port, "port", XdpWorld::port_mac, 1500, true});
  t.addresses.push_back({port, prefix("192.0.2.2/24")});
  t.addresses.push_back({port, prefix("2001:db8::2/64")});
  for (const auto& [net, subnet, gateway] :
       {std::tuple{"0.0.0.0/0", "192.0.2.0/24", "192.0.2.1"}, std::tuple{"::/0", "2001:db8::/64", "2001:db8::1"}}) {
    t.routes.push_back({prefix(subnet), port, {}, {}, 0});
    t.routes.push_back({prefix(net), port, address(gateway), {}, 0});
    t.neighbours.push_back({port, address(gateway), XdpWorld::wire_mac, true});
  }
  return t;
}

}  // namespace

void* map_array(int map_fd, size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
  if (at == MAP_FAILED) fail("cannot map a BPF array", errno);
  return at;
}

void unmap_array(void* at, size_t bytes) {
  munmap(at, bytes);
}

std::string XdpWorld::missing() {
  if (geteuid() != 0) return "needs root";
  if (access("/sys/fs/bpf", F_OK) != 0) return "needs a kernel with BPF: there is no /sys/fs/bpf";
  return {};
}

XdpWorld::XdpWorld(uint64_t flows) {
  libbpf_set_print(nullptr);
  make_namespaces();
  // As many queues as CPUs: what a CPU sends comes in at its own queue, and is worked on there.
  const std::string queues = " numrxqueues 2 numtxqueues 2 ";
  run("ip link add port address " + text(port_mac) + queues + "type veth peer name wire address " + text(wire_mac) +
      queues);
  run("ip link add spare0 type veth peer name spare1");
  run("for i in port wire spare0 spare1; do ip link set $i up || exit 1; done");
  port_ = static_cast<int>(if_nametoindex("port"));
  wire_ = static_cast<int>(if_nametoindex("wire"));

  xdp::Engine::Options options;
  options.pins = pins;
  options.table_bytes = flow::Storage::bytes_for(flows);
  engine_ = std::make_unique<xdp::Engine>(options);
  const xdp::TableMemory memory = engine_->table();
  storage_ = std::make_unique<flow::Storage>(
      flow::Storage::Mapped{memory.base, memory.bytes, "the flow table", memory.found}, flows);
  registry_ = std::make_unique<flow::Registry>(*storage_);
  table_ = std::make_unique<flow::Table>(storage_->buckets(), storage_->head().buckets, storage_->locks(),
                                         storage_->owner(), storage_->cells());
  xdp::PortSpec port;
  port.name = "port";
  port.device = "port";
  port.ifindex = port_;
  port.mac = port_mac;
  engine_->load({port}, {});
}

void XdpWorld::serve(const std::vector<model::ServiceConfig>& services) {
  registry_->apply(services);
  model::Config config;
  config.services = services;
  model::SnapshotInput input = flow::snapshot_input(*registry_, storage_->head().secret, config);
  input.ports.push_back({0, port_, port_mac, 1500, {}});
  input.topology = topology(port_);
  auto next = std::make_unique<model::Snapshot>(input, maglevs_);
  engine_->publish(*next);
  snapshot_ = std::move(next);
  if (cpus_) return;
  const int fd = pinned("cpus");
  cpus_ = std::make_unique<Shared<teal_xdp_cpu>>(fd, static_cast<size_t>(libbpf_num_possible_cpus()));
  close(fd);
}

uint64_t XdpWorld::event(teal_event which) const {
  uint64_t sum = 0;
  for (size_t i = 0; i < cpus_->count(); i++) sum += TEAL_LOAD(&(*cpus_)[i].event[which]);
  return sum;
}

uint64_t XdpWorld::dropped(teal_drop why) const {
  uint64_t sum = 0;
  for (size_t i = 0; i < cpus_->count(); i++) sum += TEAL_LOAD(&(*cpus_)[i].drop[why]);
  return sum;
}

int XdpWorld::pinned(const std::string& name) {
  const int fd = bpf_obj_get((std::string(pins) + "/" + name).c_str());
  if (fd < 0) fail("no pin " + name, -fd);
  return fd;
}

int XdpWorld::spare(int end) {
  return static_cast<int>(if_nametoindex(end == 0 ? "spare0" : "spare1"));
}

int XdpWorld::attach(int program, int ifindex) {
  LIBBPF_OPTS(bpf_link_create_opts, options);
  options.flags = XDP_FLAGS_DRV_MODE;
  const int link = bpf_link_create(program, ifindex, BPF_XDP, &options);
  if (link < 0) fail("cannot attach an XDP program", -link);
  return link;
}

void XdpWorld::clear_flows() {
  std::memset(static_cast<void*>(storage_->buckets()), 0, size_t{storage_->head().buckets} * sizeof(teal_bucket));
}

void XdpWorld::settle(bool wanted, uint32_t tick) {
  flow::Settler settler(*storage_);
  if (wanted) settle_all(settler, *table_, view(), storage_->head().secret, tick);
}

TestObject::TestObject(std::span<const unsigned char> elf, const std::vector<std::string>& shared,
                       const std::vector<Size>& sizes)
    : object_(bpf_object__open_mem(elf.data(), elf.size(), nullptr)) {
  if (object_ == nullptr) fail("libbpf cannot read the object", errno);
  try {
    const auto map = [&](const std::string& name) {
      bpf_map* m = bpf_object__find_map_by_name(object_, name.c_str());
      if (m == nullptr) throw std::runtime_error("the object has no map " + name);
      return m;
    };
    for (const std::string& name : shared) {
      const int fd = XdpWorld::pinned(pin_of(name));
      const int e = bpf_map__reuse_fd(map(name), fd);
      close(fd);
      if (e != 0) fail("cannot share " + name, -e);
    }
    for (const Size& size : sizes)
      if (const int e = bpf_map__set_max_entries(map(size.map), size.entries); e != 0) fail(size.map, -e);
    if (const int e = bpf_object__load(object_); e != 0) fail("the kernel refuses the object", -e);
  } catch (...) {
    bpf_object__close(object_);
    throw;
  }
}

TestObject::~TestObject() {
  bpf_object__close(object_);
}

int TestObject::map(const char* name) const {
  return bpf_object__find_map_fd_by_name(object_, name);
}

int TestObject::program(const char* name) const {
  const bpf_program* p = bpf_object__find_program_by_name(object_, name);
  if (p == nullptr) throw std::runtime_error(std::string("the object has no program ") + name);
  return bpf_program__fd(p);
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

}  // namespace teal::perf
