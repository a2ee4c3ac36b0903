#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Writes a small seed corpus for parse_fuzz into the directory that is named: seeds.py DIRECTORY
import logging
import pathlib
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import (AH, ICMP, IP, TCP, UDP, Dot1Q, Ether, ICMPv6DestUnreach, ICMPv6PacketTooBig, IPv6,  # noqa: E402
                       IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, Raw)

SYN = dict(sport=40000, dport=80, flags="S")
OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
ODD = [("NOP", None), ("MSS", 1460), ("NOP", None), ("NOP", None), ("NOP", None)]
V4, V6 = IP(src="192.0.2.1", dst="198.51.100.1"), IPv6(src="2001:db8::1", dst="2001:db8:1::1")

packets = []
for ip in (V4, V6):
    packets += [ip / TCP(**SYN, options=OPTIONS), ip / TCP(**SYN, options=ODD), ip / TCP(sport=1, dport=2, flags="A") / Raw(b"odd"),
                ip / UDP(sport=53, dport=53) / Raw(b"query"), ip / UDP(sport=53, dport=53, chksum=0) / Raw(b"q"), ip / Raw(b"?")]
    quoted = ip / TCP(**SYN, options=OPTIONS)
    error = (lambda: ICMP(type=3, code=4)) if ip is V4 else (lambda: ICMPv6PacketTooBig(mtu=1280))
    packets += [ip / error() / quoted, ip / error() / ip / UDP(sport=5, dport=6) / Raw(b"x")]
    packets.append(ip / error() / Raw(bytes(quoted)[:len(bytes(ip)) + 8]))
packets += [V4 / ICMP(type=8), V6 / ICMPv6DestUnreach() / V6 / TCP(**SYN),
            IP(src="192.0.2.1", dst="198.51.100.1", flags="MF") / UDP() / Raw(b"x" * 16), IP(options=b"\x07\x04\x04\x00") / TCP(**SYN),
            V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / UDP(), V6 / AH() / TCP(**SYN),
            V6 / IPv6ExtHdrFragment(m=1) / UDP() / Raw(b"y" * 8)]

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
for number, packet in enumerate(packets):
    for tags in range(3):
        frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        for tag in range(tags):
            frame /= Dot1Q(vlan=10 + tag)
        data = bytes(frame / packet)
        if number % 2:  # Ethernet pads short frames
            data = data.ljust(60, b"\0")
        (out / f"{number:02}-{tags}").write_bytes(bytes([10, 0, 1, number, 31, 144, 4, 255 - tags]) + data)
