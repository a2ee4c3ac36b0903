# SPDX-License-Identifier: Apache-2.0
"""Fragments of datagrams, and ICMP errors about flows."""
from case import *  # noqa: F401,F403


def pieces(n, l3, cuts, ident=7):
    """The packet cut at these offsets of its payload (multiples of 8)."""
    body = bytes(l3)[20 if n.v4 else 40:]
    proto = 17 if UDP in l3 else 6
    result = []
    for start, end in zip([0] + cuts, cuts + [len(body)]):
        more = end != len(body)
        if n.v4:
            head = IP(src=l3.src, dst=l3.dst, ttl=l3.ttl, tos=l3.tos, id=l3.id, proto=proto, frag=start // 8, flags="MF" if more else 0)
        else:
            head = IPv6(src=l3.src, dst=l3.dst, hlim=l3.hlim, tc=l3.tc, fl=l3.fl) / IPv6ExtHdrFragment(
                nh=proto, id=ident, offset=start // 8, m=int(more))
        result.append(head / Raw(body[start:end]))
    return result


def ident_mask(n, name):
    return None if n.v4 else [[14 + 40 + 4, 4, name]]


for n in (V4, V6):
    v = f"v{n.family}"
    dns = service(n, "dns", 53, protocol="udp", backend_port=5353)
    orders = {"in_order": (0, 1, 2), "reversed": (2, 1, 0), "middle_first": (1, 2, 0)}
    for name, order in orders.items():
        c = Case(f"fragments_{name}/{v}", [dns], "all fragments go where the first one goes, whatever their order")
        small = udp(n, n.client, 40000, n.vip, 53, bytes(range(250)) * 4, df=False)
        parts = pieces(n, small, [400, 800])
        for i in order[:2]:
            c.send(f"fragment {i}", 0, from_router(parts[i]), events={"fragments": 1, "tx_packets": 0})
        c.send(f"fragment {order[2]}: the whole fits", 0, from_router(parts[order[2]]),
               out(1, to_backend(n.blue, changed(small, dst=n.blue, dport=5353))), events={"reassembled": 1, "flows_new": 1})
        c.cutover("green", "dns")
        big = udp(n, n.client, 40000, n.vip, 53, bytes(range(250)) * 12, df=False)
        cuts = [1480, 2960] if n.v4 else [1448, 2896]
        parts = pieces(n, big, cuts, 8)
        outs = pieces(n, changed(big, dst=n.blue, dport=5353), cuts, 0)
        for i in order[:2]:
            c.send(f"fragment {i}", 0, from_router(parts[i]), events={"tx_packets": 0})
        c.send(f"fragment {order[2]}: in fragments again, to the flow's backend", 0, from_router(parts[order[2]]),
               *[out(1, to_backend(n.blue, o), ident_mask(n, "first")) for o in outs])
        new = udp(n, n.client, 40001, n.vip, 53, bytes(range(250)) * 4, df=False)
        parts = pieces(n, new, [400, 800], 9)
        c.send("a new flow, all in one burst", 0, [from_router(parts[i]) for i in order],
               out(1, to_backend(n.green, changed(new, dst=n.green, dport=5353))))
        back = udp(n, n.green, 5353, n.client, 40001, bytes(range(250)) * 12, df=False)
        parts = pieces(n, back, cuts, 10)
        outs = pieces(n, changed(back, src=n.vip, sport=53), cuts, 0)
        c.send("an answer in fragments", 1, [from_backend(n.green, parts[i]) for i in order],
               *[out(0, to_client(o), ident_mask(n, "answer")) for o in outs])

    c = Case(f"fragments_busy_lock/{v}", [dns], "what was put together waits for no lock: a second time nobody would know that it was")
    c.locks("taken")
    big = udp(n, n.client, 40000, n.vip, 53, bytes(range(250)) * 12, df=False)
    outs = pieces(n, changed(big, dst=n.blue, dport=5353), cuts, 0)
    c.send("in fragments again, at once", 0, [from_router(p) for p in pieces(n, big, cuts, 8)],
           *[out(1, to_backend(n.blue, o), ident_mask(n, "first")) for o in outs], events={"lock_busy": 1, "flows_untracked": 1})

    c = Case(f"fragments_wrong/{v}", [dns], "overlaps and holes are dropped whole, late ones time out")
    body = udp(n, n.client, 40000, n.vip, 53, b"w" * 812, df=False)

    def piece(start, end, more, ident):
        data = (b"\0" * 8 + b"w" * 2000)[start:end]
        if n.v4:
            return from_router(IP(src=n.client, dst=n.vip, id=ident, proto=17, frag=start // 8, flags="MF" if more else 0) / Raw(data))
        return from_router(IPv6(src=n.client, dst=n.vip) / IPv6ExtHdrFragment(nh=17, id=ident, offset=start // 8, m=int(more)) / Raw(data))

    c.send("an overlap that makes too much", 0, [piece(0, 480, True, 1), piece(240, 720, True, 1), piece(480, 580, False, 1)],
           drop={"bad_fragment": 3})
    c.send("an overlap that hides a hole", 0, [piece(0, 480, True, 2), piece(240, 480, True, 2), piece(720, 820, False, 2)],
           drop={"bad_fragment": 3})
    c.send("the first of two", 0, piece(0, 480, True, 3))
    c.advance(1100, drop={"fragment_timeout": 1})
    c.no_flow(n.client, 40000, "dns")
    ok = pieces(n, body, [400], 4)
    c.send("a good one", 0, [from_router(f) for f in ok], out(1, to_backend(n.blue, changed(body, dst=n.blue, dport=5353))))

    # ---- ICMP errors
    def error(src, dst, quoted, ttl=64, big=1400):
        """A "too big" about `quoted`, bytes."""
        if n.v4:
            return IP(src=src, dst=dst, ttl=ttl, id=0x77) / ICMP(type=3, code=4, nexthopmtu=big) / Raw(quoted)
        return IPv6(src=src, dst=dst, hlim=ttl) / ICMPv6PacketTooBig(mtu=big) / Raw(quoted)

    def unreachable(src, dst, quoted, ttl=64):
        if n.v4:
            return IP(src=src, dst=dst, ttl=ttl, id=0x78) / ICMP(type=3, code=1) / Raw(quoted)
        return IPv6(src=src, dst=dst, hlim=ttl) / ICMPv6DestUnreach(code=3) / Raw(quoted)

    hop = "203.0.113.254" if n.v4 else "2001:db8:c::fe"
    head = 20 if n.v4 else 40
    c = Case(f"icmp_nat/{v}", [service(n), dns], "errors from both sides, translated inside and out")
    f = Conn(c, n, n.blue)
    f.open()
    # what the client's side saw: VIP -> client; what blue sent: blue -> client
    seen = tcp(n, n.vip, 80, n.client, 40000, "A", 5001, 1001, b"d" * 301, ttl=60)
    sent = changed(seen, ttl=0, src=n.blue, sport=8080)
    for size, what in ((len(bytes(seen)), "all of it"), (head + 20, "its headers"), (head + 8, "8 bytes of TCP"), (head + 100, "a part")):
        for make in (error, unreachable):
            c.send(f"from the client's side, quotes {what}", 0, from_router(make(hop, n.vip, bytes(seen)[:size])),
                   out(1, to_backend(n.blue, make(hop, n.blue, bytes(sent)[:size], 63))), events={"icmp_errors": 1})
    # what blue's side saw: client -> blue; what the client sent: client -> VIP
    got = tcp(n, n.client, 40000, n.blue, 8080, "A", 1001, 5001, b"u" * 333, ttl=60)
    orig = changed(got, ttl=0, dst=n.vip, dport=80)
    for size, what in ((len(bytes(got)), "all of it"), (head + 20, "its headers"), (head + 8, "8 bytes of TCP"), (head + 99, "a part")):
        for make in (error, unreachable):
            c.send(f"from the backend's side, quotes {what}", 1, from_backend(n.blue, make(n.blue, n.client, bytes(got)[:size])),
                   out(0, to_client(make(n.vip, n.client, bytes(orig)[:size], 63))), events={"icmp_errors": 1})
    q = udp(n, n.client, 40000, n.vip, 53)
    c.send("a UDP flow", 0, from_router(q), out(1, to_backend(n.blue, changed(q, dst=n.blue, dport=5353))))
    got = udp(n, n.client, 40000, n.blue, 5353, ttl=60)
    c.send("port unreachable", 1, from_backend(n.blue, unreachable(n.blue, n.client, bytes(got))),
           out(0, to_client(unreachable(n.vip, n.client, bytes(changed(got, ttl=0, dst=n.vip, dport=53)), 63))))
    c.cutover("green")
    c.send("after the cutover it still goes to the flow's backend", 0, from_router(error(hop, n.vip, bytes(seen))),
           out(1, to_backend(n.blue, error(hop, n.blue, bytes(sent), 63))))
    stranger = tcp(n, n.vip, 80, n.client, 40009, "A", 5001, 1001)
    c.send("about no flow of ours", 0, from_router(error(hop, n.vip, bytes(stranger))), drop={"icmp_unmatched": 1})
    c.send("TTL 1", 0, from_router(error(hop, n.vip, bytes(seen), 1)), drop={"ttl_expired": 1})
    c.flow(n.client, 40000, state="established", pool="blue")

    # blue2 is a client of its own service and is on blue: backends know it as the hairpin prefix and its number, 2
    known = "100.127.0.2" if n.v4 else "fd7e:a100::2"
    c = Case(f"icmp_hairpin/{v}", [service(n, blue=[n.blue, n.blue2])], "errors about a flow whose client is a backend")
    c.backend(at(n.blue2, 8080), state="drain")
    p = tcp(n, n.blue2, 40000, n.vip, 80, "S")
    c.send("SYN", 1, from_backend(n.blue2, p), out(1, to_backend(n.blue, changed(p, src=known, dst=n.blue, dport=8080))))
    got = tcp(n, known, 40000, n.blue, 8080, "A", 1001, 5001, b"u" * 333, ttl=60)
    orig = changed(got, ttl=0, src=n.blue2, dst=n.vip, dport=80)
    c.send("from the backend", 1, from_backend(n.blue, error(n.blue, known, bytes(got))),
           out(1, to_backend(n.blue2, error(n.vip, n.blue2, bytes(orig), 63))), events={"icmp_errors": 1})
    heard = tcp(n, n.vip, 80, n.blue2, 40000, "A", 5001, 1001, b"d" * 301, ttl=60)
    said = changed(heard, ttl=0, src=n.blue, sport=8080, dst=known)
    c.send("from the client", 1, from_backend(n.blue2, error(n.blue2, n.vip, bytes(heard))),
           out(1, to_backend(n.blue, error(known, n.blue, bytes(said), 63))), events={"icmp_errors": 1})

    c = Case(f"icmp_l2dsr/{v}", [service(n, forward="l2dsr")], "an error reaches the flow's backend as it is")
    p = tcp(n, n.client, 40000, n.vip, 80, "S")
    c.send("SYN", 0, from_router(p), out(1, to_backend(n.blue, p)))
    c.cutover("green")
    e = error(hop, n.vip, bytes(seen))
    c.send("too big", 0, from_router(e), out(1, to_backend(n.blue, e)), events={"icmp_errors": 1})

    c = Case(f"icmp_ipip/{v}", [service(n, forward="ipip")], "an error goes through the tunnel too")
    c.send("SYN", 0, from_router(p), tunnel(n, n.blue, changed(p)))
    inner = error(hop, n.vip, bytes(seen), 63)
    c.send("too big", 0, from_router(error(hop, n.vip, bytes(seen))), tunnel(n, n.blue, inner))
