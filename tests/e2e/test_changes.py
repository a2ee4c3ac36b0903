# SPDX-License-Identifier: Apache-2.0
"""Reload, backend states, rollback with reset, groups, and what the control socket refuses."""
import copy
import json
import socket
import time

import load
import servers
import topology
from common import await_service, fetch, start, switch
from teald import Refused, check_only, tealctl
from world import check, until


def web(world, kind="af_packet", **service):
    at = topology.two_ports(world, kind)
    servers.nginx(at)
    teald = start(at, [at.service("web", 80, split_by="flow", **service)])
    await_service(at)
    return at, teald


def names_now(at, seconds=0.6):
    """Backends that serve new connections now."""
    churn = load.Observer(at, "churn", count=2, interval_s=0.002)
    time.sleep(seconds + 0.4)
    result = churn.result()
    check(not result["errors"], f"new connections failed: {result['errors'][:1]}")
    return {name for _, name in result["connections"]}


def test_reload(world, kind="af_packet"):
    """A backend goes and comes by reload; a bad configuration changes nothing."""
    at, teald = web(world, kind)
    hold = load.Observer(at, "hold", count=20, interval_s=0.05)
    time.sleep(0.6)
    check(names_now(at) == {"blue1", "blue2"}, "at first both blue backends serve")
    less = copy.deepcopy(teald.config)
    less["services"][0]["pools"]["blue"].pop()
    status, reply = teald.reload(less)
    check(status == 200 and reply["changed"] and len(reply["changes"]) == 1, f"the reload answers {status} {reply}")
    check(names_now(at) == {"blue1"}, "a removed backend still takes new flows, or the other does not")
    gone = [b for b in teald.service()["pools"]["blue"]["backends"] if b["id"] == "blue2"]
    check(gone and gone[0]["state"] == "removed" and gone[0]["flows"] > 0, f"blue2 with flows is shown as {gone}")
    before = teald.service()
    for spoil, place in ((lambda c: c["services"][0].update(vip="10.1.0.300"), "vip"),
                         (lambda c: c["services"][0].update(colour="red"), "colour"),
                         (lambda c: c["services"][0].update(port="eighty"), "port"),
                         (lambda c: c["engine"].update(workers=2), "engine")):
        bad = copy.deepcopy(less)
        spoil(bad)
        status, problem = teald.reload(bad)
        check(status in (409, 422), f"a bad {place} is answered {status} {problem}")
        check(place in str(problem), f"the refusal does not name {place}: {problem}")
    teald.world.write("teald.yaml", "services: [\n")
    status, problem = teald.reload()
    check(status == 422 and "teald.yaml:" in str(problem), f"a torn file is answered {status} {problem}")
    after = teald.service()
    check(after["generation"] == before["generation"] and names_now(at) == {"blue1"}, "a refused reload changed something")
    status, reply = teald.reload(teald.config)
    check(status == 200 and reply["changed"], f"the way back answers {status} {reply}")
    check(names_now(at) == {"blue1", "blue2"}, "a backend that came back serves no new flows")
    requests = load.check_held(hold.result(), "blue")
    teald.check_ledger()
    return f"{requests} requests on 20 kept connections"


def test_backend_states(world):
    """drain and down keep a backend's flows and give it no new ones; weight 0 too."""
    at, teald = web(world)
    hold = load.Observer(at, "hold", count=16, interval_s=0.05)
    time.sleep(0.6)
    for patch in ({"state": "drain"}, {"state": "down"}, {"state": "ready", "weight": 0}):
        teald.ask("PATCH", "/v1/services/web/backends/blue1", patch)
        check(names_now(at, 0.3) == {"blue2"}, f"after {patch} blue1 still takes new flows")
    teald.ask("PATCH", "/v1/services/web/backends/blue1", {"weight": 1})
    check(names_now(at) == {"blue1", "blue2"}, "with weight 1 again blue1 takes no new flows")
    requests = load.check_held(hold.result(), "blue")
    teald.check_ledger()
    return f"{requests} requests on 16 kept connections"


