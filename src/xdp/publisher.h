// SPDX-License-Identifier: Apache-2.0
// Puts a snapshot where the program reads: into the half of teal_published.views and teal_maglevs that no program
// reads, and then turns control.half.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <vector>

#include "grace.h"
#include "handles.h"
#include "model/snapshot.h"
#include "teal/layout.h"

namespace teal::xdp {

class Publisher {
 public:
  // `views`: both halves, mapped. `maglevs_fd`: the outer map; it must outlive the publisher.
  Publisher(teal_xdp_view* views, teal_xdp_control* control, int maglevs_fd);

  // Returns when no program reads the half before. Throws std::runtime_error, with nothing changed for the program,
  // when a count is over a limit of teal/xdp.h or the kernel refuses a Maglev table.
  void publish(const model::Snapshot& next, const teal_head& head, const Grace& grace);

  [[nodiscard]] uint32_t service_count() const { return counts_[half_].services; }
  [[nodiscard]] uint32_t backend_count() const { return counts_[half_].backends; }

 private:
  using Table = std::shared_ptr<const model::MaglevTable>;
  struct Counts {
    uint32_t services = 0, backends = 0;
  };
  void fill(uint32_t half, const model::View& from, const teal_head& head);
  void fill_maglevs(uint32_t half, const model::Snapshot& next);
  Fd make_inner(const model::MaglevTable& table);
  int empty_inner();

  teal_xdp_view* views_;
  teal_xdp_control* control_;
  int maglevs_fd_;
  Fd empty_;                                       // stands in slots whose table is gone, so that its memory is too
  std::array<std::map<uint32_t, Table>, 2> held_;  // by half: what each slot holds
  std::array<Counts, 2> counts_{};
  uint32_t half_ = 0;  // that the program reads
};

}  // namespace teal::xdp
