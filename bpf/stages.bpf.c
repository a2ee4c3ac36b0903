/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Proof that the shared definition is restricted C that clang -target bpf takes: every header, and a program that runs
 * the stages whose inputs need no map. The build compiles it; the XDP fast path grows from here.
 */
#include <linux/bpf.h>

#include "teal/decide.h"
#include "teal/layout.h"
#include "teal/parse.h"
#include "teal/quote.h"
#include "teal/route.h"

#define SEC(name) __attribute__((section(name), used))

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp.frags")
int teal_stages(struct xdp_md *ctx) {
  const uint8_t *data = (const uint8_t *)(long)ctx->data;
  const uint8_t *end = (const uint8_t *)(long)ctx->data_end;
  struct teal_pkt pkt;
  teal_parse(data, end, (uint32_t)(end - data), &pkt);
  if (pkt.kind == TEAL_KIND_BAD) return XDP_DROP;
  return XDP_PASS;
}
