# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes teald, and what it knows decides a rollout; promtool finds nothing to complain of."""
import json
import os
import time

import load
import servers
import topology
from common import await_service, start
from releases import ctl, in_phase
from rollouts import begin as release
from rollouts import status as rollout
from teald import ROOT
from world import check, run, until

BRIDGE, SERVER = 9109, 9090  # ports on the loopback of the edge's own namespace

# Of the last few seconds, for the test has few: what an operator would take over a minute.
RESETS = 'sum(increase(teal_pool_resets_total{service="{{service}}",pool="{{pool}}",when="later"}[4s]))'


def prometheus(at, teald):
    """Prometheus in the edge's namespace, and packaging/nginx-metrics.conf, which leads it to teald's socket."""
    world = at.world
    with open(os.path.join(ROOT, "packaging", "nginx-metrics.conf"), encoding="utf-8") as file:
        server = file.read().replace("/run/teal/teald.sock", teald.socket)
    bridge = world.write("bridge.conf", f"daemon off; user root; pid {world.path('bridge.pid')}; events {{}}\nhttp {{\n" + "".join(
        f"{kind}_temp_path {world.path('bridge-tmp')};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + server + "}\n")
    world.spawn(at.edge, "nginx", "-c", bridge, "-e", world.path("bridge.log"), log="bridge.log")
    config = world.write("prometheus.yml", json.dumps({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "teal", "static_configs": [{"targets": [f"127.0.0.1:{BRIDGE}"]}]}]}))
    world.spawn(at.edge, "prometheus", f"--config.file={config}", f"--storage.tsdb.path={world.path('tsdb')}",
                f"--web.listen-address=127.0.0.1:{SERVER}", log="prometheus.log")
    until(lambda: value(at, 'up{job="teal"}') == 1.0, 20, "Prometheus has scraped teald", 0.2)
    for target, options in (("v1/status", []), ("metrics", ["-X", "POST"]), ("metrics/../v1/services/web/cutover", ["--path-as-is"])):
        code = at.edge.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *options,
                           f"http://127.0.0.1:{BRIDGE}/{target}", ok=False).stdout
        check(code in ("403", "404"), f"the bridge for /metrics answers {options} /{target} by {code}")


def value(at, query):
    """-> the one value of a query, or None"""
    text = at.edge.run("curl", "-sS", "-m", 2, "--data-urlencode", f"query={query}",
                       f"http://127.0.0.1:{SERVER}/api/v1/query", ok=False).stdout
    found = json.loads(text)["data"]["result"] if text.startswith("{") else []
    return float(found[0]["value"][1]) if found else None


def visitors(at):
    """Clients that ask twice over one connection: the second request is the one that a bad application dies of."""
    script = ("while :; do curl -s -m 2 http://$0/name http://$0/$1; sleep 0.02; done")
    return [at.world.spawn(at.client, "sh", "-c", script, at.vip(), "work", log="visitors.log") for _ in range(2)]


def decided(world, kind):
    at = topology.two_ports(world, kind)
    servers.nginx(at)
    teald = start(at, [at.service("web", split_by="flow", rollout={
        "steps": ["50%", "100%"], "hold": "4s", "bake": "1s", "min_sample": 10, "drain_deadline": "1s",
        "rules": ["target.handshake_failure_ratio < 5 %"],  # which is not what is wrong with green
        "prometheus": [{"name": "resets", "url": f"http://127.0.0.1:{SERVER}", "query": RESETS, "below": 3}],
        "prometheus_interval": "1s"})], timeouts={"closing_s": 1, "half_open_s": 1})
    await_service(at)
    prometheus(at, teald)
    before = value(at, 'teal_new_flows_total{service="web",pool="blue"}')
    check(before == float(teald.service()["pools"]["blue"]["new_flows"]), f"Prometheus knows {before} flows of blue")
    visitors(at)
    for name in ("green1", "green2"):
        servers.broken(at, name)
    began = time.monotonic()
    release(teald)
    done = in_phase(teald, "idle", 15)
    took = time.monotonic() - began
    check(done["outcome"] == "rolled_back" and done["automatic"], f"a release that resets its clients ended as {done['outcome']}")
    check(done["reason"].startswith("resets") or "resets" in done["reason"], f"it was rolled back because {done['reason']}, expected the query")
    check(teald.service()["green_share"] == 0, "green still gets new flows")
    # Mended, it passes by the same query.
    for name in ("green1", "green2"):
        servers.broken(at, name, False)
    until(lambda: (value(at, RESETS.replace("{{service}}", "web").replace("{{pool}}", "green")) or 0) < 1, 15,
          "the last resets are over", 0.3)
    status, problem = teald.call("POST", "/v1/rollouts", {"service": "web"})
    check(status == 409 and problem["code"] == "needs_again", f"a start after an automatic rollback is answered {status} {problem}")
    release(teald, again=True)
    done = in_phase(teald, "done", 30)
    check(done["outcome"] == "done", f"a good release ended as {done['outcome']}: {done['reason']}")
    teald.check_ledger()
    return f"rolled back {took:.1f} s after the start"


