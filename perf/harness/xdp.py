# SPDX-License-Identifier: Apache-2.0
"""The XDP program's whole path: perf/teal-xdp-bench (BPF_PROG_TEST_RUN through a wrapper that restores the packet and
varies the flow; floors: the wrapper alone, an empty program, the kernel's LRU hash)."""
import json
import os
import tempfile

from paths import program, run

TARGETS = ["perf/teal-xdp-bench"]


def run_part(context):
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
