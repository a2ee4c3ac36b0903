// SPDX-License-Identifier: Apache-2.0
// The XDP engine seen from user space: the program of bpf/teal.bpf.c, its maps and its links, all pinned on a bpffs, so
// that packets go on being forwarded when the process ends, however it ends. One object a directory of pins. Every call
// comes from the control thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/address.h"
#include "model/snapshot.h"
#include "teal/xdp.h"

namespace teal::xdp {

// The flow table's mapping: a BPF array of 64-byte lines whose bytes are the file of teal/layout.h.
struct TableMemory {
  void* base = nullptr;
  uint64_t bytes = 0;
  bool found = false;  // a pinned one was adopted: a program may be working in it right now
};

struct PortSpec {
  uint16_t number = 0;  // engine's, below TEAL_XDP_PORTS
  std::string name;     // of the configuration: names the link's pin
  std::string device;   // the interface
  int ifindex = 0;
  model::Mac mac{};
  uint8_t tags = 0;      // VLAN tags that its traffic carries, taken off towards the kernel
  bool generic = false;  // XDP on the socket buffer, for drivers without native XDP
};

struct PortState {
  uint16_t number = 0;
  std::string name, device, driver;
  std::string mode;  // "native", "generic", or "none" when our program is not attached
  model::Mac mac{};
  bool link_up = false;
  unsigned rx_queues = 0, tx_queues = 0;
  uint64_t rx_packets = 0, rx_bytes = 0, tx_packets = 0, tx_bytes = 0, rx_missed = 0;  // of the interface
};

class Engine {
 public:
  struct Options {
    std::string pins = "/sys/fs/bpf/teal";  // directory on a bpffs; made when it is missing
    uint64_t table_bytes = 0;               // flow::Storage::bytes_for()
    uint32_t layout = TEAL_LAYOUT;          // expected in a table that is found
    bool migrate = false;                   // a table of another size or layout is kept as old_table()
  };

  // Takes the directory and finds or makes the flow table; nothing is loaded, attached or pinned yet. Throws
  // std::runtime_error, one line: no bpffs at that place, no capability, in use by another teald, a pinned table of
  // another size or layout, no memory.
  explicit Engine(const Options& options);
  ~Engine();  // detaches nothing: what is attached goes on forwarding
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] TableMemory table() const;
  // With Options::migrate: the table of another size or layout that is pinned, until drop_old_table().
  [[nodiscard]] std::optional<TableMemory> old_table() const;
  void drop_old_table();

  // Loads the program with maps of its own (flow table and counters are the ones found) and tells it the ports:
  // `xdp` are its own, `dpdk_ports` are numbers of the workers'. Call once. Throws std::runtime_error: what the kernel
  // refused, with the end of the verifier's log.
  void load(const std::vector<PortSpec>& xdp, const std::vector<uint16_t>& dpdk_ports);

  // The AF_XDP socket that takes what the program leaves to a worker. Throws std::runtime_error: a number over the
  // limits of teal/xdp.h, no socket bound to that queue.
  void set_socket(uint16_t port, uint32_t queue, int fd);

  // Makes the program decide by `next`; returns when no running program reads what was before. The first call attaches:
  // links are made or, where an earlier teald left one, given the new program in one step; pins are replaced, links
  // of ports no longer configured removed. Throws std::runtime_error before anything is changed when a count is over a
  // limit of teal/xdp.h, and when an interface refuses the program (ports attached first in this call are let go).
  void publish(const model::Snapshot& next);

  // Waits until every program that was running at the call has ended: what was stored before is then seen by all.
  // Nanoseconds waited (microseconds in all).
  uint64_t synchronize();

  struct Totals {
    std::array<uint64_t, TEAL_DROP_COUNT> drop{};
    std::array<uint64_t, TEAL_EV_COUNT> event{};
    std::vector<teal_service_counts> service;  // by number
    std::vector<teal_backend_counts> backend;  // by number
  };
  // Adds the sums over all CPUs, as far as the published view has services and backends; they outlive restarts.
  void add_totals(Totals& totals) const;

  // Adds the signals of a service, by teal_signal_index(), over all CPUs, since the program was loaded.
  void add_signals(uint16_t service, std::span<teal_signal_counts, 2 * TEAL_SIGNAL_GENERATIONS> sum) const;

  [[nodiscard]] std::vector<PortState> ports() const;
  [[nodiscard]] uint32_t verified_instructions() const;  // that the verifier walked; of the loaded program
  [[nodiscard]] uint32_t jit_bytes() const;

  // Removes what is pinned in the directory, and it: links (the program stops at once), program, maps with all flows.
  // Returns a line for each thing removed; none when there was nothing. Throws std::runtime_error when a running teald
  // holds it.
  static std::vector<std::string> detach(const std::string& pins);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace teal::xdp
