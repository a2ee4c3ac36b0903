// SPDX-License-Identifier: Apache-2.0
// What a configuration with xdp ports needs beside the workers: the pinned table, the sockets by which the program
// leaves packets to a worker, the program itself, and flows to be carried over from a table of another size.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/raw_port.h"
#include "flow/migrate.h"
#include "flow/storage.h"
#include "flow/table.h"
#include "model/config.h"
#include "xdp/engine.h"
#include "xdp/socket.h"

namespace teal {

class FastPath {
 public:
  // Brings the interfaces up and takes or makes the table. `migrate`: one of another size or layout may be there.
  // Throws std::runtime_error, one line.
  FastPath(const model::Config& config, bool migrate);

  // In this order, each once:
  [[nodiscard]] flow::Storage::Mapped memory() const;
  void begin_migration(flow::Storage& storage);    // where there is an old table; before anything reads the new one
  std::vector<dataplane::RawPort> open_sockets();  // one a receive queue; of the dataplane from then on
  void load();                                     // the program, with its ports and sockets
  void carry_flows(flow::Storage& storage, flow::Table& table);       // right before the program is attached
  void finish_migration(flow::Storage& storage, flow::Table& table);  // right after

  [[nodiscard]] xdp::Engine& engine() { return engine_; }

 private:
  void find_interfaces();

  const model::Config& config_;
  xdp::Engine engine_;
  std::vector<xdp::PortSpec> ports_;
  std::vector<uint16_t> mtus_;                                      // by index in ports_
  std::vector<std::vector<std::shared_ptr<xdp::Socket>>> sockets_;  // by index in ports_, then by queue
  std::optional<flow::Migration> migration_;
};

// `teald --detach`: removes what is pinned in `pins` and prints what that was. Throws when a running teald holds it.
void detach(const std::string& pins);

}  // namespace teal
