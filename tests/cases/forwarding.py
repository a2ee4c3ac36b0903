# SPDX-License-Identifier: Apache-2.0
"""UDP, DSR and tunnels; VLANs; the MSS clamp; TTL."""
from case import *  # noqa: F401,F403

for n in (V4, V6):
    v = f"v{n.family}"

    c = Case(f"nat_udp/{v}", [service(n, "dns", 53, protocol="udp", backend_port=5353)], "UDP both ways, and its cutover")
    q = udp(n, n.client, 40000, n.vip, 53, b"query")
    c.send("query", 0, from_router(q), out(1, to_backend(n.blue, changed(q, dst=n.blue, dport=5353))), events={"flows_new": 1})
    c.flow(n.client, 40000, "dns", state="udp_new", pool="blue")
    a = udp(n, n.blue, 5353, n.client, 40000, b"an odd answer")
    c.send("answer", 1, from_backend(n.blue, a), out(0, to_client(changed(a, src=n.vip, sport=53))), events={"replies": 1})
    c.flow(n.client, 40000, "dns", state="udp", pool="blue")
    c.cutover("green", "dns")
    c.send("the flow stays", 0, from_router(q), out(1, to_backend(n.blue, changed(q, dst=n.blue, dport=5353))))
    q2 = udp(n, n.client, 40001, n.vip, 53, b"")
    c.send("a new one", 0, from_router(q2), out(1, to_backend(n.green, changed(q2, dst=n.green, dport=5353))))
    c.advance(61000)
    c.send("silent for longer than udp_s: a new flow", 0, from_router(q),
           out(1, to_backend(n.green, changed(q, dst=n.green, dport=5353))), events={"flows_new": 1})
    # RFC 768: a sum that comes out as 0 is sent as 0xffff. Find data for which the translated packet's does.
    for word in range(65536):
        z = udp(n, n.client, 40005, n.vip, 53, b"??" + word.to_bytes(2, "big"))
        t = changed(z, dst=n.green, dport=5353)
        if bytes(t)[(20 if n.v4 else 40) + 6:][:2] == b"\xff\xff":
            c.send("a checksum of 0 goes out as 0xffff", 0, from_router(z), out(1, to_backend(n.green, t)))
            break

    c = Case(f"l2dsr/{v}", [service(n, forward="l2dsr")], "only the MAC addresses change; one direction of TCP")
    for flags, state in (("S", "syn"), ("A", "established"), ("PA", "established"), ("FA", "closing"), ("A", "closing")):
        p = tcp(n, n.client, 40000, n.vip, 80, flags, 1000, 1, ttl=1)
        c.send(f"client: {flags}", 0, from_router(p), out(1, to_backend(n.blue, p)))
        c.flow(n.client, 40000, state=state, pool="blue")

    c = Case(f"ttl/{v}", [service(n)], "a TTL that would reach 0")
    c.send("TTL 1", 0, from_router(tcp(n, n.client, 40000, n.vip, 80, "S", ttl=1)), drop={"ttl_expired": 1})
    p = tcp(n, n.client, 40001, n.vip, 80, "S", ttl=2)
    c.send("TTL 2", 0, from_router(p), out(1, to_backend(n.blue, changed(p, dst=n.blue, dport=8080))))
    r = tcp(n, n.blue, 8080, n.client, 40001, "SA", ttl=1)
    c.send("a reply's", 1, from_backend(n.blue, r), drop={"ttl_expired": 1})

    c = Case(f"mss_clamp/{v}", [service(n, mss_clamp=1300)], "the MSS option, wherever it lies")
    port = 40000
    for before, kind in (([("MSS", 1460)], "first"), ([("NOP", None), ("MSS", 1460), ("NOP", None), ("NOP", None), ("NOP", None)], "odd offset"),
                         ([("NOP", None), ("NOP", None), ("MSS", 1301)], "even offset"),
                         ([("MSS", 1300), ("WScale", 7)], "not above"), ([("WScale", 7), ("MSS", 0xffff), ("EOL", None)], "odd, largest"),
                         ([("SAckOK", b""), ("WScale", 7)], "none"), ([("MSS", 500)], "far below")):
        after = [(k, 1300 if k == "MSS" and x > 1300 else x) for k, x in before]
        lowered = int(after != before)
        port += 1
        p = tcp(n, n.client, port, n.vip, 80, "S", options=before)
        q = tcp(n, n.client, port, n.vip, 80, "S", options=after)
        c.send(f"SYN, MSS {kind}", 0, from_router(p), out(1, to_backend(n.blue, changed(q, dst=n.blue, dport=8080))),
               events={"mss_clamped": lowered})
        p = tcp(n, n.blue, 8080, n.client, port, "SA", 5000, 1001, options=before)
        q = tcp(n, n.blue, 8080, n.client, port, "SA", 5000, 1001, options=after)
        c.send(f"SYN-ACK, MSS {kind}", 1, from_backend(n.blue, p), out(0, to_client(changed(q, src=n.vip, sport=80))),
               events={"mss_clamped": lowered})
    p = tcp(n, n.client, port, n.vip, 80, "A", 1001, 5001, options=[("MSS", 1460)])
    c.send("not a SYN", 0, from_router(p), out(1, to_backend(n.blue, changed(p, dst=n.blue, dport=8080))), events={"mss_clamped": 0})

    for tags in ([(Dot1Q, 7)], [(Dot1AD, 100), (Dot1Q, 7)], [(Dot1Q, 100), (Dot1Q, 7)]):
        kinds = "_".join("q" if k is Dot1Q else "ad" for k, _ in tags)
        c = Case(f"vlan_in/{v}_{kinds}", [service(n)], "tags come in on what is forwarded; out go those of the hop: none")
        p = tcp(n, n.client, 40000, n.vip, 80, "S")
        c.send("SYN", 0, from_router(p, tags), out(1, to_backend(n.blue, changed(p, dst=n.blue, dport=8080))))
        r = tcp(n, n.blue, 8080, n.client, 40000, "SA", 5000, 1001)
        c.send("SYN-ACK", 1, from_backend(n.blue, r, tags), out(0, to_client(changed(r, src=n.vip, sport=80))))
        ping = from_router(n.ip(n.client, "192.0.2.2" if n.v4 else "2001:db8:e::2") / Raw(b"\x3b" * 24), tags)
        c.send("other traffic keeps its tags towards the kernel", 0, ping, kernel(0, ping))

    for vlan, tags in (([7], [(Dot1Q, 7)]), ([100, 7], [(Dot1AD, 100), (Dot1Q, 7)])):
        ports = [{"mac": EDGE, "ifindex": 10, "vlan": vlan}, {"mac": BACK, "ifindex": 11}]
        c = Case(f"vlan_port/{v}_{len(vlan)}", [service(n)], "a port with VLANs: tags out by the hop, off towards the kernel", ports=ports)
        p = tcp(n, n.client, 40000, n.vip, 80, "S")
        c.send("SYN", 0, from_router(p, tags), out(1, to_backend(n.blue, changed(p, dst=n.blue, dport=8080))))
        r = tcp(n, n.blue, 8080, n.client, 40000, "SA", 5000, 1001)
        c.send("SYN-ACK", 1, from_backend(n.blue, r), out(0, to_client(changed(r, src=n.vip, sport=80), tags)))
        arp = ARP(psrc="198.51.100.1", pdst="198.51.100.2", hwsrc=ROUTER)
        c.send("ARP to the kernel without them", 0, Ether(src=ROUTER, dst="ff:ff:ff:ff:ff:ff") / tagged(arp, tags),
               kernel(0, Ether(src=ROUTER, dst="ff:ff:ff:ff:ff:ff") / arp))
        links = topology()
        links["links"][1] = {"ifindex": 12, "mtu": 1500}
        links["links"].append({"ifindex": 11, "mtu": 1500, "parent": 12, "vlan": 9})
    ports = [{"mac": EDGE, "ifindex": 10}, {"mac": BACK, "ifindex": 12}]
    c = Case(f"vlan_link/{v}", [service(n)], "backends behind a VLAN link of the tap", topo=links, ports=ports)
    p = tcp(n, n.client, 40000, n.vip, 80, "S")
    c.send("SYN", 0, from_router(p), out(1, to_backend(n.blue, changed(p, dst=n.blue, dport=8080), [(Dot1Q, 9)])))
    r = tcp(n, n.blue, 8080, n.client, 40000, "SA", 5000, 1001)
    c.send("SYN-ACK", 1, from_backend(n.blue, r, [(Dot1Q, 9)]), out(0, to_client(changed(r, src=n.vip, sport=80))))

