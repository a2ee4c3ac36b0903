# SPDX-License-Identifier: Apache-2.0
"""teald goes away and comes back under load; established flows stay where they are."""
import os
import shutil
import signal
import time

import load
import servers
import topology
from common import await_service, start, switch
from world import check, until


def restart(world, how):
    at = topology.two_ports(world)
    servers.nginx(at, rate="256k", big=2_500_000)
    teald = start(at, [at.service("web", 80, split_by="flow")])
    await_service(at)
    hold = load.Observer(at, "hold", count=12, timeout_s=20, interval_s=0.05)
    slow = load.Download(at)
    time.sleep(0.5)
    windows = []
    switch(teald, windows, "green")
    later = load.Observer(at, "hold", count=6, timeout_s=20, interval_s=0.05)
    time.sleep(0.7)
    before = teald.service()
    check(slow.running(), "the download ended before the restart: it shows nothing")
    code = teald.stop(how)
    check(code == (0 if how == signal.SIGTERM else -9), f"teald ended with {code}")
    gone = time.monotonic()
    time.sleep(0.5)
    teald.start()
    away = time.monotonic() - gone
    after = teald.service()
    check(after["generation"] == before["generation"] and after["active"] == "green",
          f"generation {before['generation']}, active green became {after['generation']}, {after['active']}")
    until(lambda: teald.service()["pools"]["blue"]["flows"] >= 12, 5, "the census knows the 12 kept flows of blue")
    time.sleep(3)  # retransmissions bridge the gap
    fresh = load.Observer(at, "churn", count=1)
    time.sleep(0.5)
    names = {name for _, name in fresh.result()["connections"]}
    check(names and all(n.startswith("green") for n in names), f"new connections after the restart are on {names}")
    requests = load.check_held(hold.result(), "blue") + load.check_held(later.result(), "green")
    slow.check(60)
    teald.check_ledger()
    check(teald.get("/v1/status")["instance"] == 2, "the instance was not counted up")
    return f"away for {away:.2f} s, {requests} requests on 18 kept connections"


def test_sigterm(world):
    """An ordinary restart: established flows, split and generation stay."""
    return restart(world, signal.SIGTERM)


def test_kill_9(world):
    """A crash: the same."""
    return restart(world, signal.SIGKILL)


def test_kill_9_often(world):
    """Killed ten times while flows begin and end: the table stays sound, kept connections live."""
    at = topology.two_ports(world)
    servers.nginx(at)
    teald = start(at, [at.service("web", 80, split_by="flow")])
    await_service(at)
    hold = load.Observer(at, "hold", count=10, timeout_s=30, interval_s=0.02)
    churn = load.Observer(at, "churn", count=6, interval_s=0, timeout_s=30)
    time.sleep(0.5)
    for _ in range(10):
        time.sleep(0.15)
        teald.stop(signal.SIGKILL)
        teald.start()
    time.sleep(4)
    requests = load.check_held(hold.result(), "blue")
    errors = churn.result()["errors"]
    check(not errors, f"{len(errors)} short connections failed: {errors[:2]}")
    teald.check_ledger()
    return f"{requests} kept requests"


def test_hugepages(world):
    """The table on hugetlbfs, packet buffers too: restart keeps the flows."""
    at = topology.two_ports(world)
    world.reserve_hugepages(160)
    servers.nginx(at)
    directory = f"/dev/hugepages/{os.path.basename(world.directory)}"
    os.makedirs(directory)
    world.on_exit(lambda: shutil.rmtree(directory))
    teald = start(at, [at.service("web", 80, split_by="flow")], memory="hugepages", table_file=f"{directory}/flows")
    await_service(at)
    hold = load.Observer(at, "hold", count=8, timeout_s=20)
    time.sleep(0.5)
    teald.stop(signal.SIGKILL)
    teald.start()
    time.sleep(2.5)
    requests = load.check_held(hold.result(), "blue")
    table = teald.get("/v1/status")["table"]
    check(table["memory"] == "hugepages", f"the table is in {table['memory']} memory")
    return f"{requests} kept requests"
