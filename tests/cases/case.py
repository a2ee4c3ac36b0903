# SPDX-License-Identifier: Apache-2.0
"""How cases are written: a world, steps, and what must come of them. Frames are scapy's, none of include/teal is used.

A case file (NAME.py) makes Case objects; make.py runs it and writes NAME.jsonl beside it, which tests/cases/runner.cc
plays through an engine. Expected frames are built anew from their layers, with every checksum computed from scratch.
"""
import copy
import json

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror, UDPerror  # noqa: F401
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6PacketTooBig, IPerror6, IPv6,  # noqa: F401
                                IPv6ExtHdrDestOpt, IPv6ExtHdrFragment)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether  # noqa: F401
from scapy.packet import Raw

EDGE = "02:00:00:00:00:01"    # port 0: clients, behind ROUTER
BACK = "02:00:00:00:00:02"    # port 1: backends, on link
ROUTER = "02:00:00:00:01:01"


class Net:
    """Addresses of one family."""

    def __init__(self, family):
        v4 = family == 4
        self.family, self.v4 = family, v4
        self.IP = IP if v4 else IPv6
        self.client = "203.0.113.7" if v4 else "2001:db8:c::7"
        self.client2 = "203.0.113.8" if v4 else "2001:db8:c::8"
        self.vip = "192.0.2.10" if v4 else "2001:db8:1::10"
        base = "10.0.0." if v4 else "2001:db8:b::"
        self.blue, self.blue2, self.green, self.green2 = base + "11", base + "12", base + "21", base + "22"
        self.router = "198.51.100.1" if v4 else "2001:db8:e::1"
        self.tunnel_source = "10.0.0.1" if v4 else "2001:db8:b::1"
        self.hairpin_bits = 16 if v4 else 96

    def ip(self, src, dst, ttl=64, tos=0, df=True):
        if self.v4:
            return IP(src=src, dst=dst, ttl=ttl, tos=tos, id=0x1234, flags="DF" if df else 0)
        return IPv6(src=src, dst=dst, hlim=ttl, tc=tos, fl=0x12345)


V4, V6 = Net(4), Net(6)


def mac_of(address):
    """The MAC address of a backend: its last two digits tell."""
    return "02:00:00:00:02:" + address.replace(":", ".").split(".")[-1].zfill(2)


