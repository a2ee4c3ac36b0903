// SPDX-License-Identifier: Apache-2.0
#include "engines/xdp_engine.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "engines/pipeline_engine.h"
#include "engines/ring_ports.h"
#include "xdp/engine.h"

namespace teal::tests {
namespace {

constexpr const char* pins = "/sys/fs/bpf/teal-cases";
constexpr size_t largest_frame = 16384;

std::string device(unsigned port) {
  return "xdp" + std::to_string(port);
}

// The loaded program with its table and counters; detached when it goes.
class Loaded {
 public:
  Loaded(uint64_t flows, const std::vector<PortSetup>& ports) : flows_(flows), ports_(ports) {
    xdp::Engine::Options options;
    options.pins = pins;
    options.table_bytes = flow::Storage::bytes_for(flows);
    xdp_ = std::make_unique<xdp::Engine>(options);
    std::vector<xdp::PortSpec> specs;
    for (uint16_t i = 0; i < ports.size(); i++) {
      const std::string name = device(i);
      ifindex_.at(i) = if_nametoindex(name.c_str());
      specs.push_back({i, name, name, static_cast<int>(ifindex_[i]), ports[i].mac,
                       static_cast<uint8_t>(ports[i].vlan.size()), false});
    }
    xdp_->load(specs, {});
  }
  ~Loaded() {
    if (program_ >= 0) close(program_);
    if (cpus_ != nullptr) munmap(cpus_, cpus_bytes());
    xdp_.reset();
    try {
      xdp::Engine::detach(pins);
    } catch (const std::exception&) {
      // the mount goes with the process
    }
  }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;

  [[nodiscard]] bool fits(uint64_t flows, const std::vector<PortSetup>& ports) const {
    return flows == flows_ && std::equal(ports.begin(), ports.end(), ports_.begin(), ports_.end(),
                                         [](const PortSetup& a, const PortSetup& b) {
                                           return a.mac == b.mac && a.vlan.size() == b.vlan.size();
                                         });
  }
  // An empty table, counters at 0.
  flow::Storage::Mapped begin() {
    const xdp::TableMemory table = xdp_->table();
    static_cast<teal_head*>(table.base)->magic = 0;
    if (cpus_ != nullptr) std::memset(cpus_, 0, cpus_bytes());
    return {table.base, table.bytes, "the case's table", false};
  }
  // The first time attaches and pins.
  void publish(const model::Snapshot& next) {
    xdp_->publish(next);
    if (program_ >= 0) return;
    program_ = open_pin("program");
    const int cpus = open_pin("cpus");
    void* at = mmap(nullptr, cpus_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, cpus, 0);
    close(cpus);
    if (at == MAP_FAILED) throw std::runtime_error("cannot map the counters");
    cpus_ = at;
  }

  [[nodiscard]] const xdp::Engine& engine() const { return *xdp_; }
  [[nodiscard]] int program() const { return program_; }
  [[nodiscard]] uint32_t ifindex(uint16_t port) const { return ifindex_.at(port); }

 private:
  static int open_pin(const std::string& name) {
    const int fd = bpf_obj_get((pins + ("/" + name)).c_str());
    if (fd < 0) throw std::runtime_error("no " + name + " is pinned after the first publish");
    return fd;
  }
  static size_t cpus_bytes() { return static_cast<size_t>(libbpf_num_possible_cpus()) * sizeof(teal_xdp_cpu); }

