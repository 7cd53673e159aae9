"""The process that a closed network lives in: it writes down whatever tries to leave.

    unshare --net python -m tests.support.network_watcher GATEWAY_ADDRESS GATEWAY_PORT

Every address but the gateway's is routed to the loopback of this network (closed_network.py does
that), so that an attempt to reach anything is answered here at once and leaves no machine. One
line for each goes to stdout: `tcp ADDRESS PORT`, `udp ADDRESS PORT` or `name HOST.NAME`.
"""

import ctypes
import ipaddress
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Iterator

_EVERY_PROTOCOL = 0x0003  # ETH_P_ALL
_IPV4, _IPV6 = 0x0800, 0x86DD
_TCP, _UDP = 6, 17
_SYN, _ACK = 0x02, 0x10
_DNS_PORT = 53
_IP_PKTINFO = 8  # Linux's; the socket module does not name it
_NOBODY = bytes([192, 0, 2, 1])
"""What every name stands for here: an address that RFC 5737 keeps for documentation."""


def _transport(kind: int, packet: bytes) -> tuple[int, str, bytes] | None:
    """Return protocol, destination and transport part of an IP packet; None for what has none."""
    if kind == _IPV4 and len(packet) >= 20:
        destination = str(ipaddress.IPv4Address(packet[16:20]))
        return packet[9], destination, packet[(packet[0] & 0x0F) * 4 :]
    if kind == _IPV6 and len(packet) >= 40:
        return packet[6], str(ipaddress.IPv6Address(packet[24:40])), packet[40:]
    return None


def attempt(kind: int, packet: bytes) -> tuple[str, str, int] | None:
    """Return what an outgoing packet begins: how, to which address and port; None if nothing."""
    found = _transport(kind, packet)
    if found is None or len(found[2]) < 14 - 6 * (found[0] == _UDP):
        return None
    protocol, destination, rest = found
    source_port, port = struct.unpack("!HH", rest[:4])
    if protocol == _TCP and rest[13] & (_SYN | _ACK) == _SYN:
        return "tcp", destination, port
    if protocol == _UDP and _DNS_PORT not in (source_port, port):
        return "udp", destination, port
    return None


def asked_name(query: bytes) -> str:
    """Return the name that a DNS query asks for."""
    labels, at = [], 12
    while at < len(query) and query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(labels).lower()


def answer(query: bytes) -> bytes:
    """Answer a DNS query: a name has one IPv4 address, nobody's, and nothing else."""
    end = 12
    while query[end]:
        end += 1 + query[end]
    question = query[12 : end + 5]
    wants_ipv4 = question[-4:-2] == b"\x00\x01"
    header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(wants_ipv4), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + _NOBODY
    return header + question + (record if wants_ipv4 else b"")


def watch(gateway: tuple[str, int]) -> Iterator[str]:
    """Yield a line for everything that is tried, for ever."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL))
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("0.0.0.0", _DNS_PORT))
    # The answer must come from the address that was asked, whichever that was.
    names.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    waiting = selectors.DefaultSelector()
    waiting.register(packets, selectors.EVENT_READ)
    waiting.register(names, selectors.EVENT_READ)
    yield "ready"
    while True:
        for key, _ in waiting.select():
            if key.fileobj is names:
                query, around, _, client = names.recvmsg(4096, 64)
                yield f"name {asked_name(query)}"
                names.sendmsg([answer(query)], [_from_where_it_was_asked(around)], 0, client)
                continue
            packet, (_, kind, direction, *_) = packets.recvfrom(65536)
            tried = attempt(kind, packet) if direction == socket.PACKET_OUTGOING else None
            if tried is not None and tried != ("tcp", *gateway):
                yield f"{tried[0]} {tried[1]} {tried[2]}"


def _from_where_it_was_asked(around: list[tuple[int, int, bytes]]) -> tuple[int, int, bytes]:
    _, _, info = around[0]
    _, _, asked = struct.unpack("=I4s4s", info)
    return socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=I4s4s", 0, asked, b"\0" * 4)


if __name__ == "__main__":
    # The network must not outlive the tests, however they end (PR_SET_PDEATHSIG).
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    for line in watch((sys.argv[1], int(sys.argv[2]))):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
