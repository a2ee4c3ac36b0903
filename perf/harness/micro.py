# SPDX-License-Identifier: Apache-2.0
"""The single steps of the packet path and of the control thread: perf/teal-bench, by Google Benchmark."""
import re

from paths import Failed, program, run_json

TARGETS = ["perf/teal-bench"]


def run_part(context):
    """Repetitions of all benchmarks are interleaved at random; cycles by TSC over the thread's CPU time."""
    wanted = "-Yardstick|flows:(4000000|16000000)" if context.quick else "-Yardstick"
    rounds = context.rounds(7)
    out = run_json(program("perf", "teal-bench"), f"--benchmark_filter={wanted}", "--benchmark_format=json",
                   f"--benchmark_repetitions={rounds}", "--benchmark_enable_random_interleaving=true",
                   f"--benchmark_min_time={0.02 if context.quick else 0.2}", timeout=7200)
    by_name, units, notes = {}, {}, {}
    for entry in out["benchmarks"]:
        if entry["run_type"] != "iteration":
            continue
        if entry.get("error_occurred"):
            raise Failed(f"{entry['name']}: {entry['error_message']}")
        name = entry["run_name"]
        by_name.setdefault(name, []).append(_figure(entry))
        units[name] = entry["label"] if entry.get("label") else "ns"
        notes[name] = {k: entry[k] for k in ("unplaced", "displaced", "bytes_per_flow") if k in entry}
    for name, figures in by_name.items():
        subject, params = _split(name)
        context.results.add("micro", subject, figures, units[name], **params)
        if notes[name].get("unplaced"):
            context.results.note("micro", f"{name}: {notes[name]['unplaced']:.0f} keys found no place")


def _figure(entry):
    """Nanoseconds an item (of a million: as many milliseconds); milliseconds where the label says so."""
    ns = entry["cpu_time"] * {"ns": 1, "us": 1e3, "ms": 1e6}[entry["time_unit"]]
    if entry.get("label") == "ms":
        return ns / 1e6
    return 1e9 / entry["items_per_second"] if entry.get("items_per_second") else ns


def _split(name):
    """Hit/flows:1000/load:50 -> ("Hit", {"flows": 1000, "load": 50})"""
    subject, *rest = name.split("/")
    params = {}
    for word in rest:
        match = re.fullmatch(r"([a-z_]+):(\d+)", word)
        if match:
            params[match[1]] = int(match[2])
    return subject, params
