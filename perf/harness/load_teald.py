# SPDX-License-Identifier: Apache-2.0
"""The real teald with one port on a memif, its worker polling a CPU of its own, and teal-load at the memif's other end."""
import contextlib
import glob
import json
import os
import select
import subprocess
import time

import e2e
from dpdk_programs import remove_runtime
from paths import Failed, Skipped, program

CPU, LANE_CPU = 0, 1  # the worker's, teal-load's
RING = 4096           # descriptors each way
SLEEP_US = 50         # of teal-load at a time, where teald's control thread has no CPU but that
FLOWS, FRAMES_A_SYN = 8192, 100
OPENING_PER_S = 200_000  # frames
PORT_MAC, NEIGHBOUR_MAC = "02:00:00:00:5e:01", "02:00:00:00:5e:02"  # as perf/bench_world.h has them
BLUE, GREEN = ("192.0.2.11", "192.0.2.12"), ("192.0.2.21", "192.0.2.22")
GATEWAY = "192.0.2.1"  # clients are behind it


@contextlib.contextmanager
def apart():
    """Everything else of the run stays off the worker's CPU: with two it shares teal-load's. The run's session comes before others
    (autogroups: a thread's nice counts within its session only)."""
    before = os.sched_getaffinity(0)
    if not {CPU, LANE_CPU} <= before:
        raise Skipped(f"runs on the CPUs {sorted(before)}, expected {CPU} and {LANE_CPU} among them")
    os.sched_setaffinity(0, before - {CPU, LANE_CPU} or {LANE_CPU})
    nice = _session_nice()
    try:
        _set_session_nice(-20)
        yield
    finally:
        _set_session_nice(nice)
        os.sched_setaffinity(0, before)


def _session_nice():
    """None: this kernel has no autogroups."""
    try:
        with open("/proc/self/autogroup", encoding="ascii") as file:
            return int(file.read().split()[2])  # "/autogroup-140 nice 0"
    except (FileNotFoundError, IndexError):
        return None


def _set_session_nice(nice):
    if _session_nice() is not None:
        with open("/proc/self/autogroup", "w", encoding="ascii") as file:
            file.write(str(nice))


