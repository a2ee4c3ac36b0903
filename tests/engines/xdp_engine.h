// SPDX-License-Identifier: Apache-2.0
// The XDP program as an Engine: the real loader, publisher and program, every frame by BPF_PROG_TEST_RUN; what it
// leaves to a worker goes through a Pipeline over the same table.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engines/engine.h"

namespace teal::tests {

// A network namespace with interfaces and a bpffs, the process's own and gone with it: once a process, before EAL and
// any thread. Empty, or why this machine or user can have no XDP.
std::string start_xdp();

// As make_dpdk_engine(); `ports` as in every world that it will be given. One at a time. Loading the program takes a
// third of a second: the next engine with as many flows and the same ports takes over the loaded one, with an empty
// table.
std::unique_ptr<Engine> make_xdp_engine(uint64_t flows, const teal_secret& secret, const std::vector<PortSetup>& ports);
// Detaches and forgets the loaded program.
void stop_xdp();

}  // namespace teal::tests