def test_rollback_reset(world, kind="af_packet"):
    """rollback with flows: reset: flows on green are reset at once, those on blue live."""
    at, teald = web(world, kind)
    blue = load.Observer(at, "hold", count=5, interval_s=0.05)
    time.sleep(0.5)
    switch(teald, [], "green")
    green = load.Observer(at, "hold", count=8, interval_s=0.05)
    time.sleep(0.8)
    asked = time.time_ns()
    reply = teald.rollback(flows="reset")
    check(reply["flows_reset"] >= 8, f"{reply['flows_reset']} flows were reset, expected 8 or more")
    time.sleep(1)
    slowest = 0.0
    for entry in green.result()["connections"]:
        check(entry["names"] and entry["names"][0].startswith("green"), f"a connection is on {entry['names']}, expected green")
        check(entry["error"] and "ConnectionResetError" in entry["error"], f"a flow on green saw {entry['error']}, expected a reset")
        slowest = max(slowest, (entry["error_ns"] - asked) / 1e6)
    check(slowest < 500, f"a client learnt of it after {slowest:.0f} ms only")
    load.check_held(blue.result(), "blue")
    check(names_now(at, 0.2) <= {"blue1", "blue2"}, "new connections are not on blue")
    left = [n.run("ss", "-Htn", "state", "established", "sport", "=", ":80").stdout for k, n in at.backends.items() if k.startswith("green")]
    check(not any(x.strip() for x in left), f"servers still hold connections: {left}")
    return f"the slowest client knew after {slowest:.0f} ms"


def test_expected_generation(world):
    """compare-and-swap: 409 when it has moved on; calls are idempotent; tealctl's exit codes."""
    _, teald = web(world)
    first = teald.service()["generation"]
    reply = teald.cutover("green", expect_generation=first)
    try:
        teald.cutover("blue", expect_generation=first)
        check(False, "a cutover with an old generation was taken")
    except Refused as refused:
        check(refused.status == 409 and refused.problem["code"] == "generation_moved", f"it was refused by {refused.problem}")
    again = teald.cutover("green")
    check(not again["changed"] and again["generation"] == reply["generation"], f"the same cutover again answers {again}")
    check(tealctl(teald, "cutover", "web", "--to", "blue").returncode == 0, "tealctl cutover fails")
    stale = tealctl(teald, "cutover", "web", "--to", "green", "--expect-generation", first)
    check(stale.returncode == 4, f"tealctl with an old generation ends with {stale.returncode}, expected 4: {stale.stderr}")
    status = tealctl(teald, "status", "--json")
    check(status.returncode == 0 and status.stdout.lstrip().startswith("{"), f"tealctl status: {status.stderr}")
    check(tealctl(teald, "services").returncode == 0, "tealctl services")
    check(tealctl(teald, "nonsense").returncode == 2, "tealctl takes a word that it does not know")
    teald.stop()
    check(tealctl(teald, "status").returncode == 3, "tealctl reaches a teald that is gone")


def test_which_and_flows(world, kind="af_packet"):
    """which names the backend of a flow, and why; flows lists it."""
    at, teald = web(world, kind)
    hold = load.Observer(at, "hold", count=3)
    time.sleep(0.5)
    switch(teald, [], "green")
    flows = teald.get("/v1/flows?service=web&pool=blue&state=established")["flows"]
    check(len(flows) >= 3, f"{len(flows)} flows are listed, expected 3 or more")
    for flow in flows[:3]:
        which = teald.get(f"/v1/which?service=web&client={flow['client']}")
        check(which["why"] == "entry" and which["backend"] == flow["backend"], f"which of {flow} answers {which}")
    which = teald.get("/v1/which?service=web&client=10.1.0.2:1")
    check(which["why"] == "split" and which["pool"] == "green", f"which of a new client answers {which}")
    seen = {f"10.1.0.2:{e['port']}": e["names"][0] for e in hold.result()["connections"]}
    for client, name in seen.items():
        told = [f["backend"] for f in flows if f["client"] == client]
        check(told == [name], f"{client} saw {name}, flows said {told}")


