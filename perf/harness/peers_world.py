# SPDX-License-Identifier: Apache-2.0
"""One client and one server with an edge host for each peer between them, side by side on the same two bridges:

    client 10.1.0.2 -- bridge -- edge of peer i (VIP 10.1.0.100 + i) -- bridge -- server (10.2.0.100 + i)

The server has an address of its own for each peer (TIME_WAIT sockets of one would refuse the next one's SYNs), and answers
through that peer's edge. Peers that poll are stopped while it is not their turn.
"""
import contextlib
import json
import os
import shutil
import signal
import time
import types

import e2e

HERE = os.path.dirname(os.path.abspath(__file__))
PORTS = (80, 5201)
NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"


class Peer:
    """`number` gives its addresses. start() -> None, or why it cannot be measured."""

    name = ""

    def __init__(self, bench, number):
        self.bench, self.world, self.number = bench, bench.world, number
        self.edge = self.world.namespace(f"edge{number}")
        self.vip, self.server = f"10.1.0.{100 + number}", f"10.2.0.{100 + number}"
        self.outer, self.inner = f"10.1.0.{10 + number}", f"10.2.0.{10 + number}"
        self.process = None
        for side in ("outer", "inner"):
            switch = getattr(bench, side)
            e2e.world.cable(self.edge, side, switch, f"edge{number}")
            e2e.world.attach(switch, "br0", f"edge{number}")

    def kernel_edge(self):
        """Addresses on both sides, and forwarding."""
        e2e.world.endpoint(self.edge, "outer", f"{self.outer}/24")
        e2e.world.endpoint(self.edge, "inner", f"{self.inner}/24")
        self.edge.sh("echo 1 > /proc/sys/net/ipv4/ip_forward")

    def with_vip(self):
        self.kernel_edge()
        self.edge.sh(f"ip address add {self.vip}/24 dev outer")

    def start(self):
        raise NotImplementedError

    def resume(self):
        pass

    def pause(self):
        pass

    def settle(self):
        """What must hold at the end."""


class NoBalancer(Peer):
    name = "none"

    def start(self):
        self.kernel_edge()
        self.vip = self.server
        self.bench.client.run("ip", "route", "add", f"{self.server}/32", "via", self.outer)


class Nftables(Peer):
    name = "nftables DNAT"

    def start(self):
        self.with_vip()
        done = self.edge.run("nft", "-f", "-", ok=False, stdin=f"""table ip nat {{
 chain prerouting {{
  type nat hook prerouting priority dstnat;
  ip daddr {self.vip} tcp dport {{ {", ".join(map(str, PORTS))} }} dnat to {self.server}
 }}
}}
""")
        return f"nft: {done.stderr.strip().splitlines()[0]}" if done.returncode else None


class BareXdp(Peer):
    """The floor of any XDP program here: what veth and the kernel take for it."""

    name = "bare XDP program"

    def start(self):
        self.with_vip()  # the kernel answers ARP
        at = types.SimpleNamespace(world=self.world, edge=self.edge)
        for side in ("outer", "inner"):
            e2e.topology.give(at, "xdp", side, getattr(self.bench, side), f"edge{self.number}")
        outer, inner = _link(self.edge, "outer"), _link(self.edge, "inner")
        program = e2e.topology.compile_bpf(
            self.world, os.path.join(os.path.dirname(HERE), "peer_bare"), "bare", "-ffreestanding", f"-I{os.path.join(HERE, '..', '..', 'include')}",
            f"-DVIP={_braces(self.vip.split('.'))}", f"-DSERVER={_braces(self.server.split('.'))}",
            f"-DTO_SERVER={_braces(_mac(_link(self.bench.server, 's0')) + _mac(inner))}",
            f"-DTO_CLIENT={_braces(_mac(_link(self.bench.client, 'c0')) + _mac(outer))}",
            f"-DINNER={inner['ifindex']}", f"-DOUTER={outer['ifindex']}")
        for side in ("outer", "inner"):
            self.edge.load_bpf("ip", "link", "set", "dev", side, "xdp", "obj", program, "sec", f"xdp.frags/{side}")
        return None


def _link(namespace, device):
    return json.loads(namespace.run("ip", "-j", "link", "show", device).stdout)[0]


def _mac(link):
    return [f"0x{byte}" for byte in link["address"].split(":")]


def _braces(values):
    return "{" + ",".join(values) + "}"


class Haproxy(Peer):
    name = "HAProxy"

    def start(self):
        if not shutil.which("haproxy"):
            return "haproxy is not installed; scripts/deps --perf"
        self.with_vip()
        config = "global\n maxconn 4000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n"
        for port in PORTS:
            config += f"listen p{port}\n bind {self.vip}:{port}\n server s {self.server}:{port}\n"
        self.process = self.world.spawn(self.edge, "haproxy", "-db", "-f", self.world.write("haproxy.cfg", config), log="haproxy.log")
        return None


