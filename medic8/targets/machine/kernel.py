"""What the kernel of this machine knows about TCP connections; it is only read."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import itertools
import re
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

#: Connections that the kernel follows, as it does where it translates addresses: how many in this namespace
#: (for everybody), and which (for root). Source: Linux, nf_conntrack_standalone.c.
_FOLLOWED = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_FOLLOWED_TABLE = Path("/proc/net/nf_conntrack")
_WAY = re.compile(r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)")

#: Places of fields in ``struct tcp_info``, which newer kernels have made longer at its end.
#: Source: Linux, include/uapi/linux/tcp.h.
_TCP_INFO_BYTES = 256
_LOST, _LAST_RECV, _RTT, _RTTVAR, _TOTAL_RETRANS, _SEGS_OUT, _DSACK_DUPS = 32, 52, 68, 72, 100, 136, 216


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
        variation_s: By how much that strays, in seconds.
        resent: Segments that were sent again, and had to be: the other side did not have them.
        lost: Segments that are taken for lost at this moment.
        sent: All segments that were sent; None before Linux 4.2.
        since_received_s: How long ago the last data came, in seconds, in steps of a millisecond.
    """

    round_trip_s: float
    variation_s: float
    resent: int
    lost: int
    sent: int | None
    since_received_s: float = 0.0


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


def translated(counter: Path = _FOLLOWED, table: Path = _FOLLOWED_TABLE) -> frozenset[End] | None:
    """
    Ends by which the called side knows callers whose own address or port is another one.

    None where the kernel follows connections, and does not tell us which: then any may be translated.
    """
    try:
        if not int(counter.read_text(encoding="ascii")):
            return frozenset()
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError):
        return None
    try:
        rows = table.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = set()
    for row in rows:
        ways = _WAY.findall(row) if " tcp " in row else []
        if len(ways) == 2:  # noqa: PLR2004 - that of what is asked, and that of what is answered
            (source, _, port, _), (_, answered, _, to_port) = ways
            hears = End(_plain(ipaddress.ip_address(answered)), int(to_port))
            if hears != End(_plain(ipaddress.ip_address(source)), int(port)):
                found.add(hears)
    return frozenset(found)


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
        return parse_tcp_info(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES))
    except (OSError, AttributeError):
        return None


def parse_tcp_info(raw: bytes) -> Measured | None:
    """What a ``struct tcp_info`` says, as long as this kernel has it; None if it is too short."""

    def at(place: int) -> int | None:
        return int(struct.unpack_from("=I", raw, place)[0]) if len(raw) >= place + 4 else None

    round_trip_us, variation_us, lost, resent = (at(each) for each in (_RTT, _RTTVAR, _LOST, _TOTAL_RETRANS))
    if round_trip_us is None or variation_us is None or lost is None or resent is None:
        return None
    # What the other side says it had already was sent again for nothing, and lost was nothing.
    resent = max(0, resent - (at(_DSACK_DUPS) or 0))
    since_ms = at(_LAST_RECV) or 0
    return Measured(round_trip_us / 1e6, variation_us / 1e6, resent, lost, at(_SEGS_OUT), since_ms / 1e3)


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
    return End(_address(words), int(port, 16))


# Of ten thousand connections most go to a few addresses.
@functools.lru_cache(maxsize=4096)
def _address(words: str) -> str:
    raw = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8))
    return _plain(ipaddress.ip_address(raw))


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
