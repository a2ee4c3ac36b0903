# SPDX-License-Identifier: Apache-2.0
"""A client's later connections follow its first, over a cutover, until it has been away for the time-out."""
import re
import signal
import time

import servers
import topology
from common import await_service, start, switch
from releases import addresses, ask, ctl, in_phase, pool_of, which
from rollouts import begin as release
from world import check, until

AWAY_S = 4
SHORT = {"closing_s": 1, "half_open_s": 1}


def web(world, kind, *sources, **service):
    at = topology.two_ports(world, kind)
    at.ports[0]["addresses"][0] = "10.1.0.1/16"  # clients of several /24
    servers.nginx(at)
    addresses(at, *sources)
    service.setdefault("affinity", {"by": "client", "timeout": f"{AWAY_S}s"})
    teald = start(at, [at.service("web", **service)], timeouts=SHORT)
    await_service(at)
    return at, teald


def expect(at, pool, *sources, why=""):
    for source in sources:
        got = pool_of(at, source)
        check(got == pool, f"{source} reaches {got or 'nobody'}, expected {pool}{why}")


def pinned(teald, pool):
    return teald.service()["pools"][pool]["pinned"]


def cutover(world, kind):
    old, new = ["10.1.0.3", "10.1.0.4", "10.1.0.5"], ["10.1.0.13", "10.1.0.14"]
    at, teald = web(world, kind, *old, *new)
    expect(at, "blue", *old)
    switch(teald, [], "green")
    expect(at, "blue", *old, why=" by affinity")
    expect(at, "green", *new)
    told = which(teald, "web", "10.1.0.3:1")
    check(told["pool"] == "blue" and told["why"] == "affinity", f"which says {told}, expected blue by affinity")
    # Shown: in the API, by tealctl and as a metric. The scenario's first request came from 10.1.0.2.
    until(lambda: (pinned(teald, "blue"), pinned(teald, "green")) == (4, 2), 3, "4 clients are pinned to blue, 2 to green")
    metrics = teald.get("/metrics")
    check('teal_pinned_clients{service="web",pool="blue"} 4\n' in metrics, "the metric does not say 4")
    text = ctl(teald, "services", "web")
    check(re.search(r"PINNED\nblue .* 4\n", text), f"tealctl services does not show 4 pinned clients: {text}")
    # A crash changes nothing for those who are not away for long.
    expect(at, "blue", *old)
    teald.stop(signal.SIGKILL)
    teald.start()
    until(lambda: ask(at, "10.1.0.3"), 5, "the first request after the restart is answered")
    expect(at, "blue", *old, why=" after kill -9")
    expect(at, "green", *new, why=" after kill -9")
    # One comes again and again, for longer than the time-out; the others are away.
    gone = time.monotonic() + AWAY_S + 1
    while time.monotonic() < gone:
        expect(at, "blue", "10.1.0.3", why=": it was never away for long")
        time.sleep(0.5)
    expect(at, "green", "10.1.0.4", "10.1.0.5", why=f": it was away for more than {AWAY_S} s")
    expect(at, "blue", "10.1.0.3")
    until(lambda: pinned(teald, "blue") == 1, 3, "1 client is left pinned to blue")
    teald.check_ledger()


def test_cutover(world):
    """Clients stay on blue until they have been away; new ones go to green; pinned ones are shown; kill -9 keeps them."""
    cutover(world, "af_packet")


def test_cutover_xdp(world):
    cutover(world, "xdp")


def prefix(world, kind):
    at, teald = web(world, kind, "10.1.5.3", "10.1.5.77", "10.1.6.3", "fd01::7:3", "fd01::7:4", "fd01::8:3",
                    affinity={"by": "client", "timeout": "1m", "prefix": 24})
    six = at.service("web6", family=6, affinity={"by": "client", "timeout": "1m", "prefix": {"ipv6": 112}})
    more = teald.config | {"services": [*teald.config["services"], six]}
    check(teald.reload(more)[0] == 200, "the reload that adds an IPv6 service is refused")
    await_service(at, family=6)
    expect(at, "blue", "10.1.5.3", "fd01::7:3")
    for name in ("web", "web6"):
        switch(teald, [], "green", name)
    expect(at, "blue", "10.1.5.77", "fd01::7:4", why=": one of its prefix was there")
    expect(at, "green", "10.1.6.3", "fd01::8:3")
    until(lambda: pinned(teald, "blue") == 2, 3, "two prefixes are pinned to blue")  # 10.1.0.0/24 and 10.1.5.0/24
    teald.check_ledger()


def test_prefix(world):
    """prefix: 24 (IPv6: 112): addresses of one prefix follow each other."""
    prefix(world, "af_packet")


def test_prefix_xdp(world):
    prefix(world, "xdp")


def ignored(world, kind):
    """A rollout with --ignore-affinity takes pinned clients with it, one without it does not."""
    clients = ["10.1.0.3", "10.1.0.4"]
    at, teald = web(world, kind, *clients, "10.1.0.13", affinity={"by": "client", "timeout": "1m"},
                    rollout={"bake": "1m", "steps": ["100%"]})
    expect(at, "blue", *clients)
    release(teald)
    in_phase(teald, "baking")
    expect(at, "blue", *clients, why=" by affinity")
    expect(at, "green", "10.1.0.13")
    ctl(teald, "rollout", "abort", "web")
    in_phase(teald, "idle")
    ctl(teald, "rollout", "start", "web", "--ignore-affinity")
    in_phase(teald, "baking")
    expect(at, "green", *clients, why=": its affinity is ignored")
    # Over when blue has drained; what they were pinned to before does not come back then.
    ctl(teald, "rollout", "promote", "web")
    in_phase(teald, "done", 20)
    expect(at, "green", *clients, why=" after the rollout that ignored affinity")
    told = which(teald, "web", "10.1.0.3:1")
    check(told["why"] == "affinity" and told["pool"] == "green", f"which says {told}, expected green by affinity")
    teald.check_ledger()


def test_ignored(world):
    """rollout start --ignore-affinity takes clients along that an earlier generation pinned."""
    ignored(world, "af_packet")


def test_ignored_xdp(world):
    ignored(world, "xdp")
