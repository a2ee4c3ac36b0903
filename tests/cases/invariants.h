// SPDX-License-Identifier: Apache-2.0
// What must hold of any frame, worked out from its bytes alone, with nothing of include/teal.
#pragma once

#include <string>

#include "engines/engine.h"

namespace teal::tests {

// Empty, or what is wrong with the checksums of the frame: IPv4 headers (inside a tunnel and inside an ICMP error as
// well, as far as they are there), TCP, UDP (0 in IPv4: none was made), ICMP, ICMPv6. Fragments: headers only.
std::string wrong_checksum(const Bytes& frame);

}  // namespace teal::tests
