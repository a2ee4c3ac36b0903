# SPDX-License-Identifier: Apache-2.0
"""Which backend: weights, states, reloads, groups, split_by, shared backends, hairpin, full table, neighbours."""
from case import *  # noqa: F401,F403

for n in (V4, V6):
    v = f"v{n.family}"
    two = [n.blue, n.blue2]

    def maybe(p, pool):
        return {at(a, 8080): to_backend(a, changed(p, dst=a, dport=8080)) for a in pool}

    for what in ("weight", "drain", "down", "removed"):
        c = Case(f"backend_{what}/{v}", [service(n, blue=two)], "a backend takes no new flows any more; its own stay")
        for i in range(12):
            p = tcp(n, n.client, 40000 + i, n.vip, 80, "S")
            c.send("SYN", 0, from_router(p), any_of(1, maybe(p, two), bind=f"f{i}"))
        if what == "weight":
            c.backend(at(n.blue, 8080), weight=0)
        elif what == "removed":
            c.publish([service(n, blue=[n.blue2])])
        else:
            c.backend(at(n.blue, 8080), state=what)
        for i in range(12):
            p = tcp(n, n.client, 40000 + i, n.vip, 80, "A", 1001, 1)
            c.send("its flow stays", 0, from_router(p), any_of(1, maybe(p, two), same=f"f{i}"), events={"flows_new": 0})
            p = tcp(n, n.client, 41000 + i, n.vip, 80, "S")
            c.send("a new one", 0, from_router(p), out(1, to_backend(n.blue2, changed(p, dst=n.blue2, dport=8080))))
        if what != "removed":
            c.backend(at(n.blue2, 8080), state="down")
            if what == "weight":
                c.backend(at(n.blue, 8080), weight=3)
                p = tcp(n, n.client, 42000, n.vip, 80, "S")
                c.send("weight again", 0, from_router(p), out(1, to_backend(n.blue, changed(p, dst=n.blue, dport=8080))))
            else:
                c.send("no backend is left", 0, from_router(tcp(n, n.client, 42000, n.vip, 80, "S")), drop={"no_backend": 1})
                c.no_flow(n.client, 42000)

    c = Case(f"retired_service/{v}", [service(n), service(n, "other", 81)], "a service leaves the configuration; its flows stay")
    f = Conn(c, n, n.blue)
    f.open()
    c.publish([service(n, "other", 81)])
    f.up("PA", 1001, 5001, b"still here")
    f.down("A", 5001, 1011)
    p = from_router(tcp(n, n.client, 40001, n.vip, 80, "S"))
    c.send("a new one is the kernel's", 0, p, kernel(0, p))

    c = Case(f"group/{v}", [service(n, group="shop"), service(n, "tls", 443, group="shop", backend_port=8443),
                            service(n, "apart", 81, backend_port=8081)], "two services of a group cut over by one store")
    c.cutover("green", "tls")
    Conn(c, n, n.green).open()
    Conn(c, n, n.green, vport=443, bport=8443).open()
    Conn(c, n, n.blue, vport=81, bport=8081).open()

    for by in ("client", "flow"):
        c = Case(f"split_by_{by}/{v}", [service(n, split_by=by, blue=two)], "one client's flows spread over a pool's backends in either")
        for i in range(16):
            p = tcp(n, n.client, 40000 + i, n.vip, 80, "S")
            c.send("SYN", 0, from_router(p), any_of(1, maybe(p, two), bind=f"b{i}"))
        c.cutover("green")
        for i in range(4):
            p = tcp(n, n.client, 41000 + i, n.vip, 80, "S")
            c.send("SYN", 0, from_router(p), out(1, to_backend(n.green, changed(p, dst=n.green, dport=8080))))

    # ---- two services over one backend address and port
    a, b = service(n, "a", 80, blue=[n.blue]), service(n, "b", 81, blue=[n.blue])
    c = Case(f"shared_backend/{v}", [a, b], "replies of one backend address told apart by the entries")
    Conn(c, n, n.blue, sport=40000, vport=80).open()
    Conn(c, n, n.blue, sport=40001, vport=81).open()
    Conn(c, n, n.blue, sport=40001, vport=81).down("PA", 5001, 1001, b"b")
    Conn(c, n, n.blue, sport=40000, vport=80).down("PA", 5001, 1001, b"a")
    c.send("the same client port on both: only one can be told", 0, from_router(tcp(n, n.client, 40000, n.vip, 81, "S")),
           drop={"reply_clash": 1})
    c.no_flow(n.client, 40000, "b")
    two_of = [service(n, "a", 80, blue=two), service(n, "b", 81, blue=two)]
    c = Case(f"shared_backends/{v}", two_of, "with another backend at hand, the second flow goes there")
    for i in range(8):
        p = tcp(n, n.client, 40000 + i, n.vip, 80, "S")
        c.send("SYN to a", 0, from_router(p), any_of(1, maybe(p, two), bind=f"a{i}"))
        p = tcp(n, n.client, 40000 + i, n.vip, 81, "S")
        c.send("SYN to b", 0, from_router(p), any_of(1, maybe(p, two), other=f"a{i}"))

    # ---- hairpin: the client is a backend
    seen = "100.127.0.1" if n.v4 else "fd7e:a100::1"  # the hairpin prefix and the backend's number, 1
    c = Case(f"hairpin/{v}", [service(n, blue=[n.blue], green=[n.green])], "a backend is a client of its own pool, both ways")
    p = tcp(n, n.blue, 40000, n.vip, 80, "S")
    c.send("SYN", 1, from_backend(n.blue, p), out(1, to_backend(n.blue, changed(p, src=seen, dst=n.blue, dport=8080))), events={"hairpin": 1})
    r = tcp(n, n.blue, 8080, seen, 40000, "SA", 5000, 1001)
    c.send("SYN-ACK", 1, from_backend(n.blue, r), out(1, to_backend(n.blue, changed(r, src=n.vip, sport=80, dst=n.blue))))
    c.flow(n.blue, 40000, state="syn_ack", pool="blue")
    p = tcp(n, n.blue, 40000, n.vip, 80, "A", 1001, 5001, b"to myself")
    c.send("ACK", 1, from_backend(n.blue, p), out(1, to_backend(n.blue, changed(p, src=seen, dst=n.blue, dport=8080))))
    c.cutover("green")
    p = tcp(n, n.blue, 40001, n.vip, 80, "S")
    c.send("to green", 1, from_backend(n.blue, p), out(1, to_backend(n.green, changed(p, src=seen, dst=n.green, dport=8080))))
    r = tcp(n, n.green, 8080, seen, 40001, "SA", 5000, 1001)
    c.send("SYN-ACK", 1, from_backend(n.green, r), out(1, to_backend(n.blue, changed(r, src=n.vip, sport=80, dst=n.blue))))

    # ---- next hops
    c = Case(f"neighbour/{v}", [service(n)], "an unresolved next hop: packets wait for it", topo=topology(unknown=[n.blue]))
    p = tcp(n, n.client, 40000, n.vip, 80, "S")
    sent = out(1, to_backend(n.blue, changed(p, dst=n.blue, dport=8080)))
    c.send("held", 0, from_router(p), events={"neighbour_held": 1, "tx_packets": 0})
    c.advance(100, events={"neighbour_held": 0})
    c.publish([service(n)], note="the neighbour appears")
    c.advance(1, sent)
    c.flow(n.client, 40000, state="syn")
    c.signals(blue1={"begun": 1})  # however often the one SYN was tried
    c.advance(600)
    c.publish([service(n)], topology(unknown=[n.blue]), note="and is gone again")
    c.send("held", 0, from_router(p), events={"neighbour_held": 1})
    c.advance(499)
    c.advance(2, drop={"no_neighbour": 1})
    c.advance(2)
    c.signals(blue1={"begun": 1, "syn_retransmits": 1})
    nowhere = topology()
    nowhere["routes"] = [r for r in nowhere["routes"] if r["ifindex"] != 11]
    for r in nowhere["routes"]:
        if "via" in r:
            r["ifindex"] = 0
            del r["via"]
    c.publish([service(n)], nowhere, note="no route any more")
    c.send("no route to the backend", 0, from_router(p), drop={"no_route": 1})
    c.send("nor to the client", 1, from_backend(n.blue, tcp(n, n.blue, 8080, n.client, 40000, "SA")), drop={"no_route": 1})

    c = Case(f"neighbour_client/{v}", [service(n)], "a client's next hop is unresolved", topo={
        **topology(), "neighbours": [x for x in topology()["neighbours"] if x["ifindex"] == 11]})
    p = tcp(n, n.client, 40000, n.vip, 80, "S")
    c.send("SYN", 0, from_router(p), out(1, to_backend(n.blue, changed(p, dst=n.blue, dport=8080))))
    r = tcp(n, n.blue, 8080, n.client, 40000, "SA", 5000, 1001)
    c.send("held", 1, from_backend(n.blue, r), events={"neighbour_held": 1})
    c.publish([service(n)], note="the router appears")
    c.advance(1, out(0, to_client(changed(r, src=n.vip, sport=80))))

    # ---- a lock that stays taken
    c = Case(f"busy_lock/{v}", [service(n)], "whoever holds a key's lock has no CPU: what must be entered waits, and does not go without an entry")
    c.locks("taken")
    p = tcp(n, n.client, 40000, n.vip, 80, "S")
    c.send("held", 0, from_router(p), events={"lock_busy": 1, "flows_untracked": 0, "tx_packets": 0})
    c.no_flow(n.client, 40000)
    c.advance(100, events={"lock_busy": 0})
    c.cutover("green")
    c.locks("free")
    c.advance(1, out(1, to_backend(n.green, changed(p, dst=n.green, dport=8080))))
    c.flow(n.client, 40000, state="syn", pool="green")
    c.signals(green2={"begun": 1})
    r = tcp(n, n.green, 8080, n.client, 40000, "SA", 5000, 1001)
    c.send("SYN-ACK", 1, from_backend(n.green, r), out(0, to_client(changed(r, src=n.vip, sport=80))))
    c.locks("taken")
    p = tcp(n, n.client, 40001, n.vip, 80, "S")
    c.send("held", 0, from_router(p), events={"lock_busy": 1})
    c.advance(499)
    c.advance(2, out(1, to_backend(n.green, changed(p, dst=n.green, dport=8080))), events={"flows_untracked": 1})
    c.no_flow(n.client, 40001)
    c.advance(2)
    r = tcp(n, n.green, 8080, n.client, 40001, "A", 5001, 1001, b"lost by the table")
    c.send("a reply that tells of its flow, held", 1, from_backend(n.green, r), events={"lock_busy": 1, "flows_untracked": 0})
    c.locks("free")
    c.advance(1, out(0, to_client(changed(r, src=n.vip, sport=80))), events={"flows_recovered": 1})
    c.flow(n.client, 40001, state="recovered", pool="green")

    # ---- no room
    c = Case(f"full_table/{v}", [service(n)], "a table of 12 slots and 40 flows: what finds no room is forwarded all the same", flows=8)
    for i in range(40):
        Conn(c, n, n.blue, sport=40000 + i).open()
    for i in range(3):
        Conn(c, n, n.blue, sport=40000 + i).entry("established", "blue")
    p = tcp(n, n.client, 50000, n.vip, 80, "S")
    for i in range(40, 60):
        f = Conn(c, n, n.blue, sport=40000 + i)
        f.up("S", events={"flows_untracked": 1} if i > 52 else {})
    Conn(c, n, n.blue, sport=40000).entry("established", "blue")

    c = Case(f"half_open_gives_way/{v}", [service(n)], "a flood of SYNs in a small table: the established flow stays", flows=8)
    f = Conn(c, n, n.blue)
    f.open()
    for i in range(1, 41):
        c.advance(100)
        p = Conn(c, n, n.blue, sport=40000 + i)
        p.up("S")
    f.entry("established", "blue")
    f.up("A", 1001, 5001, b"unharmed", events={"flows_new": 0})
    f.entry("established", "blue")
