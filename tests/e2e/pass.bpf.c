/* SPDX-License-Identifier: Apache-2.0
 *
 * For the far end of a veth whose near end answers by XDP_TX: the kernel (veth_xdp_flush) wakes that end's NAPI only
 * where a program is attached, otherwise the frames lie in its ring until something else wakes it.
 */
/* bpf/ needs linux/ before it. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

SEC("xdp.frags")
int pass(struct xdp_md* ctx) {
  (void)ctx;
  return XDP_PASS;
}