def test_query_decides(world):
    """A query over teald's own metrics rolls a release back that its handshakes do not betray; mended, it passes."""
    return decided(world, "af_packet")


def test_query_decides_xdp(world):
    return decided(world, "xdp")


def test_unreachable(world):
    """A Prometheus that does not answer neither passes nor fails a release: it pauses, and says why."""
    at = topology.two_ports(world)
    servers.nginx(at)
    teald = start(at, [at.service("web", split_by="flow", rollout={
        "steps": ["50%", "100%"], "hold": "1s", "min_sample": 5, "prometheus_interval": "1s",
        "prometheus": [{"name": "resets", "url": f"http://127.0.0.1:{SERVER}", "query": RESETS, "below": 3}]})])
    await_service(at)
    churn = load.Observer(at, "churn", count=1, interval_s=0.02)
    release(teald)
    until(lambda: rollout(teald)["paused"], 10, "the rollout pauses")
    reason = rollout(teald)["reason"]
    check("no answer of Prometheus" in reason and "resets" in reason, f"it is paused because {reason}")
    check(abs(rollout(teald)["share"] - 0.5) < 0.001, "the share moved on though nobody answered")
    load.check_churn(churn.result())


def checked(world, kind):
    """promtool over /metrics in each phase of a rollout, with drops, pinned clients, previews and unhealthy backends."""
    at = topology.two_ports(world, kind)
    servers.nginx(at)
    teald = start(at, [at.service("web", preview={"vip": "10.1.0.101"}, affinity={"by": "client"},
                                  health={"check": "http", "path": "/healthz", "interval": "200ms"},
                                  rollout={"steps": ["50%", "100%"], "hold": "1m", "bake": "1m", "drain_deadline": "1s"}),
                       at.service("echo", 5353, protocol="udp")], timeouts={"closing_s": 1, "half_open_s": 1})
    await_service(at)
    lines = 0

    def clean(when):
        nonlocal lines
        text = teald.get("/metrics")
        done = run("promtool", "check", "metrics", stdin=text, ok=False)
        check(done.returncode == 0 and not done.stderr.strip() and not done.stdout.strip(),
              f"{when}, promtool check metrics ends with {done.returncode}: {done.stderr.strip()}{done.stdout.strip()}")
        lines = max(lines, len(text.splitlines()))
        return text

    clean("before any rollout")
    servers.sick(at, "blue2")
    until(lambda: 'backend="blue2",state="unhealthy"} 1' in teald.get("/metrics"), 3, "the metric shows blue2 unhealthy")
    until(lambda: teald.call("POST", "/v1/rollouts", {"service": "web"})[0] == 200, 10, "all backends are checked, a rollout starts")
    in_phase(teald, "shifting")
    check('teal_rollout_phase{group="web",phase="shifting"} 1\n' in clean("while it shifts"), "the phase is not among the metrics")
    ctl(teald, "rollout", "promote", "web", "--all")
    in_phase(teald, "baking")
    clean("while it bakes")
    ctl(teald, "rollout", "pause", "web")
    check('teal_rollout_paused{group="web"} 1\n' in clean("while it is paused"), "the pause is not among the metrics")
    ctl(teald, "rollout", "abort", "web", "--flows", "reset")
    clean("after an abort")
    return f"{lines} lines"


def test_promtool(world):
    """promtool check metrics is clean over the live output."""
    return checked(world, "af_packet")


def test_promtool_xdp(world):
    return checked(world, "xdp")
