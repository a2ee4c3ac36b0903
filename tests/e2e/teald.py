# SPDX-License-Identifier: Apache-2.0
"""teald under test: its configuration, its process and its control socket."""
import datetime
import http.client
import json
import os
import re
import signal
import socket
import time

from world import Failure, check, run, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("TEAL_BUILD", os.path.join(ROOT, "build", "release"))
TEALD = os.path.join(BUILD, "src", "teald", "teald")
TEALCTL = os.path.join(BUILD, "src", "tealctl", "tealctl")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("teald", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Refused(Failure):
    """An answer of the control socket that is not 200."""

    def __init__(self, status, problem):
        super().__init__(f"teald answered {status}: {problem}")
        self.status, self.problem = status, problem


def epoch_ns(text):
    """RFC 3339 in UTC with nanoseconds -> ns since 1970."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", text)
    check(match, f'found the time "{text}", expected RFC 3339 in UTC')
    seconds = datetime.datetime.fromisoformat(match[1] + "+00:00").timestamp()
    return int(seconds) * 10**9 + int((match[2] or "0").ljust(9, "0"))


class Teald:
    """teald in a namespace of a world. `config` is a dictionary; JSON is YAML."""

    def __init__(self, world, namespace, config):
        self.world, self.namespace = world, namespace
        self.socket = world.path("teald.sock")
        control = config.setdefault("control", {})
        control.setdefault("socket", self.socket)
        control.setdefault("audit_log", world.path("audit.jsonl"))
        control.setdefault("state_dir", world.path("state"))
        engine = config.setdefault("engine", {})
        engine.setdefault("memory", "ordinary")
        engine.setdefault("packet_memory_mib", 128)
        engine.setdefault("flows", 65536)
        engine.setdefault("idle", "adaptive")
        self.config = config
        self.binary = TEALD
        self.process = None
        if any(port.get("engine") == "xdp" for port in config["ports"]):
            engine.setdefault("bpf_pins", world.pins())
            world.last_words.insert(0, lambda: self.detach(ok=False))  # before the world takes the pins away itself
        elif engine["memory"] == "ordinary":
            engine.setdefault("table_file", os.path.join(world.shm, "flows"))
        self.file = self.write(config)
        world.witnesses.append(self.account)

    def account(self):
        """What teald dropped and did so far, for a failure's report."""
        try:
            return "teald's counters: " + json.dumps({k: {n: c for n, c in v.items() if c} for k, v in self.counters().items()})
        except (OSError, http.client.HTTPException) as error:
            return f"teald does not answer: {error}; its exit code: {self.process and self.process.poll()}"

    def write(self, config):
        return self.world.write("teald.yaml", json.dumps(config, indent=1) + "\n")

    def start(self, *options, seconds=20):
        self.process = self.world.spawn(self.namespace, self.binary, "--config", self.file, *options, log="teald.log")
        def ready():
            check(self.process.poll() is None,
                  f"teald ended with {self.process.returncode}; its log ends: {self.log_end()}")
            try:
                return self.get("/v1/status")["pid"] == self.process.pid
            except (OSError, http.client.HTTPException):
                return False
        until(ready, seconds, "teald answers /v1/status")
        return self

    def log_end(self, lines=5):
        with open(self.world.path("teald.log"), encoding="utf-8", errors="replace") as file:
            return " | ".join(file.read().splitlines()[-lines:])

    def refused(self, *options):
        """Starts it where it must refuse: -> the one line that it says."""
        done = self.namespace.run(self.binary, "--config", self.file, *options, ok=False, timeout=20)
        lines = [line for line in done.stderr.splitlines() if line.startswith("teald: ")]
        check(done.returncode == 1 and len(lines) == 1, f"teald ended with {done.returncode}, expected 1 and one line: {done.stderr}")
        return lines[0]

    def detach(self, ok=True):
        """teald --detach: -> completed process."""
        return run(self.binary, "--config", self.file, "--detach", ok=ok)

    def stop(self, how=signal.SIGTERM, seconds=10):
        """Ends teald by a signal and returns its exit code."""
        self.process.send_signal(how)
        return self.process.wait(seconds)

    def call(self, method, target, body=None, timeout=10, headers=None):
        """-> (status, decoded JSON or text)"""
        connection = UnixConnection(self.socket, timeout)
        try:
            payload = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
            connection.request(method, target, payload,
                               headers or ({"Content-Type": "application/json"} if payload is not None else {}))
            response = connection.getresponse()
            text = response.read().decode()
            kind = response.headers.get_content_type()
            return response.status, json.loads(text) if kind.endswith("json") else text
        finally:
            connection.close()

    def ask(self, method, target, body=None):
        status, value = self.call(method, target, body)
        if status != 200:
            raise Refused(status, value)
        return value

    def get(self, target):
        return self.ask("GET", target)

    def service(self, name="web"):
        return self.get(f"/v1/services/{name}")

    def counters(self):
        return self.get("/v1/counters")

    def cutover(self, to, service="web", **more):
        return self.ask("POST", f"/v1/services/{service}/cutover", {"to": to, **more})

    def rollback(self, service="web", flows="keep", **more):
        return self.ask("POST", f"/v1/services/{service}/rollback", {"flows": flows, **more})

    def reload(self, config=None):
        if config is not None:
            self.write(config)
        return self.call("POST", "/v1/reload", {})

    def census(self, service="web"):
        """Live flows by pool, of a census that began after this call."""
        time.sleep(0.05)
        end = time.monotonic() + 5
        began = time.monotonic()
        while self.get("/v1/status")["table"]["census_age_ms"] / 1000 > time.monotonic() - began:
            check(time.monotonic() < end, "the flow table's census is not renewed")
            time.sleep(0.1)
        return {pool: value["flows"] for pool, value in self.service(service)["pools"].items()}

    def check_ledger(self):
        moved = self.get("/v1/status")["flows_moved"]
        check(moved == 0, f"the ledger of flows moved reads {moved}, expected 0")

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check_only(config_file):
    """teald --check: -> completed process."""
    return run(TEALD, "--check", config_file, ok=False)


def tealctl(teald, *arguments):
    return run(TEALCTL, "--socket", teald.socket, *arguments, ok=False)
