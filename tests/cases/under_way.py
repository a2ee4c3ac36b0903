# SPDX-License-Identifier: Apache-2.0
"""The short way of packets in the middle of a connection (docs/decisions/0018, 0022): on a flow whose entry stays as it is, what
looks like such a packet and is none, and what may not be sent by that way."""
from case import *  # noqa: F401,F403


def begun(c, net, backend, sport=40000, client=None, **fields):
    """A connection whose backend has answered: the next packets leave its entry as it is."""
    f = Conn(c, net, backend, sport=sport, client=client, **fields)
    f.open()
    f.up("PA", 1001, 5001, b"ask")
    f.down("PA", 5001, 1004, b"answer")
    f.up("A", 1004, 5007)
    return f


def broken(at_byte, value, frame, mask=0xff):
    b = bytearray(bytes(frame))
    b[at_byte] = (b[at_byte] & ~mask & 0xff) | value
    return bytes(b)


def topology_with(tags_on):
    """The ports' interfaces are VLAN 9 of what the frames go out by: to the backends, or to the clients."""
    t = topology()
    link = {"back": 11, "front": 10}[tags_on]
    for entry in t["links"]:
        if entry["ifindex"] == link:
            entry["ifindex"] = link + 90
    t["links"].append({"ifindex": link, "mtu": 1500, "parent": link + 90, "vlan": 9})
    return t


