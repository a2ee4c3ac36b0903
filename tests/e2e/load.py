# SPDX-License-Identifier: Apache-2.0
"""Load and what it saw: wrk, observing clients, a slow download, an SSH session, and evidence from the outside (when
each SYN left the client, which server served each request)."""
import collections
import hashlib
import json
import os
import queue
import re
import signal
import struct
import subprocess
import threading
import time

from world import Failure, check, until

# Who began so shortly before a switch may be decided after it: his SYN is on its way, his process lost its CPU.
ON_ITS_WAY_NS = 50_000_000
HERE = os.path.dirname(os.path.abspath(__file__))


class Observer:
    """clients.py of one kind in the client's namespace; result() ends it."""

    def __init__(self, at, kind, **options):
        options.setdefault("vip", at.vip())
        self.kind, self.file = kind, at.world.path(f"{kind}-{time.monotonic_ns()}.json")
        self.ready = options["ready"] = f"{self.file}.ready"
        with open(self.file, "wb") as out:
            self.process = at.world.spawn(at.client, "/usr/bin/python3", os.path.join(HERE, "clients.py"), kind,
                                          json.dumps(options), log="clients.log", stdout=out)

    def ask_now(self):
        """Only of "hold"."""
        self.process.send_signal(signal.SIGUSR1)

    def result(self):
        # Before, a signal would end it without a word.
        until(lambda: os.path.exists(self.ready) or self.process.poll() is not None, 10, f"the {self.kind} client has begun")
        self.process.terminate()
        self.process.wait(20)
        with open(self.file, encoding="utf-8") as file:
            text = file.read()
        check(text, f"the {self.kind} client died: see clients.log")
        return json.loads(text)


def check_held(result, pool=None, allow_errors=False):
    """Every kept connection saw one backend only, and no error. Returns the number of requests."""
    for entry in result["connections"]:
        check(len(entry["names"]) <= 1, f"a connection saw several backends: {entry['names']}")
        check(allow_errors or not entry["error"], f"a kept connection failed: {entry['error']} after "
              f"{entry['requests']} requests of {entry['names']}")
        if pool and entry["names"]:
            check(entry["names"][0].startswith(pool), f"a connection is on {entry['names'][0]}, expected {pool}")
    requests = sum(e["requests"] for e in result["connections"])
    check(requests > 0, "the kept connections had no answer at all")
    return requests


def check_churn(result, switches=()):
    """No failed connection; each begun in a window [adopted_ns, end_ns) of `switches` (adopted_ns, end_ns, pool) is on
    that pool. Returns (connections, of them inside a window)."""
    check(not result["errors"], f"{len(result['errors'])} short connections failed, first: {result['errors'][:1]}")
    check(result["connections"], "the short connections had no answer at all")
    inside = 0
    for began, name in result["connections"]:
        for adopted, end, pool in switches:
            if adopted <= began < end:
                inside += 1
                check(name.startswith(pool), f"a connection begun {(began - adopted) / 1e6:.3f} ms after adoption is on {name}")
    return len(result["connections"]), inside


class Wrk:
    """wrk at a bounded rate: each connection waits `delay_ms` between requests."""

    def __init__(self, at, path, connections, seconds, delay_ms, threads=1, family=4):
        script = at.world.write(f"wrk-{path.strip('/')}.lua", f"function delay() return math.random(1, {2 * delay_ms}) end\n")
        vip = at.vip() if family == 4 else f"[{at.vip(6)}]"
        self.out = at.world.path(f"wrk-{path.strip('/')}-{time.monotonic_ns()}.log")
        with open(self.out, "wb") as out:
            self.process = at.world.spawn(at.client, "wrk", "-t", threads, "-c", connections, "-d", f"{seconds}s",
                                          "--timeout", "5s", "-s", script, f"http://{vip}{path}", log="wrk.log", stdout=out)

    def result(self, seconds=30):
        """-> (requests, failures)"""
        self.process.wait(seconds)
        with open(self.out, encoding="utf-8") as file:
            text = file.read()
        match = re.search(r"(\d+) requests in", text)
        check(match and self.process.returncode == 0, f"wrk did not finish: {text[-300:]}")
        failures = 0
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        if errors:
            failures += sum(int(x) for x in errors.groups())
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        if bad:
            failures += int(bad[1])
        return int(match[1]), failures


