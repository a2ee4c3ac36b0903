# SPDX-License-Identifier: Apache-2.0
"""Active checks from the host's own stack: who is down takes no new connection, and what becomes of those it has."""
import time

import load
import servers
import topology
from common import start
from world import check, until

QUICK = {"interval": "200ms", "timeout": "150ms", "rise": 2, "fall": 2}
NOTICED_S = 2.5  # fall x interval, and what a busy machine adds


def web(world, kind, tls=False, **health):
    at = topology.two_ports(world, kind)
    processes = servers.nginx(at, tls=tls)
    teald = start(at, [at.service("web", split_by="flow", health=QUICK | health)])
    # Every check of the edge's own reaches its NAT backend, and its answer the edge.
    until(lambda: "is up" in log(at) and log(at).count("is up") == 4, 10, "all four backends are found up")
    return at, teald, processes


def log(at):
    with open(at.world.path("teald.log"), encoding="utf-8") as file:
        return file.read()


def state(teald, backend):
    return next(b["state"] for pool in teald.service()["pools"].values() for b in pool["backends"] if b["id"] == backend)


def await_state(teald, backend, wanted):
    """-> ns when it was seen so"""
    until(lambda: state(teald, backend) == wanted, NOTICED_S, f"{backend} is {wanted}", 0.02)
    return time.time_ns()


def taken_by(churn, since=0):
    """Who took the connections begun after `since` (ns)."""
    check(churn["connections"], "no short connection had an answer")
    return {name for began, name in churn["connections"] if began > since}


def http(world, kind):
    at, teald, _ = web(world, kind, check="http", path="/healthz")
    hold = load.Observer(at, "hold", count=12, interval_s=0.05)
    churn = load.Observer(at, "churn", count=2, interval_s=0.005)
    time.sleep(0.5)
    servers.sick(at, "blue1")
    down = await_state(teald, "blue1", "unhealthy")
    time.sleep(0.7)
    servers.sick(at, "blue1", False)
    recovering = time.time_ns()
    up = await_state(teald, "blue1", "ready")
    time.sleep(0.7)
    seen = churn.result()
    check(not seen["errors"], f"new connections failed: {seen['errors'][:1]}")
    check(taken_by(seen) == {"blue1", "blue2"}, f"{taken_by(seen)} took connections")
    meanwhile = taken_by({"connections": [c for c in seen["connections"] if c[0] < recovering]}, down)
    check(meanwhile == {"blue2"}, f"while blue1 was down {meanwhile} took new connections")
    check("blue1" in taken_by(seen, up), "blue1 came back and takes no new connection")
    result = hold.result()
    requests = load.check_held(result, "blue")  # on_down keep: nothing befalls them
    check({e["names"][0] for e in result["connections"]} == {"blue1", "blue2"}, "the kept connections are on one backend only")
    teald.check_ledger()
    return f"{len(seen['connections'])} connections, {requests} kept requests"


def test_http(world):
    """503 takes a backend's share away at once, 200 gives it back; its flows are kept."""
    return http(world, "af_packet")


def test_http_xdp(world):
    return http(world, "xdp")


def test_http_one_port(world):
    """Checks of NAT backends behind the one port that clients come by."""
    at = topology.one_port(world, direct=False, kind="xdp")
    servers.nginx(at)
    teald = start(at, [at.service("web", health=QUICK | {"check": "http", "path": "/healthz"})])
    until(lambda: log(at).count("is up") == 4, 10, "all four backends are found up")
    servers.sick(at, "green2")
    await_state(teald, "green2", "unhealthy")


def tcp(world, kind):
    at, teald, processes = web(world, kind, check="tcp", on_down="reset")
    hold = load.Observer(at, "hold", count=12, interval_s=0.05)
    until(lambda: teald.census()["blue"] >= 12, 5, "12 flows are on blue")
    # It listens no more, but goes on serving whom it has.
    at.backends["blue1"].run("nft", "-f", "-", stdin="table inet t {\n chain c {\n  type filter hook input priority 0;\n"
                             "  tcp dport 80 tcp flags & (syn|ack) == syn reject with tcp reset\n }\n}\n")
    asked = time.time_ns()
    await_state(teald, "blue1", "unhealthy")
    churn = load.Observer(at, "churn", count=2, interval_s=0.005)
    time.sleep(0.8)
    seen = churn.result()
    check(not seen["errors"], f"new connections failed: {seen['errors'][:1]}")
    check(taken_by(seen) == {"blue2"}, f"with blue1 down {taken_by(seen)} took new connections")
    ends = {"blue1": [], "blue2": []}
    for entry in hold.result()["connections"]:
        ends[entry["names"][0]].append(entry)
    check(ends["blue1"] and ends["blue2"], "the kept connections are on one backend only")
    for entry in ends["blue1"]:
        check("ConnectionResetError" in str(entry["error"]), f"a flow of the one that went down saw {entry['error']}, expected a reset")
        check(entry["error_ns"] - asked < 3e9, "a flow of the one that went down was reset late")
    for entry in ends["blue2"]:
        check(not entry["error"], f"a flow of the other backend saw {entry['error']}")
    check(not at.backends["blue1"].run("ss", "-Htn", "state", "established", "sport", "=", ":80").stdout.strip(),
          "the server still holds connections that were reset")
    # Dead altogether, seen by the other way of its failing: no answer.
    processes["green1"].terminate()
    at.backends["green2"].run("ip", "link", "set", "eth0", "down")
    await_state(teald, "green1", "unhealthy")
    await_state(teald, "green2", "unhealthy")
    status, problem = teald.call("POST", "/v1/rollouts", {"service": "web"})
    check(status == 409 and problem["code"] == "no_ready_backend", f"a rollout to a pool that is down is answered {status} {problem}")
    teald.check_ledger()
    return f"{len(ends['blue1'])} flows reset, {len(ends['blue2'])} kept"


def test_tcp(world):
    """Refused, killed and silent backends are found; on_down reset tells both ends of its flows, and no others."""
    return tcp(world, "af_packet")


def test_tcp_xdp(world):
    return tcp(world, "xdp")


def https(world, kind):
    at, teald, _ = web(world, kind, tls=True, check="https", port=8443, path="/healthz", host="shop.example", panic_percent=60)
    churn = load.Observer(at, "churn", count=2, interval_s=0.005)
    servers.sick(at, "blue1")
    until(lambda: "all of it is used" in log(at), NOTICED_S, "half of blue is down, which is fewer than 60 %")
    panic = time.time_ns()
    time.sleep(0.7)
    seen = churn.result()
    check(not seen["errors"], f"new connections failed: {seen['errors'][:1]}")
    check(taken_by(seen, panic) == {"blue1", "blue2"}, f"in a panic only {taken_by(seen, panic)} took new connections")
    servers.sick(at, "blue1", False)
    await_state(teald, "blue1", "ready")
    # A certificate that nobody vouches for is as good as none.
    strict = teald.config["services"][0]
    strict["health"] = strict["health"] | {"verify_certificate": True}
    check(teald.reload(teald.config)[0] == 200, "the reload is refused")
    await_state(teald, "green1", "unhealthy")
    check("certificate" in log(at).rsplit("green1 is down", 1)[1].splitlines()[0], f"the log does not speak of the certificate: {log(at)[-300:]}")
    teald.check_ledger()


def test_https(world):
    """HTTPS to a port of its own; panic_percent uses all rather than few; verify_certificate refuses a self-made one."""
    https(world, "af_packet")


def test_https_xdp(world):
    https(world, "xdp")
