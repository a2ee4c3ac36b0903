# SPDX-License-Identifier: Apache-2.0
"""Settled services: packets of connections under way that go without the table, and those that must not."""
from case import *  # noqa: F401,F403

FORWARDS = ("nat", "l2dsr", "ipip")
YES, NO = {"settled": 1}, {"settled": 0}
SEED = 1  # one packet in 256 goes the long way; with this secret none of those that are counted here


class Counted(Conn):
    """A connection whose backend has sent data; in NAT its replies are seen as well."""

    def begin(self):
        self.open()
        self.up("PA", 1001, 5001, b"ask")
        if self.forward == "nat":
            self.down("PA", 5001, 1004, b"answer")

    def talk(self, events, backend=None):
        self.up("PA", 1004, 5007, b"more", events=events, backend=backend)
        if self.forward == "nat":
            self.down("A", 5007, 1008, b"x" * 1000, events=events, backend=backend)


def settle(c):
    """An entry of a moment ago rests for a walk."""
    c.sweep()
    c.sweep()


def new(name, services, description, **fields):
    return Case(name, services, description, seed=SEED, **fields)


for n in (V4, V6):
    v = f"v{n.family}"
    two = [n.blue, n.blue2]

    def maybe(p, pool):
        return {a: to_backend(a, changed(p, dst=a, dport=8080)) for a in pool}

    for forward in FORWARDS:
        web = service(n, forward=forward)
        c = new(f"settled_life/{v}_{forward}", [web], "data goes without the table, the end does not")
        f = Counted(c, n, n.blue, forward=forward)
        f.begin()
        f.talk(NO if forward == "nat" else {})
        c.sweep()
        f.up("A", 1008, 6007, note="after one walk its cell is not known yet")
        c.sweep()
        f.talk(YES)
        f.up("A", 1008, 6007, b"urgent" * 50, events=YES)
        f.entry("established", "blue")
        f.up("FA", 1008, 6007, events=NO)
        f.entry("fin_client" if forward == "nat" else "closing", "blue")
        f.up("A", 1009, 6007, events=NO)
        if forward == "nat":
            f.down("A", 6007, 1009, b"the rest", events=NO)
            settle(c)
            f.down("PA", 6015, 1009, b"of it", events=NO)
            f.down("FA", 6020, 1009, events=NO)
            f.entry("closing", "blue")
            f.up("A", 1009, 6021, events=NO)

        for flags, state in (("R", "closed"), ("RA", "closed")):
            c = new(f"settled_reset/{v}_{forward}_{flags}", [web], "a RST is seen, and what comes after it")
            f = Counted(c, n, n.blue, forward=forward)
            f.begin()
            settle(c)
            f.talk(YES)
            f.up(flags, 1008, 6007, events=NO)
            f.entry(state, "blue")
            f.up("A", 1008, 6007, events=NO)
            settle(c)
            f.up("A", 1008, 6007, events=NO)
            f.entry(state, "blue")
            c.cutover("green")
            f.up("S", 90000, backend=n.green, events={**NO, "flows_new": 1})
            f.entry("syn", "green", n.green)
            f.up("A", 90001, 1, backend=n.green, events=NO)

        c = new(f"settled_half_open/{v}_{forward}", [web], "a handshake beside it counts as one")
        f = Counted(c, n, n.blue, forward=forward)
        f.begin()
        h = Counted(c, n, n.blue, sport=40001, forward=forward)
        h.up("S")
        if forward == "nat":
            h.down("SA", 5000, 1001)
        settle(c)
        f.talk(YES)
        h.up("A", 1001, 5001, events=NO)
        h.entry("established", "blue")
        c.signals(blue1={"begun": 2, "handshakes": 2, bucket(0): 2})
        settle(c)
        h.up("A", 1001, 5001, events=NO, note="without data")

        c = new(f"settled_cutover/{v}_{forward}", [web], "old connections stay, new ones go to green, all settle again")
        f = Counted(c, n, n.blue, forward=forward)
        f.begin()
        settle(c)
        f.talk(YES)
        c.cutover("green")
        f.talk(NO)
        g = Counted(c, n, n.green, sport=40001, forward=forward)
        g.begin()
        settle(c)
        g.talk(NO)
        f.talk(NO)
        c.drained()
        g.talk(NO)
        settle(c)
        g.talk(YES)
        f.talk(NO)
        f.entry("established", "blue")
        g.entry("established", "green")
        c.cutover("blue")
        g.talk(NO)
        f.talk(NO)
        c.drained()
        settle(c)
        f.talk(YES)
        g.talk(NO)

    c = new(f"settled_syn/{v}", [service(n)], "a SYN takes the table, and keeps what it finds")
    f = Counted(c, n, n.blue)
    f.begin()
    settle(c)
    f.talk(YES)
    f.up("S", 90000, events={**NO, "flows_new": 0})
    f.down("SA", 5000, 1001, events=NO)
    f.entry("established", "blue")
    f.talk(YES)

    c = new(f"settled_backend_ends/{v}", [service(n)], "the backend's FIN and RST")
    for i, flags in enumerate(("FA", "RA")):
        f = Counted(c, n, n.blue, sport=40000 + i)
        f.begin()
        settle(c)
        f.talk(YES)
        f.down(flags, 6007, 1008, events=NO)
        f.entry("fin_backend" if flags == "FA" else "closed", "blue")
        f.talk(NO)

    for how in ("rollback", "share", "draining"):
        c = new(f"settled_split_{how}/{v}", [service(n)], "any other change of the split")
        c.cutover("green")
        c.drained()
        g = Counted(c, n, n.green)
        g.begin()
        settle(c)
        g.talk(YES)
        if how == "rollback":
            c.rollback("keep")
        else:
            c.split(0 if how == "draining" else 65535 if how == "share" else 0, "green", draining=how == "draining")
        g.talk(NO)
        settle(c)
        g.talk(NO)
        g.entry("established", "green")

    c = new(f"settled_rollback_reset/{v}", [service(n)], "what the operator resets is answered by RSTs")
    c.cutover("green")
    c.drained()
    g = Counted(c, n, n.green)
    g.begin()
    settle(c)
    g.talk(YES)
    c.rollback("reset")
    c.drained()
    settle(c)
    g.entry("reset", "green")
    p = tcp(n, n.client, 40000, n.vip, 80, "PA", 1001, 5001, b"hello?")
    back = (n.ip(n.vip, n.client) if n.v4 else IPv6(src=n.vip, dst=n.client, hlim=64)) / TCP(
        sport=80, dport=40000, flags="R", seq=5001, ack=0, window=0)
    if n.v4:
        back.id = 0
    on = changed(tcp(n, n.client, 40000, n.vip, 80, "R", 1001, 0), dst=n.green, dport=8080)
    on[TCP].window = 0
    c.send("client", 0, from_router(p), out(0, to_client(back)), out(1, to_backend(n.green, on)),
           drop={"reset_flow": 1}, events={"rst_sent": 2, **NO})

    for what in ("weight", "removed", "state", "added"):
        def web_of(blue):
            return service(n, forward="l2dsr", blue=blue)

        c = new(f"settled_membership_{what}/{v}", [web_of([n.blue] if what == "added" else two)],
                "connections stay with their backend however the pool's membership changes")
        ports = range(40000, 40010)

        def say(note, flags, counted=None, **hold):
            for port in ports:
                data = b"data" if "P" in flags else b""
                p = tcp(n, n.client, port, n.vip, 80, flags, 1001, 0 if flags == "S" else 5001, data)
                held = {k: f"f{port}" for k in hold}
                c.send(f"{note}: {port}", 0, from_router(p), any_of(1, {a: to_backend(a, p) for a in two}, **held),
                       events={"flows_recovered": 0, **(counted or {})})

        say("begins", "S", bind=True)
        say("begins", "A", same=True)
        say("data", "PA", same=True)
        settle(c)
        say("settled", "PA", same=True)
        c.totals(settled=(8, 10))
        if what == "weight":
            c.backend(at(n.blue, 80), weight=0)
        elif what == "state":
            c.backend(at(n.blue, 80), state="drain")
        else:
            c.publish([web_of([n.blue2] if what == "removed" else two)])
        say("after", "PA", NO, same=True)
        settle(c)
        say("settled again", "PA", same=True)
        c.totals(settled=(9, 19))  # those whose backend is the new table's as well

    c = new(f"settled_local/{v}", [service(n)], "what a backend answers the host itself is the kernel's")
    f = Counted(c, n, n.blue)
    f.begin()
    settle(c)
    f.talk(YES)
    host = "198.51.100.2" if n.v4 else "2001:db8:e::2"
    # Entries enough for some of the host's ports to find cells that are settled, of clients.
    for port in range(41000, 41024):
        Counted(c, n, n.blue, sport=port).begin()
    settle(c)
    for port in range(50000, 50040):
        r = from_backend(n.blue, tcp(n, n.blue, 8080, host, port, "PA", 1, 1, b"healthy"))
        c.send("to the host", 1, r, kernel(1, r), events={**NO, "punted": 0})
    f.talk(YES)

    for what, svc in (("affinity", service(n, affinity={"by": "client"})),
                      ("preview", service(n, preview={"clients": ["192.0.2.99/32" if n.v4 else "2001:db8:99::/64"]})),
                      ("short", service(n))):
        c = new(f"settled_never_{what}/{v}", [svc], "its connections are always looked up",
                engine={"timeouts": {"established_s": 59}} if what == "short" else None)
        f = Counted(c, n, n.blue)
        f.begin()
        for _ in range(3):
            settle(c)
            f.talk(NO)
        c.totals(settled=(0, 0))

    c = new(f"settled_never_shared/{v}", [service(n), service(n, "other", 81)], "two services on one backend address and port")
    f = Counted(c, n, n.blue)
    f.begin()
    settle(c)
    f.talk(NO)

    c = new(f"settled_never_udp/{v}", [service(n, "dns", 53, protocol="udp", backend_port=5353)], "datagrams are always looked up")
    q = udp(n, n.client, 40000, n.vip, 53, b"query")
    a = udp(n, n.blue, 5353, n.client, 40000, b"answer")
    for _ in range(3):
        c.send("query", 0, from_router(q), out(1, to_backend(n.blue, changed(q, dst=n.blue, dport=5353))), events=NO)
        c.send("answer", 1, from_backend(n.blue, a), out(0, to_client(changed(a, src=n.vip, sport=53))), events=NO)
        settle(c)

    c = new(f"settled_becomes_affinity/{v}", [service(n)], "a reload that takes it from the settled")
    f = Counted(c, n, n.blue)
    f.begin()
    settle(c)
    f.talk(YES)
    c.publish([service(n, affinity={"by": "client"})])
    f.talk(NO)
    settle(c)
    f.talk(NO)
    c.publish([service(n)])
    f.talk(NO)
    settle(c)
    f.talk(YES)

    c = new(f"settled_stale/{v}", [service(n)], "an entry not seen for an eighth of its time-out is looked for, and young again",
            engine={"timeouts": {"established_s": 80}})
    f = Counted(c, n, n.blue)
    f.begin()
    settle(c)
    c.ticks(9 * 4096)
    settle(c)
    f.talk(YES)
    c.ticks(2 * 4096)
    settle(c)
    f.talk(NO)
    settle(c)
    f.talk(YES)
    c.ticks(4096)

    c = new(f"settled_goes_long/{v}", [service(n)], "one packet in 256 takes the table, and keeps the entry young",
            engine={"timeouts": {"established_s": 60}})
    f = Counted(c, n, n.blue)
    f.begin()
    settle(c)
    p = tcp(n, n.client, 40000, n.vip, 80, "A", 1004, 5007)
    c.send("ACKs, nobody walks", 0, from_router(p), out(1, to_backend(n.blue, changed(p, dst=n.blue, dport=8080))),
           times=5120, apart_ticks=65)  # 81 s
    c.totals(settled=(5120 - 40, 5120 - 6))
    f.up("S", 90000, events={"flows_new": 0}, note="a SYN finds it alive")
    f.entry("established", "blue")
