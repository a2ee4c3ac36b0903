# SPDX-License-Identifier: Apache-2.0
"""A capture file of one ACK a flow, for net_pcap to repeat."""
import struct

from paths import Failed

CLIENT, VIP = 0x0A000001, 0xC6120001  # 10.0.0.1 upwards, 198.18.0.1
MAC = "02:70:63:61:70:00"  # net_pcap's own


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def flow(i):
    """-> (client address, client port) of flow i"""
    return CLIENT + i, 0x8000 | (i * 40503 >> 20) & 0x7FFF


def frame(i, mac=MAC):
    """60 bytes: TCP, flow i's client to the VIP, port 80; every checksum is right."""
    client, port = flow(i)
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 46, 0, 0, 64, 6, 0, client, VIP)
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    tcp = struct.pack(">HHIIBBHHH", port, 80, i, 1, 0x50, 0x10, 8192, 0, 0) + bytes(6)
    pseudo = ip[12:20] + struct.pack(">HH", 6, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp)) + tcp[18:]
    return bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("0200000000fe0800") + ip + tcp


def write(path, flows, mac=MAC):
    """Flows 0 to flows - 1, in an order of no meaning."""
    if flows > 1 << 20:
        raise Failed(f"{flows} flows, expected at most {1 << 20}: net_pcap keeps a buffer for each")
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for i in range(flows):
            data = frame(i * 7919 % flows if flows % 7919 else i, mac)
            file.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)
    return path
