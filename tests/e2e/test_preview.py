# SPDX-License-Identifier: Apache-2.0
"""The standby pool before a switch: chosen clients, a second VIP or port lead there, and production is left alone."""
import json
import time

import load
import servers
import topology
from common import await_service, start, switch
from releases import addresses, ask, ctl, pool_of, which
from world import check, until

def clients(world, kind):
    at = topology.two_ports(world, kind)
    servers.nginx(at)
    addresses(at, "10.1.0.3", "10.1.0.17", "10.1.0.18", "fd01::3", "fd01::a:1", "fd01::a:2")
    teald = start(at, [at.service("web", group="web", preview={"clients": ["10.1.0.3"]}),
                       at.service("web6", family=6, group="web", preview={"clients": ["fd01::3"]})],
                  timeouts={"closing_s": 1, "half_open_s": 1})
    await_service(at)
    await_service(at, family=6)
    hold = load.Observer(at, "hold", count=4, interval_s=0.05)
    churn = load.Observer(at, "churn", count=1, interval_s=0.01)

    def expect(wanted):
        for source, pool in wanted.items():
            name = "web6" if ":" in source else "web"
            got = pool_of(at, source)
            check(got == pool, f"{source} reaches {got or 'nobody'}, expected {pool}")
            # A port that the kernel gives to no connection, so that no flow of this test has an entry for it.
            told = which(teald, name, f"[{source}]:4000" if ":" in source else f"{source}:4000")
            why = "preview" if pool == standby else "split"
            check(told["pool"] == pool and told["why"] == why, f"which says of {source}: {told}, expected {pool} by {why}")

    standby = "green"  # what preview leads to
    expect({"10.1.0.2": "blue", "10.1.0.3": "green", "fd01::2": "blue", "fd01::3": "green"})
    # Live, by tealctl: a prefix within a prefix, then the longer one alone, then nobody.
    kept = load.Observer(at, "hold", count=1, interval_s=0.05, source="10.1.0.3")
    until(lambda: "10.1.0.3:" in json.dumps(teald.get("/v1/flows?service=web&pool=green&state=established")), 5, "the preview client has a flow")
    text = ctl(teald, "preview", "web", "--set", "10.1.0.16/28,10.1.0.17/32")
    check("10.1.0.16/28" in text and "green" in text, f"tealctl preview says {text}")
    ctl(teald, "preview", "web6", "--set", "fd01::a:0/112")
    expect({"10.1.0.2": "blue", "10.1.0.3": "blue", "10.1.0.17": "green", "10.1.0.18": "green",
              "fd01::3": "blue", "fd01::a:1": "green", "fd01::a:2": "green"})
    ctl(teald, "preview", "web", "--set", "10.1.0.17/32")
    teald.ask("PUT", "/v1/services/web6/preview", {"clients": ["fd01::a:1"]})
    expect({"10.1.0.17": "green", "10.1.0.18": "blue", "fd01::a:1": "green", "fd01::a:2": "blue"})
    check(teald.get("/v1/services/web/preview")["changed_live"], "the change is not shown as a live one")
    check("by preview" in ctl(teald, "which", "web", "10.1.0.17:4000"), "tealctl which does not say preview")
    windows, asked = [], time.time_ns() - 100_000_000
    switch(teald, windows, "green")
    standby = ""
    # While blue drains, nothing is added to it; then it is the standby pool, and the preview leads there.
    expect({"10.1.0.2": "green", "10.1.0.17": "green", "fd01::a:1": "green"})
    requests = load.check_held(hold.result(), "blue")
    load.check_held(kept.result(), "green")  # begun as a preview client, and so it stays
    until(lambda: not teald.service()["draining"], 10, "blue has drained")
    standby = "blue"
    expect({"10.1.0.2": "green", "10.1.0.17": "blue", "10.1.0.18": "green", "fd01::2": "green", "fd01::a:1": "blue"})
    check(teald.get("/v1/services/web/preview")["pool"] == "blue", "preview says another pool than blue")
    connections, inside = load.check_churn(churn.result(), [(0, asked, "blue"), *windows])
    teald.check_ledger()
    return f"{connections} connections of production, {inside} of them judged, {requests} kept requests"


def test_clients(world):
    """Client prefixes on the production VIP, IPv4 and IPv6, changed live; production is not touched; roles turn."""
    return clients(world, "af_packet")


def test_clients_xdp(world):
    return clients(world, "xdp")


def second(world, kind):
    at = topology.two_ports(world, kind)
    servers.nginx(at)
    addresses(at, "10.1.0.3")
    teald = start(at, [at.service("web", preview={"vip": "10.1.0.101"}),
                       at.service("web6", family=6, preview={"vip": "fd01::101", "port": 8081}),
                       at.service("api", port=81, preview={"port": 8080}, pools={
                           pool: [b | {"port": 80} for b in at.pool(pool)] for pool in ("blue", "green")})])
    await_service(at)
    await_service(at, family=6)
    ways = {"web": ({"host": "10.1.0.100"}, {"host": "10.1.0.101"}),
            "web6": ({"host": "fd01::100"}, {"host": "fd01::101", "port": 8081}),
            "api": ({"port": 81}, {"port": 8080})}
    until(lambda: ask(at, **ways["web"][1]), 10, "the preview VIP answers")
    active, standby = "blue", "green"
    for _ in range(3):
        for name, (production, preview) in ways.items():
            source = "fd01::2" if name == "web6" else "10.1.0.2"
            for way, pool in ((production, active), (preview, standby)):
                got = {pool_of(at, source, **way) for _ in range(4)}
                check(got == {pool}, f"{name} at {way} reaches {got}, expected {pool} alone")
        for name in ways:
            switch(teald, [], standby, name)
        active, standby = standby, active
    check(ask(at, host="10.1.0.101", port=8080) == "", "a preview VIP answers on a port that is nobody's")
    shown = teald.service("web@preview")
    check(shown["vip"] == "10.1.0.101" and shown["active"] == standby, f"web@preview is shown as {shown['vip']}, {shown['active']}")
    teald.check_ledger()


def test_vip_and_port(world):
    """A preview VIP, a preview port and both together lead to the standby pool, whichever that is."""
    return second(world, "af_packet")


def test_vip_and_port_xdp(world):
    return second(world, "xdp")
