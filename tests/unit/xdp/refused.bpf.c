// SPDX-License-Identifier: Apache-2.0
// A program that no verifier takes: it reads a packet without asking how long it is.
#include "maps.h"

SEC("xdp.frags")
int teal_xdp(struct xdp_md* ctx) {
  uint32_t zero = 0;
  if (!bpf_map_lookup_elem(&teal_table, &zero) || !bpf_map_lookup_elem(&teal_cpus, &zero)) return XDP_PASS;
  return *(const volatile uint8_t*)(long)ctx->data ? XDP_PASS : XDP_DROP;
}
