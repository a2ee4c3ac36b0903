#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each room's own compile command must refuse a header of a room that it may not know (shared walls: docs/architecture.md).

Takes the command that compiled a real file of the room out of compile_commands.json, compiles the same room with one
allowed include (must pass) and with one forbidden include (must fail because the header is not found)."""
import json
import os
import shlex
import subprocess
import sys
import tempfile

source, build = sys.argv[1:3]
FORBIDDEN = {  # room: (its file, header that it may know, headers that it may not)
    "model": ("address.cc", "model/address.h", ["flow/table.h", "control/balancer.h", "rte_mbuf.h"]),
    "rollout": ("switch.cc", "model/config.h", ["flow/table.h", "dataplane/engine.h"]),
    "flow": ("table.cc", "model/config.h", ["dataplane/engine.h", "control/balancer.h", "rte_mbuf.h"]),
    "host": ("netlink.cc", "model/topology.h", ["flow/table.h", "dataplane/engine.h"]),
    "health": ("checks.cc", "model/release_config.h", ["rollout/switch.h", "flow/table.h", "dataplane/engine.h", "control/balancer.h", "rte_mbuf.h"]),
    "xdp": ("engine.cc", "model/config.h", ["flow/table.h", "dataplane/engine.h", "control/balancer.h", "rte_mbuf.h"]),
    "dataplane": ("pipeline.cc", "flow/table.h", ["control/balancer.h", "xdp/engine.h", "host/netlink.h", "telemetry/audit.h"]),
    "telemetry": ("audit.cc", "model/config.h", ["control/server.h", "dataplane/engine.h"]),
    "control": ("balancer.cc", "dataplane/engine.h", ["host/netlink.h", "rte_mbuf.h", "dataplane/../../worker.h"]),
}

commands = json.load(open(os.path.join(build, "compile_commands.json")))
failures = 0


def compiles(room, file, header):
    want = os.path.join("src", room, file)
    entry = next(c for c in commands if os.path.normpath(os.path.join(c["directory"], c["file"])).endswith(want))
    words = shlex.split(entry["command"])
    flags = [w for i, w in enumerate(words) if w not in ("-c", "-o", entry["file"]) and words[i - 1] not in ("-o", "-MF", "-MQ")
             and w not in ("-MD", "-MF", "-MQ")]
    with tempfile.TemporaryDirectory() as d:
        probe = os.path.join(d, "probe.cc")
        with open(probe, "w") as f:
            f.write(f'#include "{header}"\nint probe;\n')
        r = subprocess.run(flags + ["-fsyntax-only", probe], cwd=entry["directory"], capture_output=True, text=True)
        return r.returncode == 0, r.stderr


for room, (file, allowed, refused) in FORBIDDEN.items():
    ok, err = compiles(room, file, allowed)
    if not ok:
        failures += 1
        print(f"FAIL {room}: does not compile with {allowed}, which it may know:\n{err}")
    for header in refused:
        ok, err = compiles(room, file, header)
        # "-include rte_config.h" and system directories come with DPDK's users only
        if ok or "No such file" not in err:
            failures += 1
            print(f"FAIL {room}: {header} was not refused\n{err}")
        else:
            print(f"ok   {room}: {header} refused: {err.splitlines()[0].split(': ', 1)[-1]}")
sys.exit(1 if failures else 0)
