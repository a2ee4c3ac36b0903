# SPDX-License-Identifier: Apache-2.0
"""Where clients, teald and backends stand.

two_ports   client -- edge0 [teald] edge1 -- bridge -- backends; they route through teald (nat)
one_port    client, edge0 [teald] and backends on one bridge; backends hold the VIP (l2dsr, ipip) or route through teald (nat)

Ports are made by `kind`: af_packet and af_xdp (dpdk ports), or xdp; two_ports takes a pair for a mixed host.
Addresses: clients 10.1.0.2/24, VIP 10.1.0.100; IPv6 the same in fd01::/64 and fd02::/64.
"""
import os

from world import attach, bridge, cable, endpoint, hand_to_teald, run

VIP4, VIP6 = "10.1.0.100", "fd01::100"
HERE = os.path.dirname(os.path.abspath(__file__))
BACKENDS = {"blue1": 11, "blue2": 12, "green1": 21, "green2": 22}


class Layout:
    def __init__(self, world, net, net6):
        self.world = world
        self.client = world.namespace("client")
        self.edge = world.namespace("edge")
        self.lan = world.namespace("lan")
        self.backends = {name: world.namespace(name) for name in BACKENDS}
        self.net, self.net6 = net, net6
        self.ports = []

    def address(self, name, family=4):
        return f"{self.net}.{BACKENDS[name]}" if family == 4 else f"{self.net6}::{BACKENDS[name]}"

    def pool(self, name, family=4):
        return [{"address": self.address(b, family), "name": b} for b in BACKENDS if b.startswith(name)]

    def service(self, name="web", port=80, family=4, **more):
        """A service of a teald configuration over all four backends."""
        return {"name": name, "vip": VIP4 if family == 4 else VIP6, "port": port,
                "pools": {p: self.pool(p, family) for p in ("blue", "green")}, **more}

    def vip(self, family=4):
        return VIP4 if family == 4 else VIP6


def port(name, kind, interface, index, addresses, queues=1, **more):
    """A port of a teald configuration over a veth."""
    if kind == "xdp":
        return {"name": name, "engine": "xdp", "device": interface, "addresses": addresses, **more}
    device = f"net_{kind}{index},iface={interface}" + (f",qpairs={queues}" if queues > 1 else "")
    return {"name": name, "device": device, "addresses": addresses, **more}


def give(at, kind, interface, peer, peer_interface):
    """Readies one cable for its port; `peer` is the namespace of the other end."""
    if kind == "xdp":
        endpoint(peer, peer_interface)
        program = compile_bpf(at.world, "pass")
        peer.load_bpf("ip", "link", "set", "dev", peer_interface, "xdp", "obj", program, "sec", "xdp.frags")
    else:
        hand_to_teald(at.edge, interface)


def two_ports(world, kind="af_packet", queues=1, mtu=1500):
    outer, inner = (kind, kind) if isinstance(kind, str) else kind
    at = Layout(world, "10.2.0", "fd02")
    cable(at.client, "c0", at.edge, "edge0", mtu)
    cable(at.lan, "uplink", at.edge, "edge1", mtu)
    _client(at, route=True)
    bridge(at.lan)
    attach(at.lan, "br0", "uplink")
    _backends(at, gateway=("10.2.0.1", "fd02::1"), mtu=mtu)
    give(at, outer, "edge0", at.client, "c0")
    give(at, inner, "edge1", at.lan, "uplink")
    more = {} if mtu == 1500 else {"mtu": mtu}
    at.ports = [port("outside", outer, "edge0", 0, ["10.1.0.1/24", "fd01::1/64"], queues, **more),
                port("inside", inner, "edge1", 1, ["10.2.0.1/24", "fd02::1/64"], queues, announce_vips=False, **more)]
    return at


