# SPDX-License-Identifier: Apache-2.0
"""What a packet costs as a multiple of its bare cost (perf/worker_model.h), measured in turns with it: on a machine that is slow, or
busy, both are. And what that multiple may be, from what was asked for where the bare cost was known."""

# (forwarding, flows): cycles asked for / cycles of the bare cost, both over their floor on one machine (TSC 2.596 GHz)
ASKED = {("nat", 1_000): (55, 36), ("nat", 1_000_000): (80, 60), ("nat", 16_000_000): (90, 75),
         ("ipip", 1_000): (45, 27), ("ipip", 1_000_000): (65, 51), ("ipip", 16_000_000): (75, 60)}


def times(row):
    """By round."""
    return [n / m for n, m in zip(row["net_cycles"], row["model_cycles"])]


def asked(forward, flows):
    """The multiple asked for, or None."""
    pair = ASKED.get((forward, flows))
    return pair and pair[0] / pair[1]
