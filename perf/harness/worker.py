# SPDX-License-Identifier: Apache-2.0
"""A DPDK worker's whole path: perf/teal-worker-bench, whose rows alternate with their floors inside it."""
import json
import os
import tempfile

import bare
from paths import program, run
from results import short

TARGETS = ["perf/teal-worker-bench"]


def run_bench(context, *options):
    with tempfile.TemporaryDirectory(prefix="teal-perf-") as directory:
        out = os.path.join(directory, "worker.json")
        run(program("perf", "teal-worker-bench"), *options, "--rounds", context.rounds(9), "--json", out, timeout=7200)
        with open(out, encoding="utf-8") as file:
            return json.load(file)


def run_part(context):
    document = run_bench(context, *(["--quick"] if context.quick else []))
    for row in document["rows"]:
        params = {k: row[k] for k in ("ip", "flows", "services", "backends", "burst", "syn_percent")}
        context.results.add("worker", row["subject"], row["net_cycles"], "cycles a packet", floor=row["floor_cycles"], **params)
        if "model_cycles" in row:
            context.results.add("worker", f"{row['subject']}: bare cost", row["model_cycles"], "cycles a packet", floor=row["floor_cycles"],
                                **params)
            found = context.results.add("worker", f"{row['subject']}, times its bare cost", bare.times(row), "times", **params)
            asked = bare.asked(row["forward"], row["flows"])
            if asked:
                context.results.note("worker", f"{row['subject']} at {short(row['flows'])} flows: {found['median']:.2f} times its bare cost, "
                                     f"asked for: {asked:.2f}")
    for row in document["scaling"]:
        context.results.add("worker", f"two workers against one: {row['subject']}", row["speedup"], "times", "more", flows=row["flows"])
    beside = document["beside"]
    if beside:
        context.results.add("worker", "what a packet costs more beside a sweep without pauses", beside["sweep_percent"], "%",
                            flows=beside["sweep_flows"])
        context.results.add("worker", "what a packet costs more beside teald's sweep", beside["paced_sweep_percent"], "%",
                            flows=beside["sweep_flows"])
        figures = beside["churn_mflows_per_s"]
        fifth = max(1, len(figures) // 5)
        for name, part in (("first", figures[:fifth]), ("last", figures[-fifth:])):
            context.results.add("worker", f"new flows while a sweep deletes them, {name} fifth", part, "M/s", "more",
                                deleted_after=int(beside["churn_clock_per_s"]))
        context.results.note("worker", f"{beside['churn_untracked']} of the flows that came and went found no place in the table")
    if not document["scaling"]:
        context.results.skip("worker", "two workers against one", "one CPU")
    context.results.add("worker", "yardstick between rounds", document["yardstick_cycles"], "cycles")
    context.results.note("worker", f"table {document['load_percent']} % full; TSC {document['tsc_per_ns']:.3f} GHz; "
                         f"{document['packets_a_round']} packets a round")
