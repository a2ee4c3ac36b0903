# SPDX-License-Identifier: Apache-2.0
"""What packets tell of a pool's health: counted by pool and generation, read as golden values."""
from case import *  # noqa: F401,F403

WRAP24, WRAP32, SECOND = 1 << 24, 1 << 32, 4096  # of the clock, in fine ticks
FORWARDS = ("nat", "l2dsr", "ipip")


def shaken(n=1, **more):
    """n handshakes without delay."""
    return {"begun": n, "handshakes": n, bucket(0): n, **more}


for n in (V4, V6):
    v = f"v{n.family}"

    c = Case(f"signals_life/{v}", [service(n)], "each counter moves with the packet that says so, and once")
    f = Conn(c, n, n.blue)
    c.signals()
    f.up("S")
    c.signals(blue1={"begun": 1})
    c.ticks(5)
    f.down("SA", 5000, 1001)
    c.signals(blue1={"begun": 1, "handshake 3": 1})
    c.ticks(100)
    f.up("A", 1001, 5001)
    life = {"begun": 1, "handshakes": 1, "handshake 3": 1}
    c.signals(blue1=life)
    f.down("SA", 5000, 1001, note="a SYN-ACK again")
    f.up("A", 1001, 5001)
    f.up("PA", 1001, 5001, b"ask")
    f.down("PA", 5001, 1004, b"answer")
    f.up("FA", 1004, 5007)
    f.down("FA", 5007, 1005)
    f.up("A", 1005, 5008)
    c.signals(blue1=life)
    f.down("R", 5008, note="after the end")
    c.signals(blue1=life)
    f.up("S", 9000, note="the same ports: another connection")
    c.signals(blue1={**life, "begun": 2})

    # ---- handshake time, in every bucket at both of its edges
    for forward in FORWARDS:
        c = Case(f"handshake_time/{v}_{forward}", [service(n, forward=forward)],
                 "SYN to SYN-ACK in NAT, SYN to ACK where only the client is seen")
        total = {}
        edges = sorted({0, 40000} | {e for k in range(15) for e in ((1 << k) - 1, 1 << k)})
        for i, t in enumerate(edges):
            f = Conn(c, n, n.blue, sport=40000 + i, forward=forward)
            f.up("S")
            c.ticks(t)
            if forward == "nat":
                f.down("SA", 5000, 1001)
                if i % 8 == 0:
                    c.ticks(SECOND)  # the client's own delay is not the backend's
            f.up("A", 1001, 5001)
            total[bucket(t)] = total.get(bucket(t), 0) + 1
            c.signals(blue1={"begun": i + 1, "handshakes": i + 1, **total})
        for name, count in (("handshake 0", 1), ("handshake 1", 1), ("handshake 2", 2), ("handshake 14", 2), ("handshake 15", 2)):
            assert total[name] == count, total

    # ---- over the clock's wraps
    for forward in FORWARDS:
        for bits, wrap in ((24, WRAP24), (32, WRAP32)):
            c = Case(f"clock_wrap/{v}_{forward}_{bits}", [service(n, forward=forward)],
                     f"a handshake while the clock passes 2^{bits} fine ticks")
            old = Conn(c, n, n.blue, sport=39999, forward=forward)
            c.clock(wrap - 20 * SECOND)
            old.open()
            c.ticks(20 * SECOND - 10)
            f, late = (Conn(c, n, n.blue, sport=40000 + i, forward=forward) for i in range(2))
            f.up("S")
            late.up("S")
            c.ticks(25)
            if forward == "nat":
                f.down("SA", 5000, 1001)
            f.up("A", 1001, 5001)
            c.signals(blue1={"begun": 3, "handshakes": 2, "handshake 0": 1, "handshake 5": 1})
            c.sweep()
            late.entry("syn", "blue")
            old.entry("established", "blue")
            c.ticks(2 * SECOND)
            c.cutover("green")
            late.up("S", note="retransmitted over the wrap: the same flow", events={"flows_new": 0})
            old.up("PA", 1001, 5001, b"still here", events={"flows_new": 0})
            c.advance(10000)
            c.sweep()
            c.no_flow(n.client, 40001)
            f.entry("established", "blue")
            old.entry("established", "blue")
            c.signals(blue1={"begun": 3, "handshakes": 2, "handshake 0": 1, "handshake 5": 1, "syn_retransmits": 1,
                             "timed_out": 1})

    c = Case(f"slow_handshake/{v}", [service(n)], "a half-open entry of 29 minutes, across the wrap of its stamp",
             engine={"timeouts": {"half_open_s": 1800}})
    c.clock(WRAP24 - 600 * SECOND)
    f = Conn(c, n, n.blue)
    f.up("S")
    c.advance(1740 * 1000)
    c.sweep()
    f.down("SA", 5000, 1001)
    f.up("A", 1001, 5001)
    c.signals(blue1={"begun": 1, "handshakes": 1, "handshake 15": 1})

    # ---- resets
    c = Case(f"refused/{v}", [service(n)], "a RST of the backend while the handshake is under way")
    f = Conn(c, n, n.blue)
    f.up("S")
    f.down("RA", 0, 1001)
    f.entry("closed", "blue")
    c.signals(blue1={"begun": 1, "refused": 1})
    f.down("RA", 0, 1001, note="and again")
    f.up("S", 2000, note="the client tries again")
    f.down("SA", 5000, 2001)
    f.down("R", 5001, note="after its SYN-ACK")
    f.entry("closed", "blue")
    c.signals(blue1={"begun": 2, "refused": 2, "handshake 0": 1})

    c = Case(f"early_reset/{v}", [service(n)], "a RST of the backend before it has sent anything")
    f = Conn(c, n, n.blue)
    f.open()
    f.up("PA", 1001, 5001, b"a request is no answer")
    f.down("A", 5001, 1023)
    f.down("RA", 5001, 1023)
    c.signals(blue1=shaken(early_resets=1))
    f = Conn(c, n, n.blue, sport=40001)
    f.open()
    f.down("FA", 5001, 1001)
    f.down("R", 5002)
    c.signals(blue1=shaken(2, early_resets=2))

    c = Case(f"reset/{v}", [service(n)], "a RST of the backend after data")
    for i, last in enumerate(("A", "FA", "PFA")):
        f = Conn(c, n, n.blue, sport=40000 + i)
        f.open()
        f.up("PA", 1001, 5001, b"ask")
        if last != "PFA":
            f.down("PA", 5001, 1004, b"answer")
        f.down(last, 5007, 1004, b"" if last != "PFA" else b"answer and end")
        f.down("R", 5007)
        c.signals(blue1=shaken(i + 1, resets=i + 1))

    c = Case(f"half_closed_reset/{v}", [service(n)], "the client has sent its FIN and waits: the answer is data all the same")
    for i, reply in enumerate((b"", b"answer")):
        f = Conn(c, n, n.blue, sport=40000 + i)
        f.open()
        f.up("PFA", 1001, 5001, b"ask and end")
        f.down("PA" if reply else "A", 5001, 1013, reply)
        f.entry("fin_client", "blue")
        f.down("RA", 5001 + len(reply), 1013)
        c.signals(blue1=shaken(i + 1, early_resets=1, **({"resets": 1} if reply else {})))

    c = Case(f"clients_reset/{v}", [service(n)], "NAT: what the client resets is not the backend's doing")
    f = Conn(c, n, n.blue)
    f.up("S")
    f.up("R", 1001)
    f.entry("closed", "blue")
    f = Conn(c, n, n.blue, sport=40001)
    f.open()
    f.up("RA", 1001, 5001)
    f.entry("closed", "blue")
    f = Conn(c, n, n.blue, sport=40002)
    f.open()
    f.down("PA", 5001, 1001, b"data")
    f.up("R", 1001)
    f.down("R", 5005, note="the backend's, crossing it")
    c.signals(blue1={"begun": 3, "handshakes": 2, bucket(0): 2})

    c = Case(f"operators_reset/{v}", [service(n)], "flows that the operator reset are no sign of the backend's health")
    c.cutover("green")
    f = Conn(c, n, n.green)
    f.open()
    c.rollback("reset")
    f.entry("reset", "green")
    c.signals(green2=shaken())

    for forward in ("l2dsr", "ipip"):
        c = Case(f"one_way_resets/{v}_{forward}", [service(n, forward=forward)],
                 "where nobody sees the backend's, the client's RST counts")
        f = Conn(c, n, n.blue, forward=forward)
        f.up("S")
        f.up("R", 1001)
        c.signals(blue1={"begun": 1, "refused": 1})
        f = Conn(c, n, n.blue, sport=40001, forward=forward)
        f.open()
        f.up("RA", 1001, 5001)
        c.signals(blue1={"begun": 2, "refused": 1, "handshakes": 1, bucket(0): 1, "early_resets": 1})
        f = Conn(c, n, n.blue, sport=40002, forward=forward)
        f.open()
        f.up("PA", 1001, 5001, b"asked")
        f.up("A", 1006, 6001)
        f.up("R", 1006)
        f.up("R", 1006)
        c.signals(blue1={"begun": 3, "refused": 1, "handshakes": 2, bucket(0): 2, "early_resets": 1, "resets": 1})

    # ---- SYNs again
    for forward in FORWARDS:
        c = Case(f"syn_retransmits/{v}_{forward}", [service(n, forward=forward)],
                 "a SYN that meets its half-open entry; the handshake counts from the first")
        f = Conn(c, n, n.blue, forward=forward)
        f.up("S")
        c.ticks(SECOND)
        f.up("S", note="again")
        c.ticks(2 * SECOND)
        f.up("S", note="and again")
        c.signals(blue1={"begun": 1, "syn_retransmits": 2})
        c.ticks(100)
        if forward == "nat":
            f.down("SA", 5000, 1001)
        again = 2 + (forward == "nat")
        if forward == "nat":
            f.up("S", note="crossing the SYN-ACK")
        f.up("A", 1001, 5001)
        c.signals(blue1={"begun": 1, "handshakes": 1, "syn_retransmits": again, bucket(3 * SECOND + 100): 1})
        f.up("S", note="one that meets an established flow is not one")
        c.signals(blue1={"begun": 1, "handshakes": 1, "syn_retransmits": again, bucket(3 * SECOND + 100): 1})

    # ---- which generation
    c = Case(f"signals_generation/{v}", [service(n)], "a flow is counted where it began, whatever was switched meanwhile")
    first = Conn(c, n, n.blue)
    first.up("S")
    seen = {"blue1": {"begun": 1}}
    for generation, pool in ((2, "green"), (3, "blue"), (4, "green"), (5, "blue"), (6, "green")):
        c.cutover(pool)
        f = Conn(c, n, getattr(n, pool), sport=40000 + generation)
        f.open()
        c.flow(n.client, 40000 + generation, pool=pool, generation=generation)
        at_place = seen.setdefault(f"{pool}{generation % 4}", {})
        for name, count in shaken().items():
            at_place[name] = at_place.get(name, 0) + count
        c.signals(**seen)
    first.down("SA", 5000, 1001)
    first.up("A", 1001, 5001)
    first.down("R", 5001)
    b = seen["blue1"]
    b["handshakes"], b[bucket(0)], b["early_resets"] = b["handshakes"] + 1, b[bucket(0)] + 1, 1
    c.signals(**seen)

    # ---- what ran out of time
    for forward in FORWARDS:
        c = Case(f"timed_out/{v}_{forward}", [service(n, forward=forward)], "half-open entries that the sweeper takes away")
        silent, answered, whole = (Conn(c, n, n.blue, sport=40000 + i, forward=forward) for i in range(3))
        silent.up("S")
        answered.up("S")
        if forward == "nat":
            answered.down("SA", 5000, 1001)
        whole.open()
        took = {bucket(0): 1 + (forward == "nat"), "handshakes": 1, "begun": 3}
        c.cutover("green")
        c.advance(10000)
        c.sweep()
        silent.entry("syn", "blue")
        c.signals(blue1=took)
        c.advance(63)
        c.sweep()
        c.no_flow(n.client, 40000)
        c.no_flow(n.client, 40001)
        c.signals(blue1={**took, "timed_out": 2})
        c.advance(3600 * 1000 + 63)
        c.sweep()
        c.no_flow(n.client, 40002)
        c.signals(blue1={**took, "timed_out": 2})

    c = Case(f"expired_syn/{v}", [service(n)], "a SYN that meets an entry out of time begins anew, and is none again")
    f = Conn(c, n, n.blue)
    f.up("S")
    c.advance(10063)
    f.up("S")
    c.signals(blue1={"begun": 2})

    # ---- what begins nothing
    c = Case(f"signals_recovered/{v}", [service(n)], "a flow from its middle has not begun here; its reset is seen")
    f = Conn(c, n, n.blue)
    f.up("PA", 1001, 5001, b"lost", events={"flows_recovered": 1})
    f.down("A", 5001, 1005)
    c.signals()
    f.down("R", 5001)
    c.signals(blue1={"resets": 1})  # data has passed: no early one

    c = Case(f"signals_udp/{v}", [service(n, "dns", 53, protocol="udp", backend_port=5353)], "datagrams: only that they began")
    q = udp(n, n.client, 40000, n.vip, 53, b"query")
    for _ in range(2):
        c.send("query", 0, from_router(q), out(1, to_backend(n.blue, changed(q, dst=n.blue, dport=5353))))
    a = udp(n, n.blue, 5353, n.client, 40000, b"answer")
    c.send("answer", 1, from_backend(n.blue, a), out(0, to_client(changed(a, src=n.vip, sport=53))))
    c.signals("dns", blue1={"begun": 1})
