# SPDX-License-Identifier: Apache-2.0
"""Two programs that share one CPU: their rows side by side. What is compared is low in each program's rounds (a fifth are lower), of
what is measured and of its floor: the rounds that the host left in peace."""
import json
import os
import statistics
import subprocess
import tempfile

from paths import Failed

PACKETS = 65536  # a round: some ten milliseconds, so that both programs see many of each phase
TIMEOUT_S = 900


def low(figures):
    return sorted(figures)[len(figures) // 5]


def net(row):
    return low(row["raw_cycles"]) - low(row["floor_cycles"])


def low_times_bare(row):
    """What it costs as a multiple of the bare cost, None where that was not measured."""
    return net(row) / low(row["model_cycles"]) if row.get("model_cycles") else None


def ratios(old, new):
    """Rows of two documents of teal-worker-bench --json -> [(subject, IP, percent of SYNs, figures)], of bursts of 32 and what both have."""
    def key(row):
        return tuple(row[k] for k in ("subject", "forward", "ip", "flows", "services", "backends", "burst", "syn_percent"))
    there = {key(row): row for row in new["rows"]}
    out = []
    for row in old["rows"]:
        if row["burst"] != 32 or key(row) not in there:
            continue
        other = there[key(row)]
        figures = {"old": net(row), "new": net(other), "ratio": net(other) / net(row), "times_bare": low_times_bare(other),
                   "of_medians": statistics.median(other["net_cycles"]) / statistics.median(row["net_cycles"])}
        name = row["subject"] + (f", {row['services']} services" if row["services"] > 1 else "") + (
            f", {row['backends']} backends" if row["backends"] > 4 else "")
        out.append((name, row["ip"], row["syn_percent"], figures))
    return out


def measure(programs, only, flows, rounds, cpu, load):
    """-> the documents of both. SCHED_BATCH: time slices long enough that the caches are each program's own."""
    with tempfile.TemporaryDirectory(prefix="teal-perf-") as directory:
        files = [os.path.join(directory, f"{i}.json") for i in range(len(programs))]
        running = [subprocess.Popen(["taskset", "-c", str(cpu), "chrt", "-b", "0", program, "--flows", str(flows), "--load",
                                     str(load), "--rounds", str(rounds), "--packets", str(PACKETS), "--only", only, "--json", file],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                   for program, file in zip(programs, files)]
        try:
            for process, program in zip(running, programs):
                said = process.communicate(timeout=TIMEOUT_S)[1]
                if process.returncode != 0:
                    raise Failed(f"{program}: exit {process.returncode}: {said.strip()[-300:]}")
        except subprocess.TimeoutExpired as error:
            raise Failed(f"not finished after {TIMEOUT_S} s") from error
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        documents = []
        for file in files:
            with open(file, encoding="utf-8") as opened:
                documents.append(json.load(opened))
        return documents
