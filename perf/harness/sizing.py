# SPDX-License-Identifier: Apache-2.0
"""What a run's figures say of the cores that a NIC needs: the model of docs/sizing.md."""
import math

WIRE_OVERHEAD = 20  # preamble, start of frame, gap between frames: bytes
IMIX_BYTES = (7 * 64 + 4 * 576 + 1518) / 12
RATES_GBIT = (10, 25, 100)
SIZES = {"64 bytes": 64, "IMIX": IMIX_BYTES}
PLAIN = {"ip": 4, "services": 1, "burst": 32, "syn_percent": 0}


def packets_per_s(gbit, frame_bytes):
    """A line's rate for frames of so many bytes, FCS included."""
    return gbit * 1e9 / 8 / (frame_bytes + WIRE_OVERHEAD)


def _median(document, part, subject, **params):
    rows = [r for r in document["rows"] if (r["part"], r["subject"]) == (part, subject)
            and all(r["params"].get(k) == v for k, v in params.items())]
    return rows[0]["median"] if rows else None


def cores(pps, one, more):
    """One core carries `one` packets a second, each further one `more`."""
    return 1 if pps <= one else 1 + math.ceil((pps - one) / more - 1e-9)


def table(document, subject="nat"):
    """-> [{"flows", "cycles", "mpps_a_core", "further", "cores": {(Gbit/s, size): cores}}]; empty without the figures for it."""
    io = _median(document, "floors", "testpmd io", flows=1000)
    ghz = document["machine"].get("tsc_ghz")
    if not io or not ghz:
        return []
    pair = _median(document, "worker", "two workers against one: nat") or 2.0
    out = []
    for row in document["rows"]:
        if row["part"] != "worker" or row["subject"] != subject or any(row["params"].get(k) != v for k, v in PLAIN.items()):
            continue
        if row["params"].get("backends") not in (2, 4):  # all there are of one service but in the rows that vary just that
            continue
        cycles = row["median"] + io
        one = ghz * 1e9 / cycles
        further = one * max(0.1, pair - 1)
        out.append({"flows": row["params"]["flows"], "cycles": cycles, "mpps_a_core": one / 1e6, "further": further / 1e6, "cores": {
            (gbit, name): cores(packets_per_s(gbit, size), one, further) for gbit in RATES_GBIT for name, size in SIZES.items()}})
    return sorted(out, key=lambda r: r["flows"])


def page_lines(document):
    """The table of docs/sizing.md, line by line."""
    lines = ["| | flows | cycles a packet | 1 core | 2 | 4 | 8 | 25 GbE, 64 bytes | 25 GbE, IMIX | 100 GbE, 64 bytes | 100 GbE, IMIX |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]
    for subject in ("nat", "ipip", "settled nat", "settled ipip"):
        for r in table(document, subject):
            if r["flows"] not in (1_000, 1_000_000, 16_000_000):
                continue
            carried = [r["mpps_a_core"] + r["further"] * (n - 1) for n in (1, 2, 4, 8)]
            need = [r["cores"][gbit, size] for gbit in (25, 100) for size in SIZES]
            lines.append(f"| {subject} | {r['flows']:,} | {r['cycles']:.0f} | " + " | ".join(f"{m:.1f}" for m in carried) + " | "
                         + " | ".join(map(str, need)) + " |")
    return lines


def bottleneck(rows):
    few, many = rows[0], rows[-1]
    if many["cycles"] > 1.5 * few["cycles"]:
        return (f"The first bottleneck is memory: a packet costs {many['cycles']:.0f} cycles at {many['flows']:,} flows, "
                f"{few['cycles']:.0f} at {few['flows']:,}; the flow table's line is a miss.")
    return (f"The first bottleneck is instructions: a packet costs {many['cycles']:.0f} cycles at {many['flows']:,} flows and "
            f"{few['cycles']:.0f} at {few['flows']:,}; the flow table's misses are hidden.")
