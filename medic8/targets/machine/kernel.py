"""What the kernel of this machine knows about TCP connections; it is only read."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: States as the kernel writes them. Source: Linux, include/net/tcp_states.h.
ESTABLISHED = 0x01
LISTEN = 0x0A

#: Both tables of the network namespace that this process is in.
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_COUNTERS = Path("/proc/net/netstat")

#: Places of fields in ``struct tcp_info``. Source: Linux, include/uapi/linux/tcp.h.
_TCP_INFO_BYTES = 192
_RTT, _TOTAL_RETRANS = 68, 100


class End(NamedTuple):
    """One end of a connection; of an IPv4 address within IPv6 the IPv4 address."""

    address: str
    port: int


class Socket(NamedTuple):
    """
    One row of the kernel's table.

    Attributes:
        near: This end.
        far: The other one.
        state: As the kernel writes it.
        waiting: Of one that listens, connections that wait to be accepted; else bytes not yet read.
    """

    near: End
    far: End
    state: int
    waiting: int


class Measured(NamedTuple):
    """
    What the kernel measured on one connection of ours.

    Attributes:
        round_trip_s: Its smoothed round trip, in seconds.
        resent: Segments that were sent again.
    """

    round_trip_s: float
    resent: int


def sockets() -> Iterator[Socket]:
    """
    Every TCP socket of this network namespace.

    Raises:
        OSError: the kernel's table cannot be read.
    """
    for table in _TABLES:
        with contextlib.suppress(FileNotFoundError), table.open(encoding="ascii") as rows:
            next(rows, None)
            for row in rows:
                fields = row.split()
                _, waiting = fields[4].split(":")
                yield Socket(_end(fields[1]), _end(fields[2]), int(fields[3], 16), int(waiting, 16))


def waiting_at(port: int) -> int | None:
    """How many connections wait to be accepted at a port of this machine; None if nobody listens there."""
    queues = [each.waiting for each in sockets() if each.state == LISTEN and each.near.port == port]
    return max(queues, default=None)


def overflows() -> int | None:
    """How often a full queue has turned a connection away, of all servers here; None if that is not told."""
    try:
        lines = [line.split() for line in _COUNTERS.read_text(encoding="ascii").splitlines()]
    except OSError:
        return None
    for names, values in itertools.pairwise(lines):
        if names[0] == values[0] == "TcpExt:" and "ListenOverflows" in names:
            return int(values[names.index("ListenOverflows")])
    return None


def is_ours(address: str) -> bool:
    """Whether *address* is one of this machine's."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET  # noqa: PLR2004
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except (OSError, ValueError):
        return False
    return True


def measured_on(connected: socket.socket) -> Measured | None:
    """What the kernel measured on a connection; None where it does not tell, as of Unix sockets."""
    try:
        raw = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        (round_trip_us,) = struct.unpack_from("=I", raw, _RTT)
        (resent,) = struct.unpack_from("=I", raw, _TOTAL_RETRANS)
    except (OSError, AttributeError, struct.error):
        return None
    return Measured(round_trip_us / 1e6, resent)


def end_of(text: str) -> End | None:
    """The end that a server writes as ``10.0.0.1:4711`` or ``::1:4711``; None if it is none of TCP."""
    address, colon, port = text.rpartition(":")
    try:
        return End(_plain(ipaddress.ip_address(address.strip("[]"))), int(port)) if colon else None
    except ValueError:
        return None


def _end(text: str) -> End:
    """The end that the kernel writes in words of 32 bits, each in the order of this machine's bytes."""
    words, port = text.split(":")
    raw = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8))
    return End(_plain(ipaddress.ip_address(raw)), int(port, 16))


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
