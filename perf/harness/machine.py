# SPDX-License-Identifier: Apache-2.0
"""What a figure was measured on and with: CPU, kernel, versions, commit, and how busy the machine was."""
import os
import platform
import re
import subprocess
import time

from paths import ROOT


def _text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def output(*command):
    """What a command says, "" when there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return (done.stdout + done.stderr).strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _version(*command):
    match = re.search(r"(\d+\.\d+[\w.+~-]*)", output(*command))
    return match[1] if match else "not installed"


def describe():
    cpuinfo = _text("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    memory = re.search(r"MemTotal:\s*(\d+)", _text("/proc/meminfo"))
    dirty = bool(output("git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no"))
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": output("git", "-C", ROOT, "rev-parse", "--short=12", "HEAD") + ("+changes" if dirty else ""),
        "host": platform.node(),
        "cpu": model[1] if model else platform.machine(),
        "cpus": os.cpu_count(),
        "memory_mib": int(memory[1]) // 1024 if memory else 0,
        "hypervisor": "hypervisor" in cpuinfo,
        "kernel": platform.release(),
        "load_average": os.getloadavg()[0],
        "transparent_hugepages": _text("/sys/kernel/mm/transparent_hugepage/enabled"),
        "mitigations": {n: _text(f"/sys/devices/system/cpu/vulnerabilities/{n}")
                        for n in ("spectre_v2", "spec_rstack_overflow", "retbleed")},
        "versions": {
            "dpdk": _version("pkg-config", "--modversion", "libdpdk"),
            "libbpf": _version("pkg-config", "--modversion", "libbpf"),
            "g++": _version("g++", "-dumpfullversion"),
            "clang": _version("clang-14", "--version"),
            "nginx": _version("nginx", "-v"),
            "haproxy": _version("haproxy", "-v"),
            "nft": _version("nft", "--version"),
        },
    }
