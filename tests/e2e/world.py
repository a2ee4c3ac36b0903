# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, processes, hugepages and temporary directories that always go away again.

Every namespace is called teal-PID-NAME after the process that made it, so that a later run sees which ones a crashed
run has left, and removes them (with the processes inside) before it begins.
"""
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

NETNS = "/run/netns"
RESERVED = "/run/teal-e2e-hugepages.json"
_libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """A promise was broken, or the world could not be built: one sentence."""


class Skip(Exception):
    """The scenario cannot run here: the reason."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def run(*command, timeout=60, ok=True, stdin=None):
    """Runs a command to its end; returns its completed process (text). Failure if ok and its exit code is not 0."""
    done = subprocess.run([str(c) for c in command], input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout)
    if ok and done.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))[:200]}: exit {done.returncode}: "
                      f"{(done.stderr or done.stdout).strip()[-600:]}")
    return done


def until(condition, seconds, what, step=0.05):
    """Waits for condition() to be true and returns what it gave; Failure after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"after {seconds:g} s still not so: {what}")
        time.sleep(step)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _die_with_parent():
    os.setpgid(0, 0)
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _kill_namespace(path):
    name = os.path.basename(path)
    for _ in range(40):
        pids = run("ip", "netns", "pids", name, ok=False).stdout.split()
        if not pids:
            break
        for pid in pids:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
    run("ip", "netns", "delete", name, ok=False)


def _bpf_mounts():
    with open("/proc/mounts", encoding="utf-8") as file:
        return [line.split()[1] for line in file if line.split()[2] == "bpf"]


def sweep_leftovers():
    """Removes what runs that have died left behind."""
    for name in sorted(os.listdir(NETNS)) if os.path.isdir(NETNS) else []:
        match = re.fullmatch(r"teal-(\d+)-.+", name)
        if match and not _alive(int(match[1])):
            _kill_namespace(os.path.join(NETNS, name))
    for path in _bpf_mounts():
        match = re.match(r"/tmp/teal-e2e-(\d+)-", path)
        if match and not _alive(int(match[1])):
            run("umount", path, ok=False)
    for directory in ("/tmp", "/dev/shm"):
        for name in os.listdir(directory):
            match = re.fullmatch(r"teal-e2e-(\d+)-.+", name)
            if match and not _alive(int(match[1])):
                shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
    if os.path.exists(RESERVED):
        with open(RESERVED, encoding="ascii") as file:
            state = json.load(file)
        if not _alive(state["pid"]):
            _release_hugepages(state)


def _release_hugepages(state):
    if state["mounted"]:
        run("umount", "/dev/hugepages", ok=False)
    with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as file:
        file.write(str(state["before"]))
    os.unlink(RESERVED)


class Namespace:
    """One network namespace, with lo up."""

    def __init__(self, name):
        self.name = name
        self.path = os.path.join(NETNS, name)
        run("ip", "netns", "add", name)
        self.sh("ip link set lo up; echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse; "
                "echo '1024 65535' > /proc/sys/net/ipv4/ip_local_port_range; "
                "for f in all default; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; "
                "echo 0 > /proc/sys/net/ipv6/conf/$f/accept_dad; done")

    def wrap(self, command):
        # Not `ip netns exec`: it would hide /sys/fs/bpf.
        return ["nsenter", f"--net={self.path}", "--", *[str(c) for c in command]]

    def run(self, *command, **options):
        return run(*self.wrap(command), **options)

    def load_bpf(self, *command):
        """ip or tc with a program to load. They mount a bpffs where there is none, and leave it: in a mount namespace that
        ends with them."""
        self.run("unshare", "--mount", *command)

    def sh(self, script, **options):
        return self.run("sh", "-ec", script, **options)


class World:
    """Owner of everything a scenario makes. Use as a context manager."""

    def __init__(self, label, keep=False):
        if os.geteuid() != 0:
            raise Failure("needs root: network namespaces and raw sockets")
        sweep_leftovers()
        self.keep = keep
        self.directory = tempfile.mkdtemp(prefix=f"teal-e2e-{os.getpid()}-{label}-", dir="/tmp")
        self.shm = tempfile.mkdtemp(prefix=f"teal-e2e-{os.getpid()}-{label}-", dir="/dev/shm")
        self.namespaces = {}
        self.processes = []
        self.hugepages = None
        self.bpf_pins = None
        self.last_words = []
        self.witnesses = []  # calls that give a line for a failure's report

    def on_exit(self, call):
        """Calls it when all processes have ended."""
        self.last_words.append(call)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + 5
        for process in reversed(self.processes):
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for namespace in self.namespaces.values():
            _kill_namespace(namespace.path)
        for call in self.last_words:
            call()
        if self.hugepages:
            _release_hugepages(self.hugepages)
        shutil.rmtree(self.shm, ignore_errors=True)
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        return False

    def pins(self):
        """Where this world's xdp ports pin what they have: on a bpffs of its own, so that no machine keeps one, and no
        world takes another's away. teald makes the directory."""
        if not self.bpf_pins:
            at = self.path("bpf")
            os.mkdir(at)
            run("mount", "-t", "bpf", "bpf", at)
            self.on_exit(lambda: run("umount", at))  # a link whose pin goes lets go of its interface
            self.bpf_pins = os.path.join(at, "pins")
        return self.bpf_pins

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def namespace(self, name):
        self.namespaces[name] = Namespace(f"teal-{os.getpid()}-{name}")
        return self.namespaces[name]

    def spawn(self, namespace, *command, log, stdin=subprocess.DEVNULL, stdout=None, env=None):
        """Starts a process in a namespace; its output goes to `log` in the world's directory."""
        with open(self.path(log), "ab") as file:
            process = subprocess.Popen(namespace.wrap(command), stdin=stdin, stdout=stdout or file, stderr=file,
                                       preexec_fn=_die_with_parent, env=env)
        self.processes.append(process)
        return process

    def reserve_hugepages(self, pages):
        """2 MiB pages for this world, taken back at its end."""
        with open("/proc/sys/vm/nr_hugepages", encoding="ascii") as file:
            before = int(file.read())
        with open("/proc/mounts", encoding="ascii") as file:
            mounted = any(line.split()[2] == "hugetlbfs" for line in file)
        self.hugepages = {"pid": os.getpid(), "before": before, "mounted": not mounted}
        with open(RESERVED, "w", encoding="ascii") as file:
            json.dump(self.hugepages, file)
        with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as file:
            file.write(str(before + pages))
        with open("/proc/sys/vm/nr_hugepages", encoding="ascii") as file:
            got = int(file.read()) - before
        if not mounted:
            os.makedirs("/dev/hugepages", exist_ok=True)
            run("mount", "-t", "hugetlbfs", "none", "/dev/hugepages")
        if got < pages:
            raise Skip(f"needs {pages} hugepages of 2 MiB, the kernel gave {got}")

    def tail(self, lines=25):
        """The ends of all log files, for a failure's report."""
        out = [witness() for witness in self.witnesses]
        for base, _, names in os.walk(self.directory):
            for name in sorted(names):
                path = os.path.join(base, name)
                if not name.endswith(".log") or "access" in name or os.path.getsize(path) == 0:
                    continue
                with open(path, "rb") as file:
                    text = file.read()[-20000:].decode("utf-8", "replace").splitlines()[-lines:]
                out.append(f"---- {os.path.relpath(path, self.directory)}")
                out.extend(text)
        return "\n".join(out)