class Download:
    """A slow download over one connection, its content compared at the end."""

    def __init__(self, at, family=4):
        self.want = hashlib.sha256(open(at.world.path("files", "big"), "rb").read()).hexdigest()
        self.file = at.world.path(f"download-{family}")
        host = at.vip() if family == 4 else f"[{at.vip(6)}]"
        self.process = at.world.spawn(at.client, "curl", "-sS", "-g", "-o", self.file, f"http://{host}/big", log="curl.log")

    def running(self):
        return self.process.poll() is None

    def size(self):
        return os.path.getsize(self.file) if os.path.exists(self.file) else 0

    def check(self, seconds):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"the download did not end; it has {self.size()} bytes") from error
        check(code == 0, f"curl of the download ended with {code}")
        with open(self.file, "rb") as file:
            got = hashlib.sha256(file.read()).hexdigest()
        check(got == self.want, "the download's content differs from the file")


class Ssh:
    """An interactive shell over ssh; say() asks it something and waits for the echo."""

    def __init__(self, at, options, host=None, namespace=None):
        self.process = at.world.spawn(namespace or at.client, "ssh", *options, f"root@{host or at.vip()}", "sh",
                                      log="ssh.log", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = queue.Queue()
        self.said = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode().strip())
        self.lines.put(None)

    def say(self, seconds=10):
        """-> the backend's name."""
        self.said += 1
        try:
            self.process.stdin.write(f"echo {self.said} $TEAL_NAME\n".encode())
            self.process.stdin.flush()
            line = self.lines.get(timeout=seconds)
        except (BrokenPipeError, queue.Empty) as error:
            raise Failure(f"the ssh session does not answer ({type(error).__name__})") from error
        check(line is not None, "the ssh session was closed")
        number, _, name = line.partition(" ")
        check(number == str(self.said), f'the ssh session answered "{line}", expected "{self.said} NAME"')
        return name

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


class SynCapture:
    """Records when each SYN to a port left the client (tcpdump, ns)."""

    def __init__(self, at, port=80, device="c0"):
        self.file = at.world.path("syn.pcap")
        self.process = at.world.spawn(at.client, "tcpdump", "-i", device, "-n", "-U", "-B", 8192, "-s", 96, "-w", self.file,
                                      "--time-stamp-precision=nano", "-Q", "out",
                                      f"ip and tcp dst port {port} and tcp[13] & 0x12 == 2", log="tcpdump.log")
        end = time.monotonic() + 5
        while not os.path.exists(self.file) or os.path.getsize(self.file) < 24:
            check(time.monotonic() < end and self.process.poll() is None, "tcpdump does not start: see tcpdump.log")
            time.sleep(0.05)

    def result(self):
        """-> {client port: [(ns of the first SYN, sequence number), ...] in time's order}"""
        time.sleep(0.3)
        self.process.terminate()
        self.process.wait(10)
        with open(self.file, "rb") as file:
            data = file.read()
        begun = collections.defaultdict(dict)
        offset = 24
        while offset + 16 <= len(data):
            seconds, nanos, length, _ = struct.unpack_from("<IIII", data, offset)
            ip = offset + 16 + 14
            tcp = ip + (data[ip] & 15) * 4
            port, sequence = struct.unpack_from(">H", data, tcp)[0], struct.unpack_from(">I", data, tcp + 4)[0]
            begun[port].setdefault(sequence, seconds * 10**9 + nanos)
            offset += 16 + length
        return {port: sorted((when, sequence) for sequence, when in v.items()) for port, v in begun.items()}


def served(at):
    """Every request in the servers' logs: (backend, client port, number in its connection, accepted ns, ended ns)."""
    out = []
    for name in at.backends:
        with open(at.world.path(f"{name}-access.log"), encoding="utf-8") as file:
            for line in file:
                fields = line.split()
                if len(fields) != 8:
                    continue
                ended = float(fields[4])
                out.append((fields[0], int(fields[2]), int(fields[3]), int((ended - float(fields[5])) * 1e9), int(ended * 1e9)))
    return out


def judge(syns, requests, windows):
    """Joins SYNs with requests. `windows`: (adopted_ns, end_ns, pool). -> dict with connections, moved (seen by more than
    one backend), late (begun in a window, served by the other pool) and inside (begun in some window)."""
    names = {}
    slack = 20_000_000  # nginx's clock is that of its last loop
    for name, port, _, accepted, _ in requests:
        before = [entry for entry in syns.get(port, ()) if entry[0] <= accepted + slack]
        if before:
            names.setdefault((port, before[-1]), set()).add(name)
    late = []
    inside = 0
    for (port, (began, _)), seen in names.items():
        for adopted, end, pool in windows:
            if adopted <= began < end:
                inside += 1
                if any(not name.startswith(pool) for name in seen):
                    late.append((port, (began - adopted) / 1e6, sorted(seen)))
    moved = [(port, sorted(seen)) for (port, _), seen in names.items() if len(seen) > 1]
    return {"connections": len(names), "moved": moved, "late": late, "inside": inside}
