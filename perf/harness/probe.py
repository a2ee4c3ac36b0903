# SPDX-License-Identifier: Apache-2.0
"""A client of a UDP echo service, run in the client's namespace: one kept flow, a datagram each interval.
Usage: probe.py '{"vip": ..., "port": ..., "interval_us": ..., "ready": FILE}'; ends at SIGTERM and prints JSON:
sent, lost, reordered, and every answer as [sent ns since 1970, microseconds until its answer]."""
import json
import select
import signal
import socket
import struct
import sys
import time

SO_TIMESTAMPNS = 35  # asm-generic/socket.h

def main(options):
    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((options["vip"], options["port"]))
    s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    s.setblocking(False)
    interval = options["interval_us"] * 1000
    sent, answers, latest, reordered = 0, {}, -1, 0
    due = time.monotonic_ns()
    end = None
    open(options["ready"], "w", encoding="ascii").close()
    while end is None or time.monotonic_ns() < end:
        now = time.monotonic_ns()
        if going and now >= due:
            s.send(struct.pack("<QQ", sent, time.time_ns()))
            sent += 1
            due = max(due + interval, now - 50 * interval)
        elif not going and end is None:
            end = now + 500_000_000  # what is still under way
        if select.select([s], [], [], max(0, (due if end is None else end) - time.monotonic_ns()) / 1e9)[0]:
            try:
                data, extra, _, _ = s.recvmsg(2048, 64)
            except ConnectionRefusedError:
                continue
            seconds, nanos = struct.unpack("qq", extra[0][2])  # when the kernel had it: our own waking does not count
            arrived = seconds * 10**9 + nanos
            number, when = struct.unpack("<QQ", data[-16:])  # behind the backend's name
            if number in answers:
                continue
            reordered += number < latest
            latest = max(latest, number)
            answers[number] = (when, (arrived - when) / 1000)
    print(json.dumps({"sent": sent, "lost": sent - len(answers), "reordered": reordered,
                      "answers": [list(v) for _, v in sorted(answers.items())]}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