class NginxStream(Peer):
    name = "nginx stream"

    def start(self):
        if not os.path.exists(NGINX_STREAM):
            return f"{NGINX_STREAM} is not there; scripts/deps --perf"
        self.with_vip()
        listens = "".join(f" server {{ listen {self.vip}:{p}; proxy_pass {self.server}:{p}; }}\n" for p in PORTS)
        config = (f"load_module {NGINX_STREAM};\ndaemon off; worker_processes auto; user root; pid {self.world.path('stream.pid')};\n"
                  f"events {{ worker_connections 20000; }}\nstream {{\n{listens}}}\n")
        self.process = self.world.spawn(self.edge, "nginx", "-p", self.world.directory, "-c", self.world.write("stream.conf", config),
                                        "-e", self.world.path("stream.log"), log="stream.log")
        return None


class Teal(Peer):
    kind = ""

    def start(self):
        at = types.SimpleNamespace(world=self.world, edge=self.edge)
        device = "net_" + self.kind
        ports = []
        for i, side in enumerate(("outer", "inner")):
            e2e.topology.give(at, self.kind, side, getattr(self.bench, side), f"edge{self.number}")
            address = [f"{getattr(self, side)}/24"]
            more = {"announce_vips": side == "outer"}
            if self.kind == "xdp":
                ports.append({"name": side, "engine": "xdp", "device": side, "addresses": address, **more})
            else:
                ports.append({"name": f"p{side}", "device": f"{device}{i},iface={side}", "addresses": address, **more})
        services = [{"name": f"p{p}", "vip": self.vip, "port": p, "split_by": "flow", "pools": {"blue": [self.server], "green": []}}
                    for p in PORTS]
        directory = self.world.path(self.kind)
        os.makedirs(directory)
        engine = {"timeouts": {"closing_s": 1}, "flows": 262144, "table_file": os.path.join(self.world.shm, self.kind)}
        if self.kind == "xdp":
            del engine["table_file"]
        config = {"control": {"socket": f"{directory}/sock", "audit_log": f"{directory}/audit", "state_dir": f"{directory}/state"},
                  "engine": engine, "ports": ports, "services": services}
        self.teald = e2e.teald.Teald(self.world, self.edge, config)
        self.teald.socket = f"{directory}/sock"
        self.teald.file = self.world.write(f"{self.kind}.yaml", json.dumps(config, indent=1) + "\n")
        self.teald.start()
        self.process = self.teald.process
        return None

    def pause(self):
        if self.process:
            self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        if self.process:
            self.process.send_signal(signal.SIGCONT)

    def settle(self):
        self.resume()
        self.teald.check_ledger()


class TealDpdk(Teal):
    name, kind = "teal dpdk (af_packet)", "af_packet"


class TealXdp(Teal):
    name, kind = "teal xdp", "xdp"


class Bench:
    """`peers`: those that answer; `missing`: {name: why}."""

    def __init__(self, world):
        self.world = world
        self.client, self.server = world.namespace("client"), world.namespace("server")
        self.outer, self.inner = world.namespace("outer"), world.namespace("inner")
        for side, end, device, address in ((self.outer, self.client, "c0", "10.1.0.2/24"), (self.inner, self.server, "s0", "10.2.0.2/24")):
            e2e.world.bridge(side)
            e2e.world.cable(end, device, side, "end")
            e2e.world.attach(side, "br0", "end")
            e2e.world.endpoint(end, device, address)
        self._serve()
        self.peers, self.missing = {}, {}
        for number, kind in enumerate((NoBalancer, Nftables, Haproxy, NginxStream, BareXdp, TealDpdk, TealXdp)):
            self._add(kind, number)

    def _serve(self):
        at = types.SimpleNamespace(world=self.world, backends={"server": self.server})
        e2e.servers.nginx(at)

    def _add(self, kind, number):
        address = f"10.2.0.{100 + number}"
        self.server.sh(f"ip address add {address}/24 dev s0; ip rule add from {address} lookup {100 + number}; "
                       f"ip route add 10.2.0.0/24 dev s0 table {100 + number}; "
                       f"ip route add default via 10.2.0.{10 + number} table {100 + number}")
        self.world.spawn(self.server, "iperf3", "-s", "-B", address, log=f"iperf3-{number}.log")
        peer = kind(self, number)
        try:
            why = peer.start()
            if why is None:
                e2e.world.until(lambda: self._answers(peer), 10, f"{peer.name} answers")
        except e2e.Failure as error:
            why = str(error)[:300]
        if why is None:
            peer.pause()
            self.peers[peer.name] = peer
        else:
            self.missing[peer.name] = why

    def _answers(self, peer):
        return self.client.run("curl", "-sS", "-m", 2, f"http://{peer.vip}/name", ok=False).stdout.strip() == "server"

    @contextlib.contextmanager
    def only(self, name):
        """It is this peer's turn."""
        self.peers[name].resume()
        time.sleep(0.05)
        try:
            yield
        finally:
            self.peers[name].pause()
