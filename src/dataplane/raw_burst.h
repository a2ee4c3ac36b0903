// SPDX-License-Identifier: Apache-2.0
// Bursts of packet buffers in and out of a RawQueue, with the calling conventions of rte_eth_rx_burst and
// rte_eth_tx_burst. The bytes are copied.
#pragma once

#include <rte_mbuf.h>

#include "dataplane/counters.h"
#include "dataplane/raw_port.h"

namespace teal::dataplane {

// Takes at most `max` frames (at most 64) into buffers of `pool`, chained where one has no room for the frame. Frames
// for which there is no buffer are counted no_room.
unsigned receive_raw(RawQueue& queue, rte_mempool* pool, rte_mbuf** packets, unsigned max, Counters& counters);

// Sends and frees; what the queue does not take, even after a flush, stands at packets[result] to packets[count - 1]
// afterwards, in order. At most 64.
unsigned send_raw(RawQueue& queue, rte_mbuf** packets, unsigned count);

}  // namespace teal::dataplane
