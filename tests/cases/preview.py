# SPDX-License-Identifier: Apache-2.0
"""Who reaches the standby pool before a release: clients by prefix, and a preview VIP or port."""
from case import *  # noqa: F401,F403

FORWARDS = ("nat", "l2dsr", "ipip")

for n in (V4, V6):
    v = f"v{n.family}"
    if n.v4:
        nested = ["203.0.113.7/32", "203.0.112.0/20", "192.0.3.128/25", "10.0.0.0/8"]
        inside = ["203.0.113.7", "203.0.113.8", "203.0.127.255", "203.0.112.0", "192.0.3.128", "10.255.255.255"]
        outside = ["203.0.128.0", "203.0.111.255", "192.0.3.127", "11.0.0.0", "9.255.255.255"]
    else:
        nested = ["2001:db8:c::7/128", "2001:db8:c::/48", "2001:db8:d:8000::/49", "2001:db9::/32"]
        inside = ["2001:db8:c::7", "2001:db8:c:ffff:ffff:ffff:ffff:ffff", "2001:db8:c::", "2001:db8:d:8000::", "2001:db9:1::1"]
        outside = ["2001:db8:b:ffff:ffff:ffff:ffff:ffff", "2001:db8:d::", "2001:db8:d:7fff::1", "2001:dba::", "2001:db8:1:1::1"]
    chosen = {"preview": {"clients": [n.client + ("/32" if n.v4 else "/128")]}}

    for forward in FORWARDS:
        def conn(c, backend, sport, client=None, **more):
            return Conn(c, n, backend, sport=sport, client=client, forward=forward, **more)

        c = Case(f"preview_prefixes/{v}_{forward}", [service(n, forward=forward, preview={"clients": nested})],
                 "prefixes of several lengths, one inside of another: their first and last addresses, and those beside")
        for i, client in enumerate(inside):
            f = conn(c, n.green, 40000 + i, client)
            f.open()
            f.entry("established", "green")
        for i, client in enumerate(outside):
            f = conn(c, n.blue, 40000 + i, client)
            f.open()
            f.entry("established", "blue")

        c = Case(f"preview_live/{v}_{forward}", [service(n, forward=forward)],
                 "prefixes come and go with a reload: flows stay where they are, new ones follow")
        old = conn(c, n.blue, 40000)
        half = conn(c, n.blue, 40001)
        old.open()
        half.up("S")
        c.publish([service(n, forward=forward, **chosen)])
        old.up("PA", 1001, 5001, b"stays", events={"flows_new": 0})
        old.entry("established", "blue")
        half.up("S", note="a retransmitted SYN stays too", events={"flows_new": 0})
        half.entry("syn", "blue")
        new = conn(c, n.green, 40002)
        new.open()
        new.entry("established", "green")
        conn(c, n.blue, 40002, n.client2).open()
        c.publish([service(n, forward=forward)])
        new.up("PA", 1001, 5001, b"stays on green", events={"flows_new": 0})
        conn(c, n.blue, 40003).open()
        old.up("PA", 1001, 5001, b"as ever", events={"flows_new": 0})

        c = Case(f"preview_reversal/{v}_{forward}", [service(n, forward=forward, **chosen)],
                 "after the cutover, once blue is empty, blue is the standby pool: the next preview is blue's")
        seen = conn(c, n.green, 40000)
        seen.open()
        c.split(1, "blue")
        conn(c, n.green, 40001).open()
        c.split(65536, "green")
        conn(c, n.green, 40002).open()
        conn(c, n.green, 40002, n.client2).open()
        c.drained()
        back = conn(c, n.blue, 40003)
        back.open()
        back.entry("established", "blue")
        conn(c, n.green, 40003, n.client2).open()
        seen.up("PA", 1001, 5001, b"stays", events={"flows_new": 0})
        seen.entry("established", "green")
        c.split(0, "blue", rolled_back=True)
        conn(c, n.blue, 40004).open()
        c.drained()
        conn(c, n.green, 40005).open()
        conn(c, n.blue, 40005, n.client2).open()
        back.up("PA", 1001, 5001, b"stays", events={"flows_new": 0})

        c = Case(f"preview_port/{v}_{forward}", [service(n, forward=forward, preview={"port": 8088})],
                 "another port of the VIP is the standby pool's, and changes sides with it")

        def both(main, preview, sport):
            conn(c, main, sport).open()
            f = conn(c, preview, sport + 1000, vport=8088, service="web@preview", named=8080 if forward == "nat" else 80)
            f.open()
            f.entry("established", "green" if preview == n.green else "blue")
            return f

        first = both(n.blue, n.green, 40000)
        c.cutover("green")
        both(n.green, n.blue, 40001)
        first.up("PA", 1001, 5001, b"stays", events={"flows_new": 0})
        c.rollback()
        both(n.blue, n.green, 40002)
        first.entry("established", "green")

        c = Case(f"preview_vip/{v}_{forward}", [service(n, forward=forward, preview={
            "vip": "192.0.2.99" if n.v4 else "2001:db8:1::99"})], "another VIP is the standby pool's")
        vip = "192.0.2.99" if n.v4 else "2001:db8:1::99"
        f = conn(c, n.green, 40000, vip=vip, service="web@preview")
        f.open()
        f.entry("established", "green")
        c.signals("web@preview", green2={}, green1={"begun": 1, "handshakes": 1, "handshake 0": 1})
        c.signals("web")
        conn(c, n.blue, 40000).open()
        c.cutover("green")
        f.up("PA", 1001, 5001, b"stays", events={"flows_new": 0})
        conn(c, n.blue, 40001, vip=vip, service="web@preview").open()
        conn(c, n.green, 40001).open()

    c = Case(f"preview_services/{v}", [service(n, **chosen), service(n, "api", 81, backend_port=8081, preview={
        "clients": [n.client2 + ("/32" if n.v4 else "/128")]})], "each service has its own list")
    Conn(c, n, n.green).open()
    Conn(c, n, n.blue, client=n.client2).open()
    Conn(c, n, n.blue, vport=81, bport=8081).open()
    Conn(c, n, n.green, vport=81, bport=8081, client=n.client2).open()

    c = Case(f"preview_group/{v}", [service(n, group="shop", **chosen), service(n, "tls", 443, group="shop", backend_port=8443)],
             "a group cut over by its other service: the preview follows")
    Conn(c, n, n.green).open()
    c.cutover("green", "tls")
    c.drained("tls")
    Conn(c, n, n.blue, sport=40001).open()
    Conn(c, n, n.green, vport=443, bport=8443).open()

    c = Case(f"preview_udp/{v}", [service(n, "dns", 53, protocol="udp", backend_port=5353, **chosen)], "datagrams too")
    for client, b in ((n.client, n.green), (n.client2, n.blue)):
        q = udp(n, client, 40000, n.vip, 53, b"query")
        c.send("query", 0, from_router(q), out(1, to_backend(b, changed(q, dst=b, dport=5353))))
        c.flow(client, 40000, "dns", pool="green" if b == n.green else "blue", state="udp_new")

    c = Case(f"preview_empty_pool/{v}", [service(n, green=[], **chosen)],
             "a standby pool without backends: the chosen client is told apart, not sent elsewhere in silence")
    c.send("SYN", 0, from_router(tcp(n, n.client, 40000, n.vip, 80, "S")), drop={"no_backend": 1})
    Conn(c, n, n.blue, client=n.client2).open()

    c = Case(f"preview_shared_backend/{v}", [service(n, preview={"port": 8088})],
             "NAT: one client's ports through VIP and preview to one backend: only one can be told")
    Conn(c, n, n.blue, sport=40000).open()
    c.cutover("green")
    c.send("the same client port through the preview", 0, from_router(tcp(n, n.client, 40000, n.vip, 8088, "S")),
           drop={"reply_clash": 1})
    f = Conn(c, n, n.blue, sport=40001, vport=8088, service="web@preview")
    f.open()
    f.down("PA", 5001, 1001, b"translated back to the preview port")
    Conn(c, n, n.blue, sport=40000).down("PA", 5001, 1001, b"and to the VIP's own")
