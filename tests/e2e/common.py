# SPDX-License-Identifier: Apache-2.0
"""What scenarios share: a world with teald and servers in it, and the cutover under load that most of them do."""
import time

import load
import servers
from teald import Teald, epoch_ns
from world import check, until


def start(at, services, **engine):
    """teald over a layout, with short timeouts for closed connections."""
    engine.setdefault("timeouts", {"closing_s": 1})
    return Teald(at.world, at.edge, {"engine": engine, "ports": at.ports, "services": services}).start()


def fetch(at, path="/name", family=4, seconds=3, port=80):
    """-> body, or "" when there was no whole answer."""
    host = at.vip() if family == 4 else f"[{at.vip(6)}]"
    return at.client.run("curl", "-gsS", "-m", seconds, f"http://{host}:{port}{path}", ok=False).stdout.strip()


def await_service(at, pool="blue", family=4, port=80):
    """The first request answered, by that pool; it may wait for neighbours to be resolved."""
    name = until(lambda: fetch(at, family=family, port=port), 15, f"a first request over IPv{family} is answered")
    check(name.startswith(pool), f"the first request is answered by {name}, expected {pool}")


def switch(teald, windows, to, service="web", rollback=False):
    """Cuts over (or back) and keeps the windows of load.judge and load.check_churn."""
    asked = time.time_ns()
    reply = teald.rollback(service) if rollback else teald.cutover(to, service)
    check(reply["changed"] and reply["active"] == to, f"the answer to the switch to {to} is {reply}")
    check(reply["adoption_ns"] < 20_000_000, f"adoption took {reply['adoption_ns'] / 1e6:.1f} ms")
    if windows:
        windows[-1] = (windows[-1][0], asked - load.ON_ITS_WAY_NS, windows[-1][2])
    windows.append((epoch_ns(reply["adopted_at"]), 1 << 62, to))
    return reply


def cutover_under_load(at, teald, family=4, step=1.2, download=True, service="web"):
    """Cutover, rollback and cutover under load: no failure, no flow moved, none on the pool just left. -> a summary."""
    await_service(at, family=family)
    vip = at.vip(family)
    hold = load.Observer(at, "hold", vip=vip, count=10)
    churn = load.Observer(at, "churn", vip=vip, count=2, interval_s=0.005)
    slow = load.Download(at, family) if download else None
    windows = []
    time.sleep(step)
    for to, back in (("green", False), ("blue", True), ("green", False)):
        switch(teald, windows, to, service, rollback=back)
        time.sleep(step)
    connections, inside = load.check_churn(churn.result(), windows)
    check(inside > 20, f"only {inside} connections began after a cutover: too few to show anything")
    requests = load.check_held(hold.result(), "blue")
    if slow:
        slow.check(30)
    teald.check_ledger()
    return f"{connections} connections, {inside} after a switch, {requests} kept requests"


def udp_under_load(at, teald, family=4, step=1.2, service="echo", port=5353):
    """UDP sockets keep their backend over cutovers, new ones follow the split, nothing is lost."""
    vip = at.vip(family)
    first = load.Observer(at, "udp", vip=vip, count=1, fresh=True, port=port)
    time.sleep(1.5)
    used = {entry.get("port") for entry in first.result()["sockets"]}  # their entries outlive them by udp_s
    kept = load.Observer(at, "udp", vip=vip, count=8, port=port)
    fresh = load.Observer(at, "udp", vip=vip, count=2, fresh=True, port=port, interval_s=0.01)
    windows = []
    time.sleep(step)
    for to, back in (("green", False), ("blue", True), ("green", False)):
        switch(teald, windows, to, service, rollback=back)
        time.sleep(step)
    sockets, inside = fresh.result()["sockets"], 0
    for entry in sorted(sockets, key=lambda e: e.get("began_ns", 0)):
        check(not entry["errors"], f"a new UDP socket failed: {entry['errors'][:1]}")
        again = entry.get("port") in used  # to teal still the same flow
        used.add(entry.get("port"))
        for adopted, end, pool in windows:
            if entry["names"] and adopted <= entry["began_ns"] < end and not again:
                inside += 1
                check(entry["names"][0].startswith(pool), f"a socket new after the switch to {pool} is on {entry['names']}")
    asked = 0
    for entry in kept.result()["sockets"]:
        check(not entry["errors"], f"a kept UDP socket lost an answer: {entry['errors'][:1]} of {entry['asked']}")
        check(len(entry["names"]) == 1 and entry["names"][0].startswith("blue"),
              f"a kept UDP socket saw {entry['names']}, expected one blue backend")
        asked += entry["asked"]
    check(inside > 20, f"only {inside} sockets began after a cutover")
    return f"{len(sockets)} new sockets, {asked} datagrams on kept ones"
