# SPDX-License-Identifier: Apache-2.0
"""The observing client `rush` of clients.py: new connections at a set rate, a request each, all of them from one loop, and
what became of each by this host's clock. It tells a refused connection from a slow one and from one without an answer."""
import collections
import errno
import os
import select
import socket
import time

LATE_S = 0.05  # what the loop owes beyond this is not made up for: a burst would be another load


class _Attempt:
    def __init__(self, sock, began):
        self.sock, self.began = sock, began
        self.port = self.connected = self.ended = 0
        self.data, self.error = b"", ""

    def row(self):
        body = self.data.partition(b"\r\n\r\n")[2].decode().strip()
        return {"began": self.began, "connected": self.connected, "ended": self.ended, "port": self.port,
                "name": body if self.ended and not self.error else "", "error": self.error}


class Rush:
    """options: vip, port, rate (connections a second), timeout_s, finish_s (for those under way at the end)."""

    def __init__(self, options):
        self.target = (options["vip"], options.get("port", 80))
        self.family = socket.AF_INET6 if ":" in options["vip"] else socket.AF_INET
        self.gap = 1 / options.get("rate", 300)
        self.timeout_ns = int(options.get("timeout_s", 3) * 1e9)
        self.finish_s = options.get("finish_s", 1)
        self.epoll = select.epoll()
        self.open = {}
        self.order = collections.deque()  # by the time they began
        self.rows = []

    def begin(self):
        sock = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        attempt = _Attempt(sock, time.time_ns())
        code = sock.connect_ex(self.target)
        if code not in (0, errno.EINPROGRESS):
            return self.end(attempt, code)
        attempt.port = sock.getsockname()[1]
        self.open[sock.fileno()] = attempt
        self.order.append(attempt)
        return self.epoll.register(sock, select.EPOLLOUT)

    def end(self, attempt, code=0):
        attempt.ended = time.time_ns()
        if not code and not attempt.data.startswith(b"HTTP/1.1 200"):
            attempt.error = "closed before the answer"
        elif code:
            attempt.error = errno.errorcode.get(code, str(code))
        self.open.pop(attempt.sock.fileno(), None)
        attempt.sock.close()
        self.rows.append(attempt.row())

    def turn(self, attempt):
        sock = attempt.sock
        if not attempt.connected:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                return self.end(attempt, code)
            attempt.connected = time.time_ns()
            self.epoll.modify(sock, select.EPOLLIN)
            sock.send(b"GET /close HTTP/1.1\r\nHost: teal\r\n\r\n")
            return None
        more = sock.recv(4096)
        attempt.data += more
        return None if more else self.end(attempt)

    def poll(self, wait_s):
        for fd, _ in self.epoll.poll(max(0, wait_s)):
            attempt = self.open.get(fd)
            if not attempt:
                continue
            try:
                self.turn(attempt)
            except BlockingIOError:
                pass
            except OSError as error:
                self.end(attempt, error.errno)
        now = time.time_ns()
        while self.order and (self.order[0].ended or now - self.order[0].began > self.timeout_ns):
            attempt = self.order.popleft()
            if not attempt.ended:
                self.end(attempt, errno.ETIMEDOUT)

    def run(self, stop):
        due = time.monotonic()
        while not stop.is_set():
            now = time.monotonic()
            due = max(due, now - LATE_S)
            while due <= now:
                self.begin()
                due += self.gap
            self.poll(due - time.monotonic())
        end = time.monotonic() + self.finish_s
        while self.open and time.monotonic() < end:
            self.poll(0.02)
        self.rows += [a.row() for a in self.open.values()]  # no end, no name, no error: under way
        return {"connections": sorted(self.rows, key=lambda r: r["began"])}


def rush(options, stop):
    """Result: connections[] with began, connected, ended (ns, 0: never), port, name and error."""
    os.nice(-5)  # late readings of the clock would be the load's, not the balancer's
    return Rush(options).run(stop)