z = udp(V4, V4.client, 40000, V4.vip, 53, b"none made", chksum=0)
c = Case("nat_udp_zero/v4", [service(V4, "dns", 53, protocol="udp", backend_port=5353)], "no checksum stays none (RFC 768)")
c.send("query", 0, from_router(z), out(1, to_backend(V4.blue, changed(z, dst=V4.blue, dport=5353))))
a = udp(V4, V4.blue, 5353, V4.client, 40000, b"none either", chksum=0)
c.send("answer", 1, from_backend(V4.blue, a), out(0, to_client(changed(a, src=V4.vip, sport=53))))

# ---- tunnels: n inside, o outside

for n in (V4, V6):
    for o in (V4, V6):
        v = f"{n.family}in{o.family}"
        s = service(n, forward="ipip", blue=[o.blue], green=[o.green])
        c = Case(f"ipip/{v}", [s], "the packet inside untouched but for its TTL, no padding, DSCP and ECN copied, DF set")
        p = tcp(n, n.client, 40000, n.vip, 80, "S", tos=0xb9)
        i = changed(p)
        c.send("SYN", 0, from_router(p), tunnel(o, o.blue, i, 0xb9))
        c.flow(n.client, 40000, state="syn", pool="blue")
        p = tcp(n, n.client, 40000, n.vip, 80, "A", 1001, 1)
        padded = bytes(from_router(p)) + b"\xee" * 9
        c.send("padding does not travel", 0, padded, tunnel(o, o.blue, changed(p)))
        c.flow(n.client, 40000, state="established", pool="blue")
        c.cutover("green")
        c.send("the flow stays", 0, from_router(p), tunnel(o, o.blue, changed(p)))
        p = tcp(n, n.client, 40001, n.vip, 80, "S", df=False)
        c.send("a new one", 0, from_router(p, [(Dot1Q, 5)]), tunnel(o, o.green, changed(p)))
        c.send("TTL 1", 0, from_router(tcp(n, n.client, 40001, n.vip, 80, "A", ttl=1)), drop={"ttl_expired": 1})
        room = 1500 - (20 if o.v4 else 40)
        full = tcp(n, n.client, 40001, n.vip, 80, "A", 1001, 1, b"f" * (room - (40 if n.v4 else 60)))
        c.send("just fits", 0, from_router(full), tunnel(o, o.green, changed(full)))
        over = tcp(n, n.client, 40001, n.vip, 80, "A", 1001, 1, b"f" * (room - (40 if n.v4 else 60) + 1))
        if n.v4:
            told = IP(src=n.vip, dst=n.client, ttl=64, id=0) / ICMP(type=3, code=4, nexthopmtu=room) / bytes(over)[:576 - 28]
        else:
            told = IPv6(src=n.vip, dst=n.client, hlim=64) / ICMPv6PacketTooBig(mtu=room) / Raw(bytes(over)[:1280 - 48])
        c.send("one byte more", 0, from_router(over), out(0, to_client(told)), drop={"too_big": 1}, events={"icmp_sent": 1})