def one_port(world, direct=True, kind="af_packet", queues=1):
    """direct: backends answer clients by themselves. Otherwise clients and backends are routed through teald."""
    at = Layout(world, "10.1.0" if direct else "10.2.0", "fd01" if direct else "fd02")
    bridge(at.lan)
    for namespace, here, there in ((at.client, "c0", "to-client"), (at.edge, "edge0", "to-edge")):
        cable(namespace, here, at.lan, there)
        attach(at.lan, "br0", there)
    _client(at, route=not direct)
    _backends(at, gateway=None if direct else ("10.2.0.1", "fd02::1"))
    if direct:
        for namespace in at.backends.values():
            namespace.sh(f"ip address add {VIP4}/32 dev lo; ip address add {VIP6}/128 dev lo nodad; "
                         "for f in all eth0; do echo 1 > /proc/sys/net/ipv4/conf/$f/arp_ignore; "
                         "echo 2 > /proc/sys/net/ipv4/conf/$f/arp_announce; done")
    give(at, kind, "edge0", at.lan, "to-edge")
    addresses = ["10.1.0.1/24", "fd01::1/64"] + ([] if direct else ["10.2.0.1/24", "fd02::1/64"])
    at.ports = [port("outside", kind, "edge0", 0, addresses, queues)]
    return at


def decapsulate(at):
    """Each backend takes IP in IP off by an XDP program on its cable: this kernel has no ipip device."""
    program = compile_bpf(at.world, "decap")
    for namespace in at.backends.values():
        namespace.load_bpf("ip", "link", "set", "dev", "eth0", "xdp", "obj", program, "sec", "xdp")


def tagged(world):
    """two_ports with an access switch between: VLAN 100 towards clients, 200 with 30 inside towards backends."""
    at = Layout(world, "10.2.0", "fd02")
    switch = world.namespace("switch")
    for namespace, name, near, outer, inner in ((at.client, "c0", "edge0", 100, 0), (at.lan, "uplink", "edge1", 200, 30)):
        cable(namespace, name, switch, f"sw-{name}")
        cable(switch, f"trunk-{near}", at.edge, near)
        access, trunk = (ifindex(switch, i) for i in (f"sw-{name}", f"trunk-{near}"))
        for side, interface, other in (("access", f"sw-{name}", trunk), ("trunk", f"trunk-{near}", access)):
            program = compile_bpf(world, "vlan", f"{near}-{side}", f"-DOUTER={outer}", f"-DINNER={inner}", f"-DTO={other}")
            switch.sh(f"tc qdisc add dev {interface} clsact; echo 1 > /proc/sys/net/ipv6/conf/{interface}/disable_ipv6")
            switch.load_bpf("tc", "filter", "add", "dev", interface, "ingress", "bpf", "direct-action", "obj", program, "sec", side)
    _client(at, route=True)
    bridge(at.lan)
    attach(at.lan, "br0", "uplink")
    _backends(at, gateway=("10.2.0.1", "fd02::1"))
    for name in ("edge0", "edge1"):
        hand_to_teald(at.edge, name)
    at.ports = [port("outside", "af_packet", "edge0", 0, ["10.1.0.1/24", "fd01::1/64"], vlan=[100]),
                port("inside", "af_packet", "edge1", 1, ["10.2.0.1/24", "fd02::1/64"], vlan=[200, 30], announce_vips=False)]
    return at


def ifindex(namespace, interface):
    return int(namespace.run("ip", "-o", "link", "show", "dev", interface).stdout.split(":")[0])


def compile_bpf(world, name, as_name=None, *options):
    out = world.path(f"{as_name or name}.o")
    run("clang-14", "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I/usr/include/x86_64-linux-gnu", *options,
        "-c", os.path.join(HERE, f"{name}.bpf.c"), "-o", out)
    return out


def _client(at, route):
    endpoint(at.client, "c0", "10.1.0.2/24", "fd01::2/64")
    if route:
        at.client.sh("ip route add default via 10.1.0.1; ip -6 route add default via fd01::1")


def _backends(at, gateway, mtu=1500):
    for name, namespace in at.backends.items():
        cable(namespace, "eth0", at.lan, name, mtu)
        attach(at.lan, "br0", name)
        endpoint(namespace, "eth0", f"{at.address(name)}/24", f"{at.address(name, 6)}/64")
        if gateway:
            namespace.sh(f"ip route add default via {gateway[0]}; ip -6 route add default via {gateway[1]}")
