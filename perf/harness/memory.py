# SPDX-License-Identifier: Apache-2.0
"""What a flow, a service and a backend take of memory, and how long teald takes to start, empty and with a full table."""
import os
import signal
import time

import e2e
from paths import Failed, program, run

TARGETS = ["src/teald/teald", "perf/teal-fill"]


def run_part(context):
    capacities = (1_000_000,) if context.quick else (1_000_000, 4_000_000, 16_000_000)
    many = 100 if context.quick else 1000
    rounds = context.rounds(5, 3)
    for flows in capacities:
        _table(context, flows, rounds)
    base, more, wide = [], [], []
    for _ in range(1 if context.quick else rounds):
        base.append(_rss(services=1, backends=4))
        more.append(_rss(services=1 + many, backends=4))
        wide.append(_rss(services=1, backends=4 + 4 * many))
    add = context.results.add
    add("memory", "resident memory of teald with one service of 4 backends", base, "bytes")
    add("memory", "a backend more", [(w - b) / (4 * many) for b, w in zip(base, wide)], "bytes", backends=4 * many)
    # A service comes with its 4 backends.
    add("memory", "a service more, with its 4 backends and two Maglev tables", [(m - b) / many for b, m in zip(base, more)],
        "bytes", services=many)
    context.results.note("memory", "resident memory counts what was touched of the packet buffers (engine.packet_memory_mib, 64 MiB "
                         "here) and of the table; transparent huge pages move it by some MiB from start to start; "
                         "a service's Maglev tables are 131,074 bytes a pool")


def _config(at, flows, services=1, backends=4):
    def pool(first):
        return [{"address": f"10.2.{1 + (first + i) // 250}.{1 + (first + i) % 250}", "name": f"b{first + i}"} for i in range(backends // 2)]
    return {"engine": {"flows": flows, "packet_memory_mib": 64},
            "ports": at.ports, "services": [
                {"name": f"s{i}", "vip": at.vip(), "port": 1000 + i, "pools": {"blue": pool(0), "green": pool(backends // 2)}}
                for i in range(services)]}


def _started(teald):
    """Starts it -> seconds until it answers."""
    began = time.monotonic()
    teald.process = teald.world.spawn(teald.namespace, teald.binary, "--config", teald.file, log="teald.log")
    while True:
        try:
            if teald.get("/v1/status")["pid"] == teald.process.pid:
                return time.monotonic() - began
        except OSError:
            pass
        if teald.process.poll() is not None or time.monotonic() > began + 120:
            raise Failed(f"teald did not start: {teald.log_end()}")
        time.sleep(0.002)


def _table(context, flows, rounds):
    """Bytes a flow, and starts: with a new table, and with one that is as full as it was made for."""
    with e2e.World("perf-memory") as world:
        at = e2e.topology.one_port(world)
        teald = e2e.teald.Teald(world, at.edge, _config(at, flows))
        file = teald.config["engine"]["table_file"]
        fresh, full = [], []
        for i in range(rounds):
            if os.path.exists(file):
                os.unlink(file)
            fresh.append(_started(teald))
            teald.stop()
            entered = int(run(program("perf", "teal-fill"), file, flows, flows, "s0"))
            if entered < flows * 0.99:
                raise Failed(f"teal-fill entered {entered} of {flows} flows")
            full.append(_started(teald))
            e2e.world.until(lambda: teald.census("s0")["blue"] >= entered * 0.99, 60, "the restarted teald counts its flows")
            teald.stop(signal.SIGKILL if i % 2 else signal.SIGTERM)
        taken = os.stat(file).st_blocks * 512
        add = context.results.add
        add("memory", "flow table", [taken / flows], "bytes a flow", flows=flows)
        add("memory", "start with a new table", fresh, "s", flows=flows)
        add("memory", "restart with as many flows as the table is made for", full, "s", flows=flows)


def _rss(services, backends):
    """-> resident bytes of a teald that has started."""
    with e2e.World("perf-memory") as world:
        at = e2e.topology.one_port(world)
        teald = e2e.teald.Teald(world, at.edge, _config(at, 65536, services, backends))
        _started(teald)
        time.sleep(1)
        with open(f"/proc/{teald.process.pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Rss:"))
