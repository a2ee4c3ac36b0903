#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Backends that serve badly. As a program, run inside a namespace:

resetting PORT            accepts, and resets the connection at once, before any data
wire DEVICE DEVICE MS     carries frames between two devices; those from the first one arrive MS milliseconds late

The kernel here has no netem, so a slow backend stands behind such a wire.
"""
import os
import select
import socket
import struct
import sys
import threading
import time

HERE = os.path.abspath(__file__)
ETH_P_ALL, PACKET_OUTGOING = 3, 4


def resetting(port):
    server = socket.create_server(("", port), backlog=4096)
    while True:
        sock, _ = server.accept()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def _carry(source, sink, delay_s):
    """Frames in order, each no earlier than `delay_s` after it came."""
    waiting = []
    while True:
        rest = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        if select.select([source], [], [], rest)[0]:
            frame, where = source.recvfrom(65536)
            if where[2] != PACKET_OUTGOING:
                waiting.append((time.monotonic() + delay_s, frame))
        while waiting and waiting[0][0] <= time.monotonic():
            sink.send(waiting.pop(0)[1])


def wire(slow, fast, delay_s):
    ends = []
    for device in (slow, fast):
        ends.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
        ends[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        ends[-1].bind((device, ETH_P_ALL))
    threading.Thread(target=_carry, args=(ends[1], ends[0], 0), daemon=True).start()
    _carry(ends[0], ends[1], delay_s)


def make_resetting(at, *names):
    from world import until
    for name in names:
        at.world.spawn(at.backends[name], "/usr/bin/python3", HERE, "resetting", 80, log=f"{name}-resetting.log")
    for name in names:
        until(lambda n=name: ":80 " in at.backends[n].run("ss", "-ltn").stdout, 10, f"the resetting server of {name} listens")


def make_slow(at, delay_ms, *names):
    """What these backends send comes late: their SYN-ACKs, too. two_ports only."""
    from world import attach, cable
    for name in names:
        near, far = f"near-{name}", f"far-{name}"
        at.lan.run("ip", "link", "set", name, "nomaster")
        cable(at.lan, near, at.lan, far)
        attach(at.lan, "br0", far)
        at.world.spawn(at.lan, "/usr/bin/python3", HERE, "wire", name, near, delay_ms, log=f"{name}-wire.log")


def _on_syn(at, name, what):
    at.backends[name].run("nft", "-f", "-", stdin="table inet bad {\n chain input {\n  type filter hook input priority 0;\n"
                          f"  tcp dport {{80, 8080}} tcp flags & (syn | ack) == syn {what}\n }}\n}}\n")


def make_refusing(at, *names):
    """New connections are refused from now on; those that stand live on."""
    for name in names:
        _on_syn(at, name, "reject with tcp reset")


def make_silent(at, *names):
    """A black hole for new connections."""
    for name in names:
        _on_syn(at, name, "drop")


def repair(at, *names):
    """Takes back make_refusing and make_silent."""
    for name in names:
        at.backends[name].run("nft", "delete", "table", "inet", "bad")


if __name__ == "__main__":
    if sys.argv[1] == "resetting":
        resetting(int(sys.argv[2]))
    else:
        wire(sys.argv[2], sys.argv[3], float(sys.argv[4]) / 1000)
