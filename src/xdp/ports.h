// SPDX-License-Identifier: Apache-2.0
// What the kernel says of the interfaces, by netlink and ioctl: /sys shows another network namespace's.
#pragma once

#include <vector>

#include "xdp/engine.h"

namespace teal::xdp {

// `program`: our program's id, to tell whether it is attached. An interface that is gone is link_up false, mode "none".
std::vector<PortState> port_states(const std::vector<PortSpec>& ports, uint32_t program);

}  // namespace teal::xdp