ENDPOINT = "ethtool -K {0} tx off tso off gso off gro on >/dev/null; "
PASSIVE = "ethtool -K {0} tx off tso off gso off gro off rxvlan off txvlan off >/dev/null; "


def cable(a, a_name, b, b_name, mtu=1500):
    """A veth pair between two namespaces, both ends up, without offloads that would fake packets."""
    run("ip", "-n", a.name, "link", "add", a_name, "mtu", mtu, "type", "veth", "peer", "name", b_name, "mtu", mtu,
        "netns", b.name)
    for namespace, name in ((a, a_name), (b, b_name)):
        namespace.sh(PASSIVE.format(name) + f"ip link set {name} up")


def endpoint(namespace, device, *addresses):
    """Makes a cable's end one that sockets speak through, and that takes what XDP sends to it (gro on: it has a NAPI)."""
    namespace.sh(ENDPOINT.format(device) +
                 "".join(f"ip address add {a} dev {device}{' nodad' if ':' in a else ''}; " for a in addresses))


def hand_to_teald(namespace, device):
    """The kernel leaves the device's frames to teald: AF_PACKET sees them before this hook, XDP too."""
    namespace.sh(f"echo 1 > /proc/sys/net/ipv6/conf/{device}/disable_ipv6")
    namespace.run("nft", "-f", "-", stdin=f"table netdev teal_{device} {{\n chain drop_all {{\n"
                  f"  type filter hook ingress device {device} priority 0; policy drop;\n }}\n}}\n")


def bridge(namespace, name="br0"):
    namespace.sh(f"ip link add {name} type bridge forward_delay 0; ip link set {name} up; "
                 f"echo 1 > /proc/sys/net/ipv6/conf/{name}/disable_ipv6")


def attach(namespace, name, device):
    namespace.sh(f"ip link set {device} master {name}; echo 1 > /proc/sys/net/ipv6/conf/{device}/disable_ipv6")


def ping(namespace, address, count=1):
    return namespace.run("ping", "-c", count, "-W", 1, "-i", "0.2", address, ok=False).returncode == 0


def say(text):
    print(text, flush=True)


def warn(text):
    print(text, file=sys.stderr, flush=True)
