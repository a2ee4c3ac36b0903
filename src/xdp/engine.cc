// SPDX-License-Identifier: Apache-2.0
#include "xdp/engine.h"

#include <bpf/bpf.h>

#include "counters.h"
#include "grace.h"
#include "links.h"
#include "maps.h"
#include "object.h"
#include "pins.h"
#include "ports.h"
#include "publisher.h"

namespace teal::xdp {
namespace {

constexpr uint32_t slot_probes = 8;  // teal_port_of() of bpf/teal.bpf.c looks no further

struct Loaded {
  Object object;
  Mapping published, cpus, signals;
  uint32_t program_id;
  Grace grace;
  Publisher publisher;

  Loaded(int table_fd, int cpus_fd, unsigned cpu_count)
      : object(embedded_object(), table_fd, cpus_fd, cpu_count),
        published(object.map(".bss"), sizeof(teal_xdp_published), "what is published to the program"),
        cpus(object.map("teal_cpus"), cpu_count * sizeof(teal_xdp_cpu), "teal_cpus"),
        signals(object.map("teal_signals"), TEAL_SIGNAL_COPIES * sizeof(teal_xdp_signals), "teal_signals"),
        program_id(xdp::program_id(object.program("teal_xdp"))),
        grace(object.program("teal_visit"), counts(), cpu_count),
        publisher(program().views, &program().control, object.map("teal_maglevs")) {}

  [[nodiscard]] teal_xdp_published& program() const { return *static_cast<teal_xdp_published*>(published.base()); }
  [[nodiscard]] const teal_xdp_cpu* counts() const { return static_cast<const teal_xdp_cpu*>(cpus.base()); }
};

void set_port(teal_xdp_control& control, uint16_t number, const PortSpec* xdp) {
  if (number >= TEAL_XDP_PORTS)
    fail("ports: number " + std::to_string(number) + ", expected at most " + std::to_string(TEAL_XDP_PORTS) +
         " ports in all beside an xdp port");
  teal_xdp_port& port = control.ports[number];
  port.kind = xdp == nullptr ? TEAL_PORT_DPDK : TEAL_PORT_XDP;
  if (xdp == nullptr) return;
  port.ifindex = static_cast<uint32_t>(xdp->ifindex);
  std::copy(xdp->mac.begin(), xdp->mac.end(), port.mac);
  port.tags = xdp->tags;
  const uint32_t start = teal_xdp_port_hash(port.ifindex);
  for (uint32_t i = 0; i < slot_probes; i++) {
    auto& slot = control.slots[(start + i) % TEAL_XDP_PORT_SLOTS];
    if (slot.ifindex == port.ifindex) fail("port " + xdp->name + ": " + xdp->device + " is another port's already");
    if (slot.ifindex != 0) continue;
    slot = {port.ifindex, number};
    return;
  }
  fail("port " + xdp->name + ": no slot for interface index " + std::to_string(xdp->ifindex));
}

}  // namespace

struct Engine::Impl {
  explicit Impl(const Options& options)
      : pins((require_capabilities(), options.pins)),
        cpu_count(possible_cpus()),
        tables(find_or_make_table(pins, options)) {}

  Loaded& ready() {
    if (!loaded) fail("xdp: the program is not loaded");
    return *loaded;
  }
  void attach();