def at(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def service(net, name="web", port=80, forward="nat", protocol="tcp", blue=None, green=None, backend_port=8080, **more):
    if forward != "nat":
        backend_port = port
    pools = {"blue": [at(a, backend_port) for a in (blue or [net.blue])] if blue != [] else [],
             "green": [at(a, backend_port) for a in (green or [net.green])] if green != [] else []}
    return {"name": name, "vip": more.pop("vip", net.vip), "port": port, "protocol": protocol, "forward": forward,
            "pools": pools, **more}


def topology(unknown=(), client_mtu=1500, back_mtu=1500):
    """Two ports; everything beyond is behind ROUTER; backends' MAC addresses are known but for those of `unknown`."""
    neighbours = [{"ifindex": 10, "address": n.router, "mac": ROUTER} for n in (V4, V6)]
    for n in (V4, V6):
        for a in (n.blue, n.blue2, n.green, n.green2):
            if a not in unknown:
                neighbours.append({"ifindex": 11, "address": a, "mac": mac_of(a)})
    return {
        "links": [{"ifindex": 10, "mtu": client_mtu}, {"ifindex": 11, "mtu": back_mtu}],
        "addresses": [{"ifindex": 10, "prefix": "198.51.100.2/24"}, {"ifindex": 10, "prefix": "2001:db8:e::2/64"},
                      {"ifindex": 11, "prefix": "10.0.0.1/24"}, {"ifindex": 11, "prefix": "2001:db8:b::1/64"}],
        "routes": [{"to": "198.51.100.0/24", "ifindex": 10}, {"to": "2001:db8:e::/64", "ifindex": 10},
                   {"to": "10.0.0.0/24", "ifindex": 11}, {"to": "2001:db8:b::/64", "ifindex": 11},
                   {"to": "0.0.0.0/0", "ifindex": 10, "via": V4.router}, {"to": "::/0", "ifindex": 10, "via": V6.router}],
        "neighbours": neighbours,
    }


PORTS = [{"mac": EDGE, "ifindex": 10}, {"mac": BACK, "ifindex": 11}]


class Case:
    made = []

    def __init__(self, name, services, description="", topo=None, ports=None, flows=1024, engine=None,
                 seed=None):
        self.ports = ports or PORTS
        head = {"case": name, "description": description, "flows": flows, **self.world(services, topo, engine)}
        if seed is not None:
            head["seed"] = seed  # where it matters which packet goes the long way
        self.lines = [head]
        Case.made.append(self)

    def world(self, services, topo=None, engine=None):
        config = {"ports": [{"name": f"p{i}", "device": f"net_ring{i}", "vlan": p.get("vlan", [])}
                            for i, p in enumerate(self.ports)], "services": services}
        if engine:
            config["engine"] = engine
        return {"config": json.dumps(config), "ports": self.ports, "topology": topo or topology()}

    def step(self, note, **fields):
        self.lines.append({"note": note, **fields})

    def send(self, note, port, frames, *expect, **fields):
        """`expect`: what out(), kernel() and any_of() return. `drop={"reason": n}`: every drop must be announced."""
        frames = frames if isinstance(frames, list) else [frames]
        self.step(note, port=port, send=[bytes(f).hex() for f in frames], expect=list(expect), **fields)

    def flow(self, client, port, service="web", **fields):
        self.step("entry", flow={"service": service, "client": at(client, port), **fields})

    def no_flow(self, client, port, service="web"):
        self.flow(client, port, service, none=True)

    def cutover(self, to="green", service="web"):
        self.step(f"cutover to {to}", cutover=service, to=to)

    def rollback(self, flows="keep", service="web"):
        self.step(f"rollback, flows: {flows}", rollback=service, flows=flows)

    def advance(self, ms, *expect, **fields):
        self.step(f"{ms} ms pass", advance_ms=ms, expect=list(expect), **fields)

    def publish(self, services, topo=None, note="reload"):
        self.step(note, publish=self.world(services, topo))

    def ticks(self, n, *expect, **fields):
        self.step(f"{n} ticks of 1/4096 s pass", advance_ticks=n, expect=list(expect), **fields)

    def clock(self, at, since=0):
        """Advances the clock to `at` fine ticks; `since` of them have passed since the case began (at 1,000 s)."""
        self.ticks(at - 1000 * 4096 - since)

    def locks(self, what):
        self.step(f"all locks: {what}", locks=what)

    def sweep(self):
        self.step("the sweeper walks", sweep=True)

    def split(self, share, active, service="web", **fields):
        self.step(f"split: {share} of 65,536 to green, {active} active {fields or ''}".rstrip(), split=service, of=share,
                  active=active, **fields)

    def drained(self, service="web"):
        self.step("the old pool is empty", drained=service)

    def affinity(self, client, service="web", **fields):
        self.step("affinity", affinity={"service": service, "client": client, **fields})

    def affinity_entries(self, n):
        self.step("affinity", affinity={"entries": n})

    def signals(self, service="web", **of):
        """All signals of a service since the case began; of: blue1={"begun": 1}. What is not named is 0."""
        self.step("signals", signals={"service": service, "of": {f"{k[:-1]} {k[-1]}": dict(v) for k, v in of.items()}})

    def totals(self, **of):
        """Events since the case began: settled=(least, most)."""
        self.step("totals", totals={name: list(r) for name, r in of.items()})

    def backend(self, name, service="web", **fields):
        self.step(f"backend {name}: {fields}", backend=name, service=service, **fields)


def out(port, frame, mask=None):
    e = {"to": f"port {port}", "hex": bytes(frame).hex()}
    if mask:
        e["mask"] = mask
    return e


def kernel(port, frame):
    return {"to": f"kernel {port}", "hex": bytes(frame).hex()}


def any_of(port, frames, **fields):
    """frames: by name of the backend. bind=NAME remembers who it was; same=NAME, other=NAME hold it to that."""
    return {"to": f"port {port}", "any": {k: bytes(v).hex() for k, v in frames.items()}, **fields}


# ---- frames

def from_router(l3, vlan=()):
    return Ether(src=ROUTER, dst=EDGE) / tagged(l3, vlan)


def tagged(l3, vlan):
    for kind, vid in reversed(list(vlan)):
        l3 = kind(vlan=vid) / l3
    return l3


def to_client(l3, vlan=()):
    return Ether(src=EDGE, dst=ROUTER) / tagged(l3, vlan)


def from_backend(address, l3, vlan=()):
    return Ether(src=mac_of(address), dst=BACK) / tagged(l3, vlan)


def to_backend(address, l3, vlan=()):
    return Ether(src=BACK, dst=mac_of(address)) / tagged(l3, vlan)


def l3_of(frame):
    return frame[IP] if IP in frame else frame[IPv6]


def changed(l3, ttl=-1, src=None, dst=None, sport=None, dport=None):
    """The packet after translation: the same layers with other fields; scapy computes every checksum anew."""
    new = copy.deepcopy(l3)
    if isinstance(new, IP):
        new.ttl += ttl
        new.chksum = None
    else:
        new.hlim += ttl
    if src:
        new.src = src
    if dst:
        new.dst = dst
    if sport:
        new.payload.sport = sport
    if dport:
        new.payload.dport = dport
    return new


def tcp(net, src, sport, dst, dport, flags, seq=1000, ack=0, data=b"", ttl=64, tos=0, df=True, options=()):
    p = net.ip(src, dst, ttl, tos, df) / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack, window=8192,
                                             options=list(options))
    return p / Raw(data) if data else p