  uint64_t flows_;
  std::vector<PortSetup> ports_;
  std::unique_ptr<xdp::Engine> xdp_;
  std::array<uint32_t, ring_ports> ifindex_{};
  int program_ = -1;
  void* cpus_ = nullptr;
};

std::unique_ptr<Loaded>& loaded() {
  static std::unique_ptr<Loaded> only;
  return only;
}

Loaded& load(uint64_t flows, const std::vector<PortSetup>& ports) {
  if (!loaded() || !loaded()->fits(flows, ports)) {
    loaded().reset();  // its pins go first
    loaded() = std::make_unique<Loaded>(flows, ports);
  }
  return *loaded();
}

class XdpEngine final : public PipelineEngine {
 public:
  XdpEngine(Loaded& loaded, uint64_t flows, const teal_secret& secret)
      : PipelineEngine(std::make_unique<flow::Storage>(loaded.begin(), flows), secret), flows_(flows), loaded_(loaded) {
    for (uint16_t i = 0; i < most_services; i++) loaded_.engine().add_signals(i, former_[i]);
  }

  std::vector<Output> run(uint16_t port, const std::vector<Bytes>& frames) override {
    std::vector<Output> out;
    for (const Bytes& frame : frames) one(port, frame, out);
    std::stable_sort(out.begin(), out.end(), [](const Output& a, const Output& b) {
      return std::pair(a.kernel, a.port) < std::pair(b.kernel, b.port);
    });
    return out;
  }

  Counts counts() const override {
    Counts out = PipelineEngine::counts();
    xdp::Engine::Totals totals;
    loaded_.engine().add_totals(totals);
    for (size_t i = 0; i < out.drop.size(); i++) out.drop[i] += totals.drop[i];
    for (const teal_event received : {TEAL_EV_rx_packets, TEAL_EV_rx_bytes}) out.event[received] = 0;  // of punted ones
    for (size_t i = 0; i < out.event.size(); i++) out.event[i] += totals.event[i];
    out.drop[TEAL_DROP_truncated] += runts_;
    out.event[TEAL_EV_rx_packets] += runts_;
    out.event[TEAL_EV_rx_bytes] += runt_bytes_;
    out.drop[TEAL_DROP_punt_lost] -= punted_;  // every one was given to the pipeline here
    out.event[TEAL_EV_punted] += punted_;
    for (size_t i = 0; i < out.service.size() && i < totals.service.size(); i++) {
      teal_service_counts& to = out.service[i];
      const teal_service_counts& from = totals.service[i];
      for (int pool = 0; pool < 2; pool++) to.new_flows[pool] += from.new_flows[pool];
      to.untracked += from.untracked;
      to.recovered += from.recovered;
      to.moved += from.moved;
    }
    if (out.signals.size() > most_services) throw std::runtime_error("a case has at most 63 services");
    for (uint16_t i = 0; i < out.signals.size(); i++) {
      Signals now{};
      loaded_.engine().add_signals(i, now);
      for (size_t k = 0; k < now.size(); k++) add_since(out.signals[i][k], former_[i][k], now[k]);
    }
    for (size_t i = 0; i < out.backend.size() && i < totals.backend.size(); i++) {
      out.backend[i].packets += totals.backend[i].packets;
      out.backend[i].bytes += totals.backend[i].bytes;
    }
    return out;
  }

 private:
  void published(const model::Snapshot& next) override {
    if (!loaded_.fits(flows_, world().ports)) throw std::runtime_error("the ports have changed");
    loaded_.publish(next);
  }

  [[nodiscard]] uint64_t lost() const {
    xdp::Engine::Totals totals;
    loaded_.engine().add_totals(totals);
    return totals.drop[TEAL_DROP_punt_lost];
  }