def test_malformed_requests(world):
    """Wrong requests get a 4xx with a JSON problem, nonsense no crash; nothing changes."""
    _, teald = web(world)
    before = teald.service()
    for method, target, body, want in (
            ("POST", "/v1/services/web/cutover", "{", 400), ("POST", "/v1/services/web/cutover", {"to": "red"}, 400),
            ("POST", "/v1/services/web/cutover", {}, 400), ("POST", "/v1/services/web/cutover", {"to": "green", "x": 1}, 400),
            ("POST", "/v1/services/web/cutover", {"to": 7}, 400), ("POST", "/v1/services/none/cutover", {"to": "green"}, 404),
            ("PATCH", "/v1/services/web/backends/blue1", {"weight": 70000}, 400),
            ("PATCH", "/v1/services/web/backends/none", {"weight": 1}, 404), ("GET", "/v1/nothing", None, 404),
            ("DELETE", "/v1/services/web", None, 405), ("GET", "/v1/flows?limit=x", None, 400),
            ("GET", "/v1/which?service=web&client=nobody", None, 400),
            ("POST", "/v1/services/web/rollback", {"flows": "burn"}, 400),
            ("POST", "/v1/services/web/rollback", {}, 409)):
        status, problem = teald.call(method, target, body)
        check(status == want, f"{method} {target} {body} is answered {status}, expected {want}: {problem}")
        check(isinstance(problem, dict) and problem["detail"] and problem["status"] == want, f"{target}: the problem is {problem}")
    for nonsense in (b"\0" * 4096, b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/reload HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                     b"GET /" + b"a" * 100000, b"\r\n\r\n", b"POST /v1/reload HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(2)
            sock.connect(teald.socket)
            try:
                sock.sendall(nonsense)
                answer = sock.recv(4096)
                check(not answer or answer.startswith(b"HTTP/1.1 4"), f"{nonsense[:40]!r} is answered {answer[:60]!r}")
            except (ConnectionError, TimeoutError):
                pass
    check(teald.process.poll() is None and teald.service() == before | {"pools": teald.service()["pools"]}, "something changed")


def test_bad_configurations(world):
    """teald --check: one clear line with file:line:column for each complaint; teald does not start with it."""
    at = topology.two_ports(world)
    good = {"ports": at.ports, "services": [at.service()]}
    ok = check_only(world.write("good.yaml", json.dumps(good)))
    check(ok.returncode == 0, f"a good file is refused: {ok.stderr}")
    for name, text in (("empty", ""), ("list", "[1, 2]"), ("torn", "ports: [{"), ("key", json.dumps(good | {"portz": 1})),
                       ("type", json.dumps(good | {"ports": 7})), ("twice", "ports: []\nports: []\n"),
                       ("clash", json.dumps(good | {"services": [at.service("a"), at.service("b")]}))):
        path = world.write(f"bad-{name}.yaml", text)
        done = check_only(path)
        check(done.returncode > 0, f"{name}: --check ends with {done.returncode}")
        check(f"bad-{name}.yaml:" in done.stderr + done.stdout, f"{name}: the complaint does not name the place: {done.stderr}")
    missing = check_only(world.path("none.yaml"))
    check(missing.returncode > 0 and "none.yaml" in missing.stderr, f"a missing file: {missing.returncode} {missing.stderr}")


def test_host_traffic(world, kind="af_packet"):
    """What is not a service's goes to the kernel: ping, ARP, ND and ssh to the host work through the tap."""
    at, teald = web(world, kind)
    for address in ("10.1.0.1", "10.1.0.100", "fd01::1"):
        check(at.client.run("ping", "-c", "3", "-i", "0.2", "-W", "2", address, ok=False).returncode == 0, f"no answer from {address}")
    options = servers.sshd(at, {"host": at.edge})
    ssh = load.Ssh(at, options, host="10.1.0.1")
    check(ssh.say() == "host", "ssh to the host reached somebody else")
    switch(teald, [], "green")
    check(ssh.say() == "host", "ssh to the host after a cutover")
    ssh.close()
    backend = at.address("blue1")
    own = at.edge.run("curl", "-sS", "-m", 3, f"http://{backend}/name", ok=False).stdout.strip()
    check(own.startswith("blue"), f"the host's own request to a backend on its service port was answered {own!r}")
    mac = at.client.run("ip", "neigh", "show", "10.1.0.100").stdout
    check("lladdr" in mac, f"ARP for the VIP gave {mac}")
    until(lambda: fetch(at).startswith("green"), 5, "the service answers from green")