class Teald:
    def __init__(self, world, services):
        if not glob.glob("/usr/lib/*/dpdk/pmds-*/librte_net_memif.so*"):
            raise Skipped("DPDK's net_memif is not installed; scripts/deps")
        self.memif = world.path("memif.sock")
        self.edge = world.namespace("edge")
        pools = {p: [{"address": a, "name": f"{p}{i}"} for i, a in enumerate(addresses)]
                 for p, addresses in (("blue", BLUE), ("green", GREEN))}
        device = f"net_memif0,role=server,id=0,socket-abstract=no,mac={PORT_MAC},rsize={RING.bit_length() - 1},socket={self.memif}"
        self.teald = e2e.teald.Teald(world, self.edge, {
            "engine": {"flows": 1 << 20, "workers": 1, "cpus": [CPU], "idle": "poll", "timeouts": {"closing_s": 1}},
            "ports": [{"name": "memif0", "device": device, "addresses": ["192.0.2.2/24"]}],
            "services": [{"name": "web" if i == 0 else f"more{i}", "vip": "198.18.0.1", "port": 80 if i == 0 else 10000 + i,
                          "group": "all", "split_by": "flow", "pools": pools} for i in range(services)]})
        self.teald.start(seconds=60)
        self.edge.run("ip", "route", "replace", "default", "via", GATEWAY, "dev", "memif0")
        self._own_its_cpu()

    def _own_its_cpu(self):
        """What else the machine does on the worker's CPU waits for it, as far as that goes without isolcpus."""
        tasks = f"/proc/{self.teald.process.pid}/task"
        workers = [int(t) for t in os.listdir(tasks) if os.sched_getaffinity(int(t)) == {CPU}]
        if len(workers) != 1:
            raise Failed(f"{len(workers)} threads of teald are bound to CPU {CPU}, expected its worker")
        os.setpriority(os.PRIO_PROCESS, workers[0], -20)
        self.worker = f"{tasks}/{workers[0]}"

    def waited_ms(self):
        """How long the worker has been ready to run and had no CPU, since it began."""
        with open(f"{self.worker}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e6

    def know_neighbours(self):
        for address in (GATEWAY, *BLUE, *GREEN):
            self.edge.run("ip", "neighbour", "replace", address, "lladdr", NEIGHBOUR_MAC, "dev", "memif0")

    def counts(self):
        """-> {name: count}: what came, what left, and every reason for which a packet was dropped"""
        counters = self.teald.counters()
        port = self.teald.get("/v1/status")["ports"][0]
        return {"received": counters["events"]["rx_packets"], "missed": port["rx_missed"],
                **{f"dropped: {name}": count for name, count in counters["drops"].items()}}

    def busy_share(self):
        """Of the worker's last second."""
        return self.teald.get("/v1/status")["workers"][0]["busy_ppm"] / 1e6


class Lane:
    """teal-load, which sends when it is told to."""

    def __init__(self, world, teald, services):
        self.world = world
        world.on_exit(lambda: remove_runtime("teal-load"))
        with open(world.path("load.log"), "ab") as log:
            self.process = subprocess.Popen(
                [program("perf", "teal-load"), "--memif", teald.memif, "--control", teald.teald.socket, "--service", "web",
                 "--sleep-us", str(SLEEP_US if os.sched_getaffinity(0) == {LANE_CPU} else 0),
                 "--services", str(services), "--flows", str(FLOWS), "--frames-a-syn", str(FRAMES_A_SYN), "--ring", str(RING), "--cpu", str(LANE_CPU)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        world.processes.append(self.process)
        if (line := self._line(30)) != "ready\n":
            raise Failed(f"teal-load said {line!r}, expected \"ready\": {self._log_end()}")

    def _log_end(self):
        with open(self.world.path("load.log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-300:]

    def _line(self, seconds):
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise Failed(f"teal-load did not answer in {seconds:g} s")
        return self.process.stdout.readline()

    def renew(self):
        """All flows end, and others begin at a rate that SYNs alone may have -> the window in which they do."""
        self._say("renew")
        return self.window(OPENING_PER_S, 5 * FLOWS / OPENING_PER_S)

    def _say(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise Failed(f"teal-load ended with {self.process.wait(5)}: {self._log_end()}") from error

    def begin(self, frames_per_s, seconds, cutovers_per_s=0):
        self._say(f"window {frames_per_s:.0f} {seconds:g} {cutovers_per_s:g}")

    def result(self, seconds):
        """The outcome of the window that began, when `seconds` is how long it takes."""
        line = self._line(seconds + 60)
        if not line:
            raise Failed(f"teal-load ended with {self.process.wait(5)}: {self._log_end()}")
        outcome = json.loads(line)
        for what in ("twice", "strange"):
            if outcome[what]:
                raise Failed(f"{outcome[what]} frames came back that were {what}, expected none: {outcome}")
        return outcome

    def window(self, frames_per_s, seconds):
        self.begin(frames_per_s, seconds)
        return self.result(seconds)


def started(world, services):
    """-> (teald, lane), with frames of every flow coming back."""
    teald = Teald(world, services)
    lane = Lane(world, teald, services)
    end = time.monotonic() + 15
    while True:
        # Again and again: teald may be asking the kernel to resolve one at that very moment, which takes it away.
        teald.know_neighbours()
        outcome = lane.renew()
        if outcome["sent"] and outcome["lost"] + outcome["refused"] == 0:
            return teald, lane
        if time.monotonic() > end:
            raise Failed(f"{outcome['lost']} of {outcome['sent']} frames did not come back: {teald.teald.account()}")