for n in (V4, V6):
    v = f"v{n.family}"
    l4 = 34 if n.v4 else 54
    head = 40 if n.v4 else 60

    c = Case(f"under_way_odd/{v}", [service(n), service(n, "dns", 80, protocol="udp", backend_port=5353)],
             "frames that are nearly those of a flow under way")
    f = begun(c, n, n.blue)
    ack = tcp(n, n.client, 40000, n.vip, 80, "A", 1004, 5007, b"d" * 20)
    alien = Ether(src=ROUTER, dst="02:00:00:00:00:99") / ack
    c.send("for another machine", 0, alien, drop={"not_our_mac": 1})
    alien = Ether(src=ROUTER, dst="02:01:00:00:00:01") / ack
    c.send("for one whose address begins otherwise", 0, alien, drop={"not_our_mac": 1})
    multi = Ether(src=ROUTER, dst="ff:ff:ff:ff:ff:ff") / ack
    c.send("as broadcast it is no service's", 0, multi, kernel(0, multi))
    good = from_router(ack)
    if n.v4:
        c.send("total length past the frame", 0, broken(17, 61, broken(16, 0, good)), drop={"truncated": 1})
        c.send("total length cuts the TCP header", 0, broken(17, 39, broken(16, 0, good)), drop={"truncated": 1})
        c.send("IHL 4", 0, broken(14, 4, good, 0x0f), drop={"bad_ip_header": 1})
        options = IP(bytes(ack))
        options.options = [(b"\x01" * 4)]
        del options.ihl, options.len, options.chksum
        options = IP(bytes(options))
        sent = IP(bytes(options))
        sent.dst, sent.ttl = n.blue, 63
        sent[TCP].dport = 8080
        del sent.chksum, sent[TCP].chksum
        c.send("IP options", 0, from_router(options), out(1, to_backend(n.blue, sent)))
    else:
        c.send("payload length past the frame", 0, broken(19, 41, broken(18, 0, good)), drop={"truncated": 1})
        c.send("payload length cuts the TCP header", 0, broken(19, 19, broken(18, 0, good)), drop={"truncated": 1})
    c.send("version 7", 0, broken(14, 7 << 4, good, 0xf0), drop={"bad_ip_header": 1})
    c.send("TCP header of 4 words", 0, broken(l4 + 12, 4 << 4, good), drop={"bad_tcp_header": 1})
    c.send("TCP header past the segment", 0, broken(l4 + 12, 11 << 4, good), drop={"bad_tcp_header": 1})
    c.send("a UDP datagram between the same ports", 0, from_router(udp(n, n.client, 40000, n.vip, 80, b"\0" * 40)),
           out(1, to_backend(n.blue, changed(udp(n, n.client, 40000, n.vip, 80, b"\0" * 40), dst=n.blue, dport=5353))))
    other = from_router(tcp(n, n.client, 40000, n.vip, 81, "A", 1004, 5007))
    c.send("to another port of the VIP", 0, other, kernel(0, other), events={"to_kernel": 1})
    f.up("PA", 1004, 5007, b"goes on", events={"flows_new": 0})
    f.entry("established", "blue")

    c = Case(f"under_way_fragments/{v}", [service(n)], "a first fragment has all that a whole packet has")
    f = begun(c, n, n.blue)
    whole = tcp(n, n.client, 40000, n.vip, 80, "A", 1004, 5007, bytes(range(200)), df=False)
    body = bytes(whole)[20 if n.v4 else 40:]
    parts = [IP(src=n.client, dst=n.vip, ttl=64, id=7, proto=6, frag=at // 8, flags=more) / Raw(body[at:end])
             if n.v4 else
             IPv6(src=n.client, dst=n.vip, hlim=64, fl=0x12345) / IPv6ExtHdrFragment(nh=6, id=7, offset=at // 8, m=int(more != 0)) /
             Raw(body[at:end]) for at, end, more in ((0, 104, "MF"), (104, len(body), 0))]
    c.send("first", 0, from_router(parts[0]), events={"fragments": 1, "tx_packets": 0})
    if n.v4:
        whole.id = 7
    c.send("last", 0, from_router(parts[1]), out(1, to_backend(n.blue, changed(whole, dst=n.blue, dport=8080))),
           events={"reassembled": 1})

    c = Case(f"under_way_martian/{v}", [service(n)], "a source that no client has, whatever the packet's flags")
    for src in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255") if n.v4 else ("::", "::1", "ff02::1"):
        c.send(f"from {src}", 0, from_router(tcp(n, src, 40000, n.vip, 80, "A", 1, 1)), drop={"martian_source": 1})
        c.no_flow(src, 40000)

    c = Case(f"under_way_ends/{v}", [service(n)], "a TTL and an MTU at their end, both ways",
             topo=topology(client_mtu=1300, back_mtu=1400))
    f = begun(c, n, n.blue)
    c.send("TTL 1", 0, from_router(tcp(n, n.client, 40000, n.vip, 80, "A", 1004, 5007, ttl=1)), drop={"ttl_expired": 1})
    c.send("a reply's", 1, from_backend(n.blue, tcp(n, n.blue, 8080, n.client, 40000, "A", 5007, 1004, ttl=1)),
           drop={"ttl_expired": 1})
    f.up("A", 1004, 5007, b"x" * (1400 - head), note="just fits")
    f.down("A", 5007, 1004, b"x" * (1300 - head), note="just fits")

    def told(over, mtu, src):
        if n.v4:
            return IP(src=src, dst=over.src, ttl=64, id=0) / ICMP(type=3, code=4, nexthopmtu=mtu) / bytes(over)[:576 - 28]
        return IPv6(src=src, dst=over.src, hlim=64) / ICMPv6PacketTooBig(mtu=mtu) / Raw(bytes(over)[:1280 - 48])
    over = tcp(n, n.client, 40000, n.vip, 80, "A", 1004, 5007, b"x" * (1401 - head))
    c.send("one byte more", 0, from_router(over), out(0, to_client(told(over, 1400, n.vip))), drop={"too_big": 1})
    over = tcp(n, n.blue, 8080, n.client, 40000, "A", 5007, 1004, b"x" * (1301 - head))
    c.send("one byte more", 1, from_backend(n.blue, over), out(1, to_backend(n.blue, told(over, 1300, n.client))), drop={"too_big": 1})
    f.entry("established", "blue")

    c = Case(f"under_way_mismatch/{v}", [service(n, blue=[n.blue], green=[n.green])], "a reply of another backend than the entry's")
    f = begun(c, n, n.blue)
    late = tcp(n, n.green, 8080, n.client, 40000, "A", 5007, 1004)
    c.send("green answers for a flow of blue's", 1, from_backend(n.green, late), drop={"reply_mismatch": 1})
    f.down("A", 5007, 1004, events={"replies": 1})

    c = Case(f"under_way_hairpin/{v}", [service(n, blue=[n.blue], green=[n.green])], "the client is a backend, both ways")
    seen = "100.127.0.1" if n.v4 else "fd7e:a100::1"  # the hairpin prefix and the backend's number
    for flags, data in (("S", b""), ("A", b""), ("PA", b"ask"), ("A", b"more"), ("A", b"still more")):
        p = tcp(n, n.blue, 40000, n.vip, 80, flags, 1000, 0, data)
        c.send(f"client: {flags}", 1, from_backend(n.blue, p), out(1, to_backend(n.blue, changed(p, src=seen, dst=n.blue, dport=8080))),
               events={"hairpin": 1})
        r = tcp(n, n.blue, 8080, seen, 40000, "SA" if flags == "S" else "PA", 5000, 1001, data)
        c.send("backend", 1, from_backend(n.blue, r), out(1, to_backend(n.blue, changed(r, src=n.vip, sport=80, dst=n.blue))),
               events={"replies": 1})

    c = Case(f"under_way_hop/{v}", [service(n)], "the next hop of a flow under way goes and comes back")
    f = begun(c, n, n.blue)
    c.publish([service(n)], topology(unknown=[n.blue]), note="the backend's MAC address is gone")
    p = tcp(n, n.client, 40000, n.vip, 80, "A", 1004, 5007, b"held")
    c.send("held", 0, from_router(p), events={"neighbour_held": 1, "tx_packets": 0})
    c.publish([service(n)], topology(), note="and is known again")
    c.advance(2, out(1, to_backend(n.blue, changed(p, dst=n.blue, dport=8080))))
    f.down("A", 5007, 1008)
    gone = {**topology(), "neighbours": [x for x in topology()["neighbours"] if x["ifindex"] == 11]}
    c.publish([service(n)], gone, note="the router's is gone")
    r = tcp(n, n.blue, 8080, n.client, 40000, "A", 5007, 1008, b"held")
    c.send("held", 1, from_backend(n.blue, r), events={"neighbour_held": 1, "tx_packets": 0})
    c.publish([service(n)], topology(), note="and is known again")
    c.advance(2, out(0, to_client(changed(r, src=n.vip, sport=80))))

    for where, up, down in (("back", [(Dot1Q, 9)], []), ("front", [], [(Dot1Q, 9)])):
        ports = [{"mac": EDGE, "ifindex": 100 if where == "front" else 10}, {"mac": BACK, "ifindex": 101 if where == "back" else 11}]
        c = Case(f"under_way_tags/{v}_{where}", [service(n)], "frames out have tags, those in may have none", topo=topology_with(where),
                 ports=ports)
        for flags, data in (("S", b""), ("A", b""), ("PA", b"ask"), ("A", b"more"), ("A", b"still more")):
            p = tcp(n, n.client, 40000, n.vip, 80, flags, 1000, 0, data)
            c.send(f"client: {flags}", 0, from_router(p), out(1, to_backend(n.blue, changed(p, dst=n.blue, dport=8080), up)))
            r = tcp(n, n.blue, 8080, n.client, 40000, "SA" if flags == "S" else "PA", 5000, 1001, data)
            c.send("backend", 1, from_backend(n.blue, r), out(0, to_client(changed(r, src=n.vip, sport=80), down)))

    for forward in ("nat", "l2dsr", "ipip"):
        c = Case(f"under_way_padded/{v}_{forward}", [service(n, forward=forward)], "Ethernet padding: kept, but for a tunnel's")
        f = Conn(c, n, n.blue, forward=forward)
        f.open()
        f.up("PA", 1001, 5001, b"ask")
        if forward == "nat":
            f.down("PA", 5001, 1004, b"answer")
        for padding in (b"", b"\xee" * 6, b"\xee" * 40):
            for ttl in (64, 2):
                p = tcp(n, n.client, 40000, n.vip, 80, "A", 1004, 5007, ttl=ttl)
                arrives = f.arrives(n.blue, p)
                if forward != "ipip":
                    arrives["hex"] += padding.hex()
                c.send(f"{len(padding)} bytes, TTL {ttl}", 0, bytes(from_router(p)) + padding, arrives)

    # With so many keys some lie in other slots than their first.
    many = [service(n, f"web{i}", 100 + i, backend_port=2000 + i) for i in range(60)]
    c = Case(f"under_way_services/{v}", many, "each of sixty services, both ways", flows=4096)
    for i in range(60):
        begun(c, n, n.blue, vport=100 + i, bport=2000 + i, service=f"web{i}").down("A", 5007, 1004)

    # A small table: entries in their second buckets, and displaced ones.
    c = Case(f"under_way_full/{v}", [service(n)], "many flows in a small table, each found again", flows=64)
    flows = [begun(c, n, n.blue, sport=41000 + i) for i in range(50)]
    for f in flows:
        f.up("A", 1004, 5007, b"again", events={"flows_new": 0})
        f.down("A", 5007, 1009, events={"replies": 1, "reply_untracked": 0})

    # Nobody asks the table once all is settled: what has no entry there must be told by what it is.
    c = Case(f"under_way_settled/{v}", [service(n)], "no client's, on a service that is settled", flows=128)
    flows = [begun(c, n, n.blue, sport=41000 + i) for i in range(90)]
    c.sweep()
    c.sweep()
    for i in range(32):
        p = tcp(n, "127.0.0.1" if n.v4 else "::1", 42000 + i, n.vip, 80, "A", 1004, 5007)
        c.send("from the loopback address", 0, from_router(p), drop={"martian_source": 1})
        answer = from_backend(n.blue, tcp(n, n.blue, 8080, n.tunnel_source, 42000 + i, "A", 1, 2))
        c.send("a backend to the host itself", 1, answer, kernel(1, answer), events={"replies": 0})
        r = tcp(n, n.blue, 8080, seen, 42000 + i, "A", 5007, 1004)
        c.send("a backend to a backend", 1, from_backend(n.blue, r),
               out(1, to_backend(n.blue, changed(r, src=n.vip, sport=80, dst=n.blue))))
    for f in flows:
        f.up("A", 1004, 5007, b"again", events={"flows_new": 0})
        f.down("A", 5007, 1009, events={"reply_untracked": 0})
    c.totals(settled=(120, 180 + 32))  # the backend that is a client has no entry, and needs none
