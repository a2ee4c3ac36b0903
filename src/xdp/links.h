// SPDX-License-Identifier: Apache-2.0
// The program on its interfaces, by pinned links: attached anew, or put in the place of an earlier teald's program in
// one step.
#pragma once

#include <vector>

#include "pins.h"
#include "xdp/engine.h"

namespace teal::xdp {

// Attaches the program to every port and pins the links. A link that an earlier teald left on the same interface in the
// same mode is given the program; links of interfaces that are no port any more are removed. When a port refuses, those
// that were attached anew are let go and those that were updated have their former program back; throws
// std::runtime_error that names the port and what to do.
void attach_ports(const Pins& pins, const std::vector<PortSpec>& ports, int program_fd);

// How a program is attached to the interface. id 0: none.
struct Attachment {
  uint32_t program_id = 0;
  bool generic = false;
};
Attachment attached(int ifindex);

uint32_t program_id(int program_fd);

}  // namespace teal::xdp
