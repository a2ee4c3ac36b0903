# SPDX-License-Identifier: Apache-2.0
"""What is the kernel's, what is nobody's, and every way to be malformed."""
from case import *  # noqa: F401,F403
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6ExtHdrRouting

for n in (V4, V6):
    v = f"v{n.family}"
    c = Case(f"to_kernel/{v}", [service(n)], "what is not a service's goes to the port's tap as it is")
    own = "198.51.100.2" if n.v4 else "2001:db8:e::2"
    frames = {
        "ping": from_router(n.ip(n.client, own) / (ICMP() if n.v4 else ICMPv6EchoRequest())),
        "ping of the VIP": from_router(n.ip(n.client, n.vip) / (ICMP() if n.v4 else ICMPv6EchoRequest())),
        "SSH": from_router(tcp(n, n.client, 40000, own, 22, "S")),
        "another port of the VIP": from_router(tcp(n, n.client, 40000, n.vip, 81, "S")),
        "another protocol on the service's port": from_router(udp(n, n.client, 40000, n.vip, 80)),
        "a BGP packet with TTL 1": from_router(tcp(n, n.router, 179, own, 40000, "A", ttl=1)),
        "an unknown protocol": from_router(n.ip(n.client, n.vip) / Raw(b"\0" * 30)),
        "a fragment of somebody else's": from_router(
            IP(src=n.client, dst=own, flags="MF", proto=17) / Raw(b"f" * 64) if n.v4 else
            IPv6(src=n.client, dst=own) / IPv6ExtHdrFragment(m=1, id=7, nh=17) / Raw(b"f" * 64)),
        "an error about somebody else's": from_router(
            IP(src=n.router, dst=own) / ICMP(type=3, code=1) / bytes(tcp(n, own, 22, n.client, 5, "A")) if n.v4 else
            IPv6(src=n.router, dst=own) / ICMPv6DestUnreach() / tcp(n, own, 22, n.client, 5, "A")),
    }
    if n.v4:
        frames["ARP"] = Ether(src=ROUTER, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc=n.router, pdst="198.51.100.2", hwsrc=ROUTER)
        frames["ARP reply"] = Ether(src=ROUTER, dst=EDGE) / ARP(op=2, psrc=n.router, pdst="198.51.100.2", hwsrc=ROUTER, hwdst=EDGE)
        frames["OSPF multicast"] = Ether(src=ROUTER, dst="01:00:5e:00:00:05") / IP(src=n.router, dst="224.0.0.5", proto=89, ttl=1) / Raw(b"o" * 44)
        frames["LLDP"] = Ether(src=ROUTER, dst="01:80:c2:00:00:0e", type=0x88cc) / Raw(b"l" * 46)
    else:
        frames["ND"] = Ether(src=ROUTER, dst="33:33:ff:00:00:02") / IPv6(src=n.router, dst="ff02::1:ff00:2", hlim=255) / ICMPv6ND_NS(tgt="2001:db8:e::2")
    for name, frame in frames.items():
        c.send(name, 0, frame, kernel(0, frame), events={"to_kernel": 1, "forwarded": 0})
    alien = Ether(src=ROUTER, dst="02:00:00:00:00:99") / tcp(n, n.client, 40000, n.vip, 80, "S")
    c.send("a frame for another machine", 0, alien, drop={"not_our_mac": 1})
    multi = Ether(src=ROUTER, dst="ff:ff:ff:ff:ff:ff") / tcp(n, n.client, 40000, n.vip, 80, "S")
    c.send("a service's packet as broadcast is no service's", 0, multi, kernel(0, multi))
    c.no_flow(n.client, 40000)
    answer = from_backend(n.blue, tcp(n, n.blue, 8080, n.tunnel_source, 50000, "SA", 1, 2))
    c.send("a backend answers the host itself", 1, answer, kernel(1, answer),
           events={"to_kernel": 1, "replies": 0, "reply_untracked": 0, "flows_recovered": 0})
    answer = from_backend(n.blue, tcp(n, n.blue, 8080, n.tunnel_source, 50000, "PA", 1, 2, b"hello"))
    c.send("and goes on", 1, answer, kernel(1, answer), events={"to_kernel": 1, "replies": 0, "flows_recovered": 0})

    # ---- malformed
    c = Case(f"truncated/{v}", [service(n), service(n, "dns", 53, protocol="udp", backend_port=5353)], "frames cut at every length")
    for kind, p in (("TCP", tcp(n, n.client, 40000, n.vip, 80, "S", options=[("MSS", 1460)])),
                    ("UDP", udp(n, n.client, 40000, n.vip, 53)),
                    ("tagged TCP", (Dot1AD(vlan=1) / Dot1Q(vlan=2) / tcp(n, n.client, 40000, n.vip, 80, "S")))):
        whole = bytes(Ether(src=ROUTER, dst=EDGE) / p)
        cut = [whole[:i] for i in range(1, len(whole))]
        for i in range(0, len(cut), 16):
            part = cut[i:i + 16]
            c.send(f"{kind}: 1 to {len(part)} bytes of it from {i}", 0, part, drop={"truncated": len(part)})
    if not n.v4:
        ext = IPv6(src=n.client, dst=n.vip) / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / TCP(sport=1, dport=80, flags="S")
        whole = bytes(from_router(ext))
        cut = [whole[:i] for i in range(15, len(whole))]
        for i in range(0, len(cut), 16):
            c.send("extension headers", 0, cut[i:i + 16], drop={"truncated": len(cut[i:i + 16])})

    c = Case(f"malformed/{v}", [service(n), service(n, "dns", 53, protocol="udp", backend_port=5353)], "each malformation under its own name")
    c.send("three tags", 0, from_router(tcp(n, n.client, 1, n.vip, 80, "S"), [(Dot1Q, 1)] * 3), drop={"too_many_tags": 1})

    def broken(at, value, frame, mask=0xff):
        b = bytearray(bytes(frame))
        b[at] = (b[at] & ~mask & 0xff) | value
        return bytes(b)

    l4 = 34 if n.v4 else 54
    good = from_router(tcp(n, n.client, 40000, n.vip, 80, "A", data=b"d" * 20))
    dns = from_router(udp(n, n.client, 40000, n.vip, 53))
    for version in [x for x in range(16) if x != n.family]:
        c.send(f"IP version {version}", 0, broken(14, version << 4, good, 0xf0), drop={"bad_ip_header": 1})
    if n.v4:
        for ihl in range(5):
            c.send(f"IHL {ihl}", 0, broken(14, ihl, good, 0x0f), drop={"bad_ip_header": 1})
        c.send("total length below the header's", 0, broken(17, 19, broken(16, 0, good)), drop={"bad_ip_header": 1})
        c.send("total length past the frame", 0, broken(17, 81, broken(16, 0, good)), drop={"truncated": 1})
        c.send("total length cuts the TCP header", 0, broken(17, 39, broken(16, 0, good)), drop={"truncated": 1})
        for src in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"):
            c.send(f"from {src}", 0, from_router(tcp(n, src, 40000, n.vip, 80, "S")), drop={"martian_source": 1})
        frag = IP(src=n.client, dst=n.vip, flags="MF", proto=6)
        c.send("fragment of 13 bytes", 0, from_router(frag / Raw(b"x" * 13)), drop={"bad_fragment": 1})
        c.send("fragment of nothing", 0, from_router(frag), drop={"bad_fragment": 1})
        c.send("fragment past 65,535", 0, from_router(IP(src=n.client, dst=n.vip, frag=8191, proto=6) / Raw(b"x" * 16)), drop={"bad_fragment": 1})
    else:
        c.send("payload length past the frame", 0, broken(19, 41, broken(18, 0, good)), drop={"truncated": 1})
        c.send("payload length cuts the TCP header", 0, broken(19, 19, broken(18, 0, good)), drop={"truncated": 1})
        for src in ("::", "::1", "ff02::1"):
            c.send(f"from {src}", 0, from_router(tcp(n, src, 40000, n.vip, 80, "S")), drop={"martian_source": 1})
        for count in (8, 9, 20):
            p = IPv6(src=n.client, dst=n.vip, hlim=64)
            for _ in range(count):
                p = p / IPv6ExtHdrDestOpt()
            p = p / TCP(sport=40008, dport=80, flags="S")
            if count == 8:
                t = copy.deepcopy(p)
                t.dst, t.hlim = n.blue, 63
                t[TCP].dport = 8080
                c.send("8 extension headers", 0, from_router(p), out(1, to_backend(n.blue, t)))
            else:
                c.send(f"{count} extension headers", 0, from_router(p), drop={"too_many_extensions": 1})
        frag = IPv6(src=n.client, dst=n.vip)
        c.send("fragment of 13 bytes", 0, from_router(frag / IPv6ExtHdrFragment(m=1, nh=6) / Raw(b"x" * 13)), drop={"bad_fragment": 1})
        c.send("fragment of nothing", 0, from_router(frag / IPv6ExtHdrFragment(m=1, nh=6)), drop={"bad_fragment": 1})
        c.send("fragment past 65,535", 0, from_router(frag / IPv6ExtHdrFragment(offset=8191, nh=6) / Raw(b"x" * 16)), drop={"bad_fragment": 1})
    for words in range(5):
        c.send(f"TCP header of {words} words", 0, broken(l4 + 12, words << 4, good), drop={"bad_tcp_header": 1})
    c.send("TCP header past the segment", 0, broken(l4 + 12, 11 << 4, good), drop={"bad_tcp_header": 1})
    for flags in range(64):
        if flags & 2 and flags & 5:
            c.send(f"TCP flags {flags:#04x}", 0, broken(l4 + 13, flags, good), drop={"bad_tcp_flags": 1})
    for length in range(8):
        c.send(f"UDP length {length}", 0, broken(l4 + 5, length, broken(l4 + 4, 0, dns)), drop={"bad_udp_header": 1})
    c.send("UDP length past the datagram", 0, broken(l4 + 5, 14, dns), drop={"bad_udp_header": 1})
    short = from_router(IP(src=n.client, dst=n.vip) / ICMP(type=3, code=1) / Raw(b"\x45" + b"\0" * 18) if n.v4 else
                        IPv6(src=n.client, dst=n.vip) / ICMPv6DestUnreach() / Raw(b"\x60" + b"\0" * 38))
    c.send("an ICMP error that quotes too little", 0, short, drop={"bad_icmp_quote": 1})
    c.no_flow(n.client, 40000)
    ok = tcp(n, n.client, 40009, n.vip, 80, "S")
    c.send("and a good one after all that", 0, from_router(ok), out(1, to_backend(n.blue, changed(ok, dst=n.blue, dport=8080))))