def udp(net, src, sport, dst, dport, data=b"hello", ttl=64, chksum=None, df=True):
    return net.ip(src, dst, ttl, 0, df) / UDP(sport=sport, dport=dport, chksum=chksum) / Raw(data)


def tunnel(o, backend, inner, tos=0):
    """The packet `inner` inside a tunnel of o's family."""
    if o.v4:
        outer = IP(src=o.tunnel_source, dst=backend, ttl=64, tos=tos, id=0, flags="DF", proto=4 if IP in inner else 41)
        return out(1, to_backend(backend, outer / inner))
    outer = IPv6(src=o.tunnel_source, dst=backend, hlim=64, tc=tos, nh=4 if IP in inner else 41)
    return out(1, to_backend(backend, outer / inner))


def bucket(ticks):
    """The bucket of a handshake's time in fine ticks: 0, below 2, below 4, ...; the last from 4 s on."""
    return f"handshake {min(15, ticks.bit_length())}"


class Conn:
    """A client's connection: sends packets of both directions (of one, but for NAT) and expects them at the other end."""

    def __init__(self, case, net, backend, sport=40000, client=None, vport=80, bport=8080, vip=None, forward="nat",
                 service="web", named=None):
        self.c, self.n, self.backend, self.sport, self.forward = case, net, backend, sport, forward
        self.client, self.vport, self.vip, self.service = client or net.client, vport, vip or net.vip, service
        self.bport = bport if forward == "nat" else vport
        self.named = named or self.bport  # the port in the backend's name

    def up(self, flags, seq=1000, ack=0, data=b"", backend=None, note=None, **fields):
        p = tcp(self.n, self.client, self.sport, self.vip, self.vport, flags, seq, ack, data)
        b = backend or self.backend
        self.c.send(note or f"client: {flags}", 0, from_router(p), self.arrives(b, p), **fields)

    def arrives(self, b, p):
        if self.forward == "nat":
            return out(1, to_backend(b, changed(p, dst=b, dport=self.bport)))
        return out(1, to_backend(b, p)) if self.forward == "l2dsr" else tunnel(self.n, b, changed(p))

    def down(self, flags, seq=5000, ack=0, data=b"", backend=None, note=None, **fields):
        b = backend or self.backend
        p = tcp(self.n, b, self.bport, self.client, self.sport, flags, seq, ack, data)
        self.c.send(note or f"backend: {flags}", 1, from_backend(b, p),
                    out(0, to_client(changed(p, src=self.vip, sport=self.vport))), **fields)

    def open(self):
        self.up("S", 1000)
        if self.forward == "nat":
            self.down("SA", 5000, 1001)
        self.up("A", 1001, 5001)

    def entry(self, state, pool=None, backend=None):
        fields = {"state": state}
        if pool:
            fields["pool"] = pool
        fields["backend"] = at(backend or self.backend, self.named)
        self.c.flow(self.client, self.sport, self.service, **fields)
