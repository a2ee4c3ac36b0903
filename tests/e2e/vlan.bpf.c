/* SPDX-License-Identifier: Apache-2.0
 *
 * An access switch: "access" tags what a machine sends (OUTER, and INNER inside of it unless 0) and sends it out of
 * the trunk, interface TO; "trunk" takes exactly these tags off and sends it to the machine. All else is dropped, so a
 * frame with wrong tags, or none, never arrives. Needed because the test kernel has no VLAN devices.
 */
/* bpf/ needs linux/ before it. */
/* clang-format off */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

SEC("access")
int put_tags(struct __sk_buff* skb) {
  if (INNER && bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), INNER)) return TC_ACT_SHOT;
  if (bpf_skb_vlan_push(skb, bpf_htons(INNER ? ETH_P_8021AD : ETH_P_8021Q), OUTER)) return TC_ACT_SHOT;
  return bpf_redirect(TO, 0);
}

SEC("trunk")
int take_tags(struct __sk_buff* skb) {
  if (!skb->vlan_present || (skb->vlan_tci & 0xfff) != OUTER) return TC_ACT_SHOT;
  if (bpf_skb_vlan_pop(skb)) return TC_ACT_SHOT;
  if (INNER) {
    if (!skb->vlan_present || (skb->vlan_tci & 0xfff) != INNER) return TC_ACT_SHOT;
    if (bpf_skb_vlan_pop(skb)) return TC_ACT_SHOT;
  }
  return bpf_redirect(TO, 0);
}

char license_name[] SEC("license") = "Dual BSD/GPL";