  void one(uint16_t port, const Bytes& frame, std::vector<Output>& out) {
    if (frame.size() < ETH_HLEN) {  // the kernel runs no program on one; on a wire there is none
      runts_++;
      runt_bytes_ += frame.size();
      return;
    }
    xdp_md context{};
    context.data_end = static_cast<uint32_t>(frame.size());
    context.ingress_ifindex = loaded_.ifindex(port);
    Bytes& after = after_;
    after.resize(largest_frame);
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<uint32_t>(frame.size());
    options.data_out = after.data();
    options.data_size_out = static_cast<uint32_t>(after.size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    if (const int error = bpf_prog_test_run_opts(loaded_.program(), &options); error != 0)
      throw std::runtime_error("BPF_PROG_TEST_RUN of " + std::to_string(frame.size()) +
                               " bytes: " + std::strerror(-error));
    after.resize(options.data_size_out);
    switch (options.retval) {
      case XDP_DROP:
        if (const uint64_t lost_now = lost(); lost_now != punted_) {
          if (lost_now != punted_ + 1) throw std::runtime_error("one packet was punted more than once");
          punted_ = lost_now;
          if (after != frame) throw std::runtime_error("the program changed a packet that it leaves to a worker");
          for (Output& o : PipelineEngine::run(port, {frame})) out.push_back(std::move(o));
        }
        return;
      case XDP_PASS:
        out.push_back({true, port, after});
        return;
      case XDP_TX:
      case XDP_REDIRECT: {
        const uint16_t by = sender(after);
        if ((by == port) != (options.retval == XDP_TX))
          throw std::runtime_error(std::string(options.retval == XDP_TX ? "XDP_TX" : "XDP_REDIRECT") +
                                   " of a frame of port " + std::to_string(port) + " under the MAC address of port " +
                                   std::to_string(by));
        out.push_back({false, by, after});
        return;
      }
      default:
        throw std::runtime_error("the program returned " + std::to_string(options.retval) + " (XDP_ABORTED is 0)");
    }
  }

  // A test run redirects nothing, but the frame's source address tells by which port it would leave.
  [[nodiscard]] uint16_t sender(const Bytes& frame) const {
    for (uint16_t i = 0; i < world().ports.size(); i++)
      if (frame.size() >= 12 && std::equal(world().ports[i].mac.begin(), world().ports[i].mac.end(), &frame[6]))
        return i;
    throw std::runtime_error("a frame was sent under no port's MAC address");
  }

  // Signals count on from engine to engine: their map is the loaded program's own, and pinned nowhere.
  static void add_since(teal_signal_counts& to, const teal_signal_counts& before, const teal_signal_counts& now) {
    to.begun += now.begun - before.begun;
    to.handshakes += now.handshakes - before.handshakes;
    to.syn_retransmits += now.syn_retransmits - before.syn_retransmits;
    to.refused += now.refused - before.refused;
    to.early_resets += now.early_resets - before.early_resets;
    to.resets += now.resets - before.resets;
    for (size_t i = 0; i < TEAL_HANDSHAKE_BUCKETS; i++) to.handshake[i] += now.handshake[i] - before.handshake[i];
  }

  static constexpr uint16_t most_services = 64;
  uint64_t flows_;
  Loaded& loaded_;
  std::array<Signals, most_services> former_{};
  Bytes after_;
  uint64_t runts_ = 0, runt_bytes_ = 0, punted_ = 0;
};

bool run_command(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

std::string failed(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

}  // namespace

std::string start_xdp() {
  if (geteuid() != 0) return "XDP needs root";
  if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return failed("no namespaces of its own (unshare)");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return failed("no mounts of its own");
  if (mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr) != 0) return failed("cannot mount a bpffs at /sys/fs/bpf");
  // The interfaces stay down: nothing but the tests' frames reaches the program.
  for (unsigned i = 0; i < ring_ports; i++)
    if (!run_command("ip link add " + device(i) + " type veth peer name peer" + std::to_string(i)))
      return "cannot make a veth interface (ip link add)";
  // Two instructions, so that a program of ours that is refused is a failure and not a skip.
  const bpf_insn pass[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  const int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "teal_can", "GPL", pass, 2, nullptr);
  if (fd < 0) return failed("the kernel loads no XDP program");
  close(fd);
  return {};
}

std::unique_ptr<Engine> make_xdp_engine(uint64_t flows, const teal_secret& secret,
                                        const std::vector<PortSetup>& ports) {
  return std::make_unique<XdpEngine>(load(flows, ports), flows, secret);
}

void stop_xdp() {
  loaded().reset();
}

}  // namespace teal::tests
