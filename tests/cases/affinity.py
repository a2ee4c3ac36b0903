# SPDX-License-Identifier: Apache-2.0
"""Affinity: a client's later connections follow its first, over a cutover, until it has been away for the time-out."""
from case import *  # noqa: F401,F403

WRAP32, SECOND = 1 << 32, 4096  # fine ticks
FORWARDS = ("nat", "l2dsr", "ipip")
MINUTE = {"affinity": {"by": "client", "timeout": "60s"}}

for n in (V4, V6):
    v = f"v{n.family}"
    net = (lambda a, b: f"203.0.{a}.{b}") if n.v4 else (lambda a, b: f"2001:db8:c:{a}::{b}")

    for forward in FORWARDS:
        def conn(c, backend, sport, client=None, **more):
            return Conn(c, n, backend, sport=sport, client=client, forward=forward, **more)

        web = service(n, forward=forward, **MINUTE)
        c = Case(f"affinity_life/{v}_{forward}", [web], "pinned by a complete handshake, over a cutover, until the time-out")
        f = conn(c, n.blue, 40000)
        f.up("S")
        c.affinity(n.client, none=True)
        if forward == "nat":
            f.down("SA", 5000, 1001)
            c.affinity(n.client, none=True)
        f.up("A", 1001, 5001, events={"flows_new": 0})
        c.affinity(n.client, pool="blue", generation=1)
        c.affinity_entries(1)
        c.cutover("green")
        g = conn(c, n.blue, 40001)
        g.open()
        g.entry("established", "blue")
        c.affinity(n.client, pool="blue", generation=1)
        other = conn(c, n.green, 40001, n.client2)
        other.open()
        c.affinity(n.client2, pool="green", generation=2)
        c.affinity_entries(2)
        for h in (f, g):
            h.up("FA", 1001, 5001)
            if forward == "nat":
                h.down("FA", 5001, 1002)
        c.advance(60000)
        c.sweep()
        late = conn(c, n.blue, 40002)
        late.up("S", note="after 60 s: still blue")
        c.advance(63)
        conn(c, n.green, 40003).up("S", note="later: by the split")
        c.sweep()
        c.affinity_entries(0)
        late.entry("syn", "blue")
        other.up("A", 1001, 5001)
        c.affinity(n.client2, pool="green", generation=2)

        c = Case(f"affinity_refreshed/{v}_{forward}", [web], "traffic keeps a client pinned, of an old connection too")
        f = conn(c, n.blue, 40000)
        f.open()
        c.cutover("green")
        for i in range(3):  # an odd number: what is not refreshed, and pinned again by the next packet, is seen
            c.advance(50000)
            f.up("A", 1001 + i, 5001, b"x")
            c.sweep()
        c.advance(50000)
        conn(c, n.blue, 40001).up("S")
        if forward == "nat":
            f.down("A", 5001, 1004, b"what the backend says counts as well")
            c.advance(50000)
            conn(c, n.blue, 40002).up("S")
        c.advance(60063)
        conn(c, n.green, 40003).up("S")

        c = Case(f"affinity_wrap/{v}_{forward}", [web], "over the wrap of the 32-bit clock, which is that of the stamps")
        c.clock(WRAP32 - 5 * SECOND)
        f = conn(c, n.blue, 40000)
        f.open()
        c.cutover("green")
        c.advance(60000)
        c.sweep()
        conn(c, n.blue, 40001).up("S")
        c.advance(63)
        conn(c, n.green, 40002).up("S")
        c.sweep()
        c.affinity_entries(0)
        f.up("A", 1001, 5001)
        f.entry("established", "blue")

        bits = 24 if n.v4 else 64
        c = Case(f"affinity_prefix/{v}_{forward}", [service(n, forward=forward, affinity={
            "by": "client", "timeout": "60s", "prefix": bits})], f"clients of one /{bits} follow each other")
        conn(c, n.blue, 40000, net(113, 7)).open()
        c.cutover("green")
        conn(c, n.blue, 40000, net(113, 250)).open()
        conn(c, n.blue, 40000, net(113, 1)).open()
        c.affinity_entries(1)
        conn(c, n.green, 40000, net(112, 7)).open()
        conn(c, n.green, 40001, net(112, 99)).open()
        c.affinity_entries(2)
        c.affinity(net(113, 99), pool="blue")
        c.affinity(net(112, 1), pool="green")
        c.affinity(net(114, 1), none=True)

        c = Case(f"affinity_first_stays/{v}_{forward}", [web],
                 "two handshakes on either side of a cutover: the first complete one binds")
        slow = conn(c, n.blue, 40000)
        slow.up("S")
        c.cutover("green")
        fast = conn(c, n.green, 40001)
        fast.open()
        c.affinity(n.client, pool="green", generation=2)
        if forward == "nat":
            slow.down("SA", 5000, 1001)
        slow.up("A", 1001, 5001)
        slow.entry("established", "blue")
        c.affinity(n.client, pool="green", generation=2)
        c.cutover("blue")
        conn(c, n.green, 40002).open()
        c.advance(30000)
        slow.up("A", 1001, 5001, b"the other pool's traffic does not keep it")
        c.affinity(n.client, pool="green", generation=2)
        c.advance(30063)
        conn(c, n.blue, 40003).up("S", note="the green one ran out")
        slow.up("A", 1002, 5001, b"and an old flow's traffic binds anew")
        c.affinity(n.client, pool="blue", generation=1)

    # ---- what else has a say
    web = service(n, **MINUTE)
    c = Case(f"affinity_rolled_back/{v}", [web], "a rollback holds nobody where it is bad, and its flows bind nobody there")
    c.cutover("green")
    f = Conn(c, n, n.green)
    f.open()
    c.affinity(n.client, pool="green", generation=2)
    c.rollback()
    c.advance(2000)
    f.up("PA", 1001, 5001, b"the flow itself stays", events={"flows_new": 0})
    f.entry("established", "green")
    c.affinity(n.client, pool="green", generation=2)
    Conn(c, n, n.blue, sport=40001).open()
    c.affinity(n.client, pool="blue", generation=3)
    c.advance(2000)
    f.up("A", 1022, 5001)
    c.affinity(n.client, pool="blue", generation=3)

    c = Case(f"affinity_ignored/{v}", [web], "the split says to leave affinity aside: the pinned are free to go")
    f = Conn(c, n, n.blue)
    f.open()
    c.split(65536, "green", ignore_affinity=True)
    f.up("PA", 1001, 5001, b"the flow itself stays", events={"flows_new": 0})
    f.entry("established", "blue")
    g = Conn(c, n, n.green, sport=40001)
    g.open()
    g.entry("established", "green")
    c.affinity(n.client, pool="green", generation=2)
    c.affinity_entries(1)

    c = Case(f"affinity_empty_pool/{v}", [web], "a pinned client's pool has no backend left: the split decides")
    Conn(c, n, n.blue).open()
    c.cutover("green")
    Conn(c, n, n.blue, sport=40001).open()
    c.backend(at(n.blue, 8080), state="down")
    Conn(c, n, n.green, sport=40002).open()

    chosen = {"preview": {"clients": [n.client + ("/32" if n.v4 else "/128")]}}
    c = Case(f"affinity_and_preview/{v}", [web], "a chosen client sees the standby pool although it is pinned")
    Conn(c, n, n.blue).open()
    c.publish([service(n, **MINUTE, **chosen)])
    Conn(c, n, n.green, sport=40001).open()
    c.affinity(n.client, pool="blue")
    c.publish([web])
    Conn(c, n, n.blue, sport=40002).open()

    c = Case(f"affinity_services/{v}", [web, service(n, "api", 81, backend_port=8081, **MINUTE),
                                       service(n, "free", 82, backend_port=8082)], "a client is pinned a service")
    Conn(c, n, n.blue).open()
    for name in ("web", "api", "free"):
        c.cutover("green", name)
    Conn(c, n, n.green, sport=40001, vport=81, bport=8081).open()
    Conn(c, n, n.green, sport=40001, vport=82, bport=8082).open()
    Conn(c, n, n.blue, sport=40001).open()
    c.affinity(n.client, "api", pool="green")
    c.affinity_entries(2)

    c = Case(f"affinity_reload/{v}", [web], "affinity leaves the configuration: nobody is pinned, the sweeper cleans up")
    f = Conn(c, n, n.blue)
    f.open()
    c.cutover("green")
    c.publish([service(n)])
    Conn(c, n, n.green, sport=40001).open()
    c.sweep()
    c.affinity_entries(0)
    f.up("PA", 1001, 5001, b"stays", events={"flows_new": 0})

    c = Case(f"affinity_refused/{v}", [web], "what never came to a connection pins nobody; one that was reset did")
    f = Conn(c, n, n.blue)
    f.up("S")
    f.down("RA", 0, 1001)
    f = Conn(c, n, n.blue, sport=40001)
    f.up("S")
    f.up("R", 1001)
    c.affinity_entries(0)
    f = Conn(c, n, n.blue, sport=40002)
    f.open()
    f.down("R", 5001)
    c.affinity_entries(1)

    c = Case(f"affinity_recovered/{v}", [web], "a flow from its middle pins its client once it is seen both ways")
    c.cutover("green")
    f = Conn(c, n, n.blue)
    f.up("PA", 1001, 5001, b"lost", events={"flows_recovered": 1})
    c.affinity_entries(0)
    f.down("A", 5001, 1005)
    f.entry("established", "blue")
    f.up("A", 1005, 5001)
    c.advance(2000)
    f.up("A", 1005, 5001)
    c.affinity(n.client, pool="blue")
    Conn(c, n, n.blue, sport=40001).open()

    c = Case(f"affinity_udp/{v}", [service(n, "dns", 53, protocol="udp", backend_port=5353, **MINUTE)],
             "datagrams: pinned once answered")

    def query(port, b):
        q = udp(n, n.client, port, n.vip, 53, b"query")
        c.send("query", 0, from_router(q), out(1, to_backend(b, changed(q, dst=b, dport=5353))))

    def answer(port, b):
        a = udp(n, b, 5353, n.client, port, b"answer")
        c.send("answer", 1, from_backend(b, a), out(0, to_client(changed(a, src=n.vip, sport=53))))

    query(40000, n.blue)
    c.affinity(n.client, "dns", none=True)
    answer(40000, n.blue)
    c.affinity(n.client, "dns", pool="blue")
    c.cutover("green", "dns")
    query(40001, n.blue)
    c.advance(50000)
    answer(40000, n.blue)
    c.advance(50000)
    query(40002, n.blue)
    c.advance(60063)
    query(40003, n.green)

    c = Case(f"affinity_one_way_udp/{v}", [service(n, "dns", 53, protocol="udp", forward="l2dsr", **MINUTE)],
             "where only the client is seen, its second datagram pins it")
    for i in range(2):
        q = udp(n, n.client, 40000, n.vip, 53, b"query")
        c.send("query", 0, from_router(q), out(1, to_backend(n.blue, q)))
        c.affinity_entries(i)

    # ---- a connection from port 0: odd, and none of an affinity's
    c = Case(f"affinity_port_0/{v}", [web], "a flow from port 0 is a flow; it and the client's affinity leave each other alone")
    f = Conn(c, n, n.blue, sport=0)
    f.open()
    f.entry("established", "blue")
    c.affinity(n.client, pool="blue")
    f.up("PA", 1001, 5001, b"goes on")
    f.down("PA", 5001, 1008, b"both ways")
    c.cutover("green")
    Conn(c, n, n.blue, sport=40000).open()
    f.up("FA", 1008, 5010)
    f.down("FA", 5010, 1009)
    f.entry("closing", "blue")
    c.affinity(n.client, pool="blue")
    c.affinity_entries(1)

    # ---- no room
    c = Case(f"affinity_gives_way/{v}", [web, service(n, "plain", 81, backend_port=8081)],
             "a full table: entries of affinity give way to flows", flows=8)
    for i in range(3):
        f = Conn(c, n, n.blue, sport=40000, client=net(113, 10 + i))
        f.open()
        f.down("R", 5001)
    c.affinity_entries(3)
    for i in range(60):
        Conn(c, n, n.blue, sport=41000 + i, vport=81, bport=8081).open()
    c.affinity_entries(0)
    for i in range(3):
        Conn(c, n, n.blue, sport=41000 + i, vport=81, bport=8081, service="plain").entry("established", "blue")
    c.cutover("green")
    Conn(c, n, n.green, sport=40000, client=net(113, 10)).up("S", events={"flows_untracked": 1})
    c.affinity_entries(0)
