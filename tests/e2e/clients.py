#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Observing clients, run inside a namespace: clients.py KIND '{JSON options}'. At SIGTERM each prints one JSON object
with what it saw and ends.

hold        N keep-alive connections, a request each every `interval_s` (SIGUSR1: all of them now); each must see one
            backend name for ever
churn       short connections one after the other in N threads; notes when each began (before its SYN) and who answered
rush        new connections at a set rate, from one loop: rush.py
udp         N UDP sockets, each asks every `interval_s`
udp-server  answers with its name
"""
import json
import signal
import socket
import sys
import threading
import time

from rush import rush

stop = threading.Event()


def connect(options):
    family = socket.AF_INET6 if ":" in options["vip"] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(options.get("timeout_s", 5))
    if "source" in options:
        sock.bind((options["source"], 0))
    sock.connect((options["vip"], options.get("port", 80)))
    return sock


def request(sock, path):
    """-> body; raises on anything that is not a whole 200."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: teal\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise ConnectionError("closed by the server before the answer's head ended")
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(f"answer {head[:40]!r}")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < length:
        more = sock.recv(65536)
        if not more:
            raise ConnectionError("closed by the server within the answer's body")
        body += more
    return body.decode().strip()


def hold(options):
    """Result: connections[] with names seen, requests, error (when, what)."""
    connections, threads, waits = [], [], []

    def wake(*_):
        for wait in waits:
            wait.set()

    signal.signal(signal.SIGUSR1, wake)

    def one(entry, wait):
        try:
            entry["began_ns"] = time.time_ns()
            with connect(options) as sock:
                entry["port"] = sock.getsockname()[1]
                while not stop.is_set():
                    asked = time.monotonic()
                    name = request(sock, "/name")
                    entry["longest_s"] = max(entry["longest_s"], time.monotonic() - asked)
                    entry["requests"] += 1
                    if name not in entry["names"]:
                        entry["names"].append(name)
                    wait.wait(options.get("interval_s", 0.1))
                    wait.clear()
        except OSError as error:
            if not stop.is_set() or isinstance(error, ConnectionResetError):
                entry["error"] = f"{type(error).__name__}: {error}"
                entry["error_ns"] = time.time_ns()

    for _ in range(options.get("count", 10)):
        connections.append({"requests": 0, "names": [], "error": None, "longest_s": 0.0})
        waits.append(threading.Event())
        threads.append(threading.Thread(target=one, args=(connections[-1], waits[-1]), daemon=True))
        threads[-1].start()
        time.sleep(options.get("stagger_s", 0.005))
    stop.wait()
    wake()
    for thread in threads:
        thread.join(options.get("timeout_s", 5) + 1)
    return {"connections": connections}


def churn(options):
    """Result: connections[] of [began_ns, name]; errors[] of [began_ns, text]."""
    done, errors, threads = [], [], []

    def loop():
        while not stop.is_set():
            began = time.time_ns()
            try:
                with connect(options) as sock:
                    done.append([began, request(sock, "/close")])
            except OSError as error:
                errors.append([began, f"{type(error).__name__}: {error}"])
            stop.wait(options.get("interval_s", 0.02))

    for _ in range(options.get("count", 2)):
        threads.append(threading.Thread(target=loop, daemon=True))
        threads[-1].start()
    stop.wait()
    for thread in threads:
        thread.join(options.get("timeout_s", 5) + 1)
    return {"connections": done, "errors": errors}


def udp(options):
    """Result: sockets[] with names seen, asked, answered."""
    family = socket.AF_INET6 if ":" in options["vip"] else socket.AF_INET
    entries = []
    count, fresh = options.get("count", 10), options.get("fresh", False)

    def one(entry):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.settimeout(options.get("timeout_s", 1))
        sock.connect((options["vip"], options.get("port", 5353)))
        entry["port"], entry["began_ns"] = sock.getsockname()[1], time.time_ns()
        while not stop.is_set():
            entry["asked"] += 1
            word = f"{entry['port']}-{entry['asked']}".encode().ljust(options.get("size", 20), b".")
            try:
                sock.send(word)
                name, _, echo = sock.recv(65536).partition(b" ")
            except OSError as error:
                if not stop.is_set():
                    entry["errors"].append(f"{type(error).__name__}: {error}")
                continue
            if echo == word:
                entry["answered"] += 1
            else:
                entry["errors"].append(f"asked {word[:30]!r}, answered {echo[:30]!r}")
            if name.decode() not in entry["names"]:
                entry["names"].append(name.decode())
            if fresh:
                break
            stop.wait(options.get("interval_s", 0.05))
        sock.close()

    def worker():
        while not stop.is_set():
            entry = {"asked": 0, "answered": 0, "names": [], "errors": []}
            entries.append(entry)
            one(entry)
            stop.wait(options.get("interval_s", 0.05))

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join(2)
    return {"sockets": entries}


def udp_server(options):
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    # Answers must leave from the address that was asked, which with direct return is the VIP on lo.
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    sock.bind(("::", options["port"]))
    name = options["name"].encode() + b" "
    while True:
        data, extra, _, peer = sock.recvmsg(65536, 256)
        info = [(level, kind, value[:16] + bytes(4)) for level, kind, value in extra if kind == socket.IPV6_PKTINFO]
        try:
            sock.sendmsg([name + data], info, 0, peer)
        except OSError as error:
            print(error, file=sys.stderr, flush=True)


def main():
    kind, options = sys.argv[1], json.loads(sys.argv[2])
    if kind == "udp-server":
        return udp_server(options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open(options["ready"], "wb"):
        pass
    result = {"hold": hold, "churn": churn, "udp": udp, "rush": lambda o: rush(o, stop)}[kind](options)
    json.dump(result, sys.stdout)
    sys.stdout.flush()
    return None


if __name__ == "__main__":
    main()
