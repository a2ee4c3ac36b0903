# SPDX-License-Identifier: Apache-2.0
"""The XDP program's whole path: perf/teal-xdp-bench (BPF_PROG_TEST_RUN through a wrapper that restores the packet and
varies the flow; floors: the wrapper alone, an empty program, the kernel's LRU hash), and packets a second of live frames on
veth by perf/teal-xdp-live, in turns with a program that only sends them back."""
import json
import os
import tempfile

from paths import program, run

TARGETS = ["perf/teal-xdp-bench", "perf/teal-xdp-live"]


def run_part(context):
    _test_run(context)
    _live(context)


def _live(context):
    with tempfile.TemporaryDirectory(prefix="teal-perf-") as directory:
        out = os.path.join(directory, "live.json")
        run(program("perf", "teal-xdp-live"), "--rounds", context.rounds(9), "--packets", (1 << 18) if context.quick else 1 << 22,
            "--json", out, timeout=3600, skip_code=77)
        with open(out, encoding="utf-8") as file:
            rows = json.load(file)["rows"]
    for row in rows:
        for name, key in (("bare XDP_TX", "bare_mpps"), ("teal nat", "teal_mpps")):
            context.results.add("xdp", f"live frames on veth: {name}", row[key], "Mpps", "more", flows=row["flows"])


def _test_run(context):
    with tempfile.TemporaryDirectory(prefix="teal-perf-") as directory:
        out = os.path.join(directory, "xdp.json")
        run(program("perf", "teal-xdp-bench"), *(["--quick"] if context.quick else []), "--rounds", context.rounds(9),
            "--json", out, timeout=7200, skip_code=77)
        with open(out, encoding="utf-8") as file:
            document = json.load(file)
    for row in document["rows"]:
        context.results.add("xdp", row["subject"], row["net_ns"], "ns a packet", floor=row["floor_ns"], flows=row["flows"])
    for other, wait in document["synchronize"].items():
        context.results.add("xdp", "publisher's wait for running programs, median", [wait["median_us"]], "us", other_cpu=other,
                            tail={"50": wait["median_us"], "99": wait["p99_us"], "100": wait["max_us"]})
    context.results.note("xdp", f"{document['verified_instructions']} instructions verified, {document['jit_bytes']} bytes of "
                         f"machine code; table for {document['table_flows']} flows")