  Pins pins;
  unsigned cpu_count;
  FoundTables tables;
  std::vector<PortSpec> ports;
  std::unique_ptr<Loaded> loaded;
  bool attached = false;
};

// The flow table is pinned before a program works in it, the rest after the links carry the new program: a crash in
// between leaves a program that works, with maps that it keeps alive by itself.
void Engine::Impl::attach() {
  Loaded& l = *loaded;
  const Fd former_cpus = pins.open(cpus_pin);
  const auto restore = [&](const char* name, const Fd& former) {
    if (former)
      pins.put(name, former.get());
    else
      pins.remove(name);
  };
  try {
    if (!tables.table.found) pins.put(table_pin, tables.table.fd.get());
    pins.put(cpus_pin, l.object.map("teal_cpus"));
    attach_ports(pins, ports, l.object.program("teal_xdp"));
  } catch (...) {
    if (!tables.table.found) restore(table_pin, tables.old.fd);
    restore(cpus_pin, former_cpus);
    throw;
  }
  pins.put("program", l.object.program("teal_xdp"));
  pins.put("published", l.object.map(".bss"));
  pins.put("maglevs", l.object.map("teal_maglevs"));
  pins.put("xsks", l.object.map("teal_xsks"));
  attached = true;
  // A driver may have fetched the former program and not begun it, which no turn tells.
  wait_for_kernel();
}

Engine::Engine(const Options& options) : impl_(std::make_unique<Impl>(options)) {}
Engine::~Engine() = default;

TableMemory Engine::table() const {
  return impl_->tables.table.face();
}

std::optional<TableMemory> Engine::old_table() const {
  if (!impl_->tables.old.fd) return std::nullopt;
  return impl_->tables.old.face();
}

void Engine::drop_old_table() {
  impl_->tables.old = {};
}

void Engine::load(const std::vector<PortSpec>& xdp, const std::vector<uint16_t>& dpdk_ports) {
  const Fd counters = find_counters(impl_->pins, impl_->cpu_count);
  auto loaded = std::make_unique<Loaded>(impl_->tables.table.fd.get(), counters.get(), impl_->cpu_count);
  teal_xdp_control& control = loaded->program().control;
  control.version = TEAL_XDP_VERSION;
  for (const uint16_t number : dpdk_ports) set_port(control, number, nullptr);
  for (const PortSpec& port : xdp) set_port(control, port.number, &port);
  impl_->ports = xdp;
  impl_->loaded = std::move(loaded);
}

void Engine::set_socket(uint16_t port, uint32_t queue, int fd) {
  if (port >= TEAL_XDP_PORTS || queue >= TEAL_XDP_QUEUES)
    fail("xdp: socket of port " + std::to_string(port) + ", queue " + std::to_string(queue) +
         ", expected ports below " + std::to_string(TEAL_XDP_PORTS) + " and queues below " +
         std::to_string(TEAL_XDP_QUEUES));
  const uint32_t key = port * TEAL_XDP_QUEUES + queue;
  if (bpf_map_update_elem(impl_->ready().object.map("teal_xsks"), &key, &fd, BPF_ANY) != 0)
    fail("xdp: the kernel takes no socket for port " + std::to_string(port) + ", queue " + std::to_string(queue) +
         ": " + std::strerror(errno));
}

void Engine::publish(const model::Snapshot& next) {
  Loaded& l = impl_->ready();
  l.publisher.publish(next, *static_cast<const teal_head*>(impl_->tables.table.memory.base()), l.grace);
  if (!impl_->attached) impl_->attach();
}

uint64_t Engine::synchronize() {
  return impl_->ready().grace.wait();
}

void Engine::add_signals(uint16_t service, std::span<teal_signal_counts, 2 * TEAL_SIGNAL_GENERATIONS> sum) const {
  if (!impl_->loaded || service >= TEAL_SERVICES) return;
  const auto* copies = static_cast<const teal_xdp_signals*>(impl_->loaded->signals.base());
  for (uint32_t c = 0; c < TEAL_SIGNAL_COPIES; c++)
    for (size_t i = 0; i < sum.size(); i++) add(sum[i], copies[c].count[service][i]);
}

void Engine::add_totals(Totals& totals) const {
  if (!impl_->loaded) return;
  const Loaded& l = *impl_->loaded;
  add_counters(l.counts(), impl_->cpu_count, l.publisher.service_count(), l.publisher.backend_count(), totals);
}

std::vector<PortState> Engine::ports() const {
  return port_states(impl_->ports, impl_->loaded ? impl_->loaded->program_id : 0);
}

uint32_t Engine::verified_instructions() const {
  return impl_->ready().object.verified_instructions();
}
uint32_t Engine::jit_bytes() const {
  return impl_->ready().object.jit_bytes();
}

}  // namespace teal::xdp