for n in (V4, V6):
    # Frames in several buffers, whose padding lies in the last one, in more, or begins where one ends; and fragments of a datagram.
    wide = topology(client_mtu=9000, back_mtu=9000)
    c = Case(f"ipip_padded_chains/{n.family}in{n.family}", [service(n, "dns", 53, forward="ipip", protocol="udp")],
             "no padding travels, in however many buffers it lies", topo=wide, ports=[{**p, "mtu": 9000} for p in PORTS])
    for length in (1700, 1900, 2000, 3800, 4000, 6123):
        p = udp(n, n.client, 40000, n.vip, 53, bytes(i & 255 for i in range(length)))
        for padding in (1, 300, 2500):
            c.send(f"{length} bytes, {padding} more", 0, bytes(from_router(p)) + b"\xee" * padding, tunnel(n, n.blue, changed(p)),
                   events={"rx_bytes": len(from_router(p)) + padding})

for o in (V4, V6):
    n = V4
    c = Case(f"ipip_fragments/4in{o.family}", [service(n, forward="ipip", blue=[o.blue], green=[o.green])],
             "without DF, what does not fit goes in fragments inside of the tunnel")
    p = udp(n, n.client, 40000, n.vip, 80, b"", df=False)
    room = (1500 - (20 if o.v4 else 40) - 20) & ~7
    p = tcp(n, n.client, 40000, n.vip, 80, "S", data=bytes(range(256)) * 5 + b"g" * 180, df=False)
    whole = bytes(changed(p))
    first = IP(whole[:20])
    del first.len, first.chksum
    first.flags = "MF"
    last = IP(whole[:20])
    del last.len, last.chksum
    last.frag = room // 8
    c.send("1,500 bytes", 0, from_router(p), tunnel(o, o.blue, first / Raw(whole[20:20 + room])),
           tunnel(o, o.blue, last / Raw(whole[20 + room:])))

for n in (V4, V6):
    v = f"v{n.family}"
    c = Case(f"too_big/{v}", [service(n)], "NAT to a smaller MTU", topo=topology(back_mtu=1400))
    f = Conn(c, n, n.blue)
    f.open()
    head = 40 if n.v4 else 60
    f.up("A", 1001, 5001, b"x" * (1400 - head), note="just fits")
    over = tcp(n, n.client, 40000, n.vip, 80, "A", 1001, 5001, b"x" * (1401 - head))
    if n.v4:
        told = IP(src=n.vip, dst=n.client, ttl=64, id=0) / ICMP(type=3, code=4, nexthopmtu=1400) / bytes(over)[:576 - 28]
    else:
        told = IPv6(src=n.vip, dst=n.client, hlim=64) / ICMPv6PacketTooBig(mtu=1400) / Raw(bytes(over)[:1280 - 48])
    c.send("one byte more", 0, from_router(over), out(0, to_client(told)), drop={"too_big": 1}, events={"icmp_sent": 1})
    for _ in range(9):
        c.send("again", 0, from_router(over), out(0, to_client(told)), drop={"too_big": 1})
    c.send("the rate limit", 0, from_router(over), drop={"too_big": 1}, events={"icmp_suppressed": 1})
