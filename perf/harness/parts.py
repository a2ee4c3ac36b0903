# SPDX-License-Identifier: Apache-2.0
"""The parts of a run, in order, and what each is given."""
import cutover
import cutover_load
import floors
import memory
import micro
import paths
import peers
import worker
import xdp

ALL = {"micro": micro, "worker": worker, "floors": floors, "xdp": xdp, "cutover": cutover, "load": cutover_load, "peers": peers, "memory": memory}


class Context:
    """What a part measures with: `quick`, rounds(), `results`, say(), `tsc_ghz`."""

    def __init__(self, quick, rounds, results, say):
        self.quick, self.results, self.say = quick, results, say
        self._rounds = rounds
        self.speed = []
        self.tsc_ghz = 0.0

    def rounds(self, full, quick=3):
        return self._rounds or (quick if self.quick else full)


def targets(chosen):
    """What ninja must make for these parts."""
    return sorted({t for name in chosen for t in ALL[name].TARGETS} | {"perf/teal-bench"})


def yardstick(context):
    """One look at the machine's own speed: cycles for a fixed piece of work (the lowest seen is the fast phase)."""
    out = paths.run_json(paths.program("perf", "teal-bench"), "--benchmark_filter=^Yardstick", "--benchmark_format=json",
                         "--benchmark_min_time=0.05")
    context.speed.append(out["benchmarks"][0]["cycles"])
    context.tsc_ghz = out["benchmarks"][0]["tsc_per_ns"]


def finish(context):
    if context.speed:
        context.results.head["machine"]["tsc_ghz"] = context.tsc_ghz
        context.results.add("yardstick", "cycles for a fixed piece of work, before each part", context.speed, "cycles")
