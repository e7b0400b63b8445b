"""Sockets of this machine that listen, with how many wait to be accepted; and those that are half-closed."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: Source: sock_diag(7); Linux, include/uapi/linux/netlink.h, sock_diag.h, inet_diag.h, unix_diag.h.
_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST_DUMP = 0x301
_DONE, _ERROR = 3, 2
_HEADER, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
#: One bit for each state. Source: Linux, include/net/tcp_states.h.
_LISTENS, _CLOSE_WAIT = 1 << 10, 1 << 8
_SHOW_NAME, _SHOW_QUEUE = 0x01, 0x10
_NAME, _QUEUE = 0, 4

#: Offsets in ``struct inet_diag_msg`` and ``struct unix_diag_msg``.
_PORT, _QUEUES_OF_INET, _INODE_OF_INET = 4, 56, 68
_INODE_OF_UNIX, _END_OF_UNIX = 4, 16

_MOST_BYTES, _PATIENCE_S = 1 << 16, 1.0

#: Between two looks: who was only busy for a moment has accepted by then.
_PAUSE_S = 0.5


class Listener(NamedTuple):
    """
    A socket that listens.

    Attributes:
        number: Its inode.
        where: ``port 8080``, or the path of a Unix socket.
        waiting: Connections that wait to be accepted.
        most: How many may: the backlog of listen(2), as the kernel has it.
    """

    number: int
    where: str
    waiting: int
    most: int

    @property
    def is_full(self) -> bool:
        """Whether whoever comes now is turned away. Source: Linux, include/net/sock.h, sk_acceptq_is_full."""
        return self.waiting > self.most


def still_full(full: Callable[[], list[Listener]]) -> tuple[Listener, ...]:
    """Those that *full* finds at two moments; if there are none at the first, there is no second one."""
    first = full()
    if not first:
        return ()
    time.sleep(_PAUSE_S)
    still = {each.number for each in full()}
    return tuple(each for each in first if each.number in still)


def listeners() -> tuple[Listener, ...]:
    """
    All of this network namespace, TCP and Unix.

    Raises:
        OSError: the kernel does not tell.
    """
    found = [*_of_inet(socket.AF_INET), *_of_inet(socket.AF_INET6)]
    with contextlib.suppress(OSError):  # a kernel without unix_diag
        found += _of_unix()
    return tuple(found)


def half_closed() -> dict[int, int]:
    """
    The connections that the other end has closed and the program here has not: by inode, the port here.

    Raises:
        OSError: the kernel does not tell.
    """
    found = {}
    for told in (*_in_state(socket.AF_INET, _CLOSE_WAIT), *_in_state(socket.AF_INET6, _CLOSE_WAIT)):
        (port,) = struct.unpack_from("!H", told, _PORT)
        (number,) = struct.unpack_from("=I", told, _INODE_OF_INET)
        found[number] = port
    found.pop(0, None)  # those that nobody has accepted yet
    return found


def _in_state(family: int, states: int) -> Iterator[bytes]:
    return _dump(struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, states) + bytes(48))


def _of_inet(family: int) -> Iterator[Listener]:
    for told in _in_state(family, _LISTENS):
        (port,) = struct.unpack_from("!H", told, _PORT)
        waiting, most = struct.unpack_from("=II", told, _QUEUES_OF_INET)
        (number,) = struct.unpack_from("=I", told, _INODE_OF_INET)
        yield Listener(number, f"port {port}", waiting, most)


def _of_unix() -> Iterator[Listener]:
    show = _SHOW_NAME | _SHOW_QUEUE
    wanted = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, _LISTENS, 0, show, 0xFFFFFFFF, 0xFFFFFFFF)
    for told in _dump(wanted):
        (number,) = struct.unpack_from("=I", told, _INODE_OF_UNIX)
        told_of = dict(_attributes(told[_END_OF_UNIX:]))
        if len(told_of.get(_QUEUE, b"")) == 8:  # noqa: PLR2004 - two numbers
            waiting, most = struct.unpack("=II", told_of[_QUEUE])
            name = (
                told_of.get(_NAME, b"").replace(b"\0", b"@").rstrip(b"@").decode("utf-8", "backslashreplace")
            )
            yield Listener(number, name or "a socket without a name", waiting, most)


def _attributes(raw: bytes) -> Iterator[tuple[int, bytes]]:
    while len(raw) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(raw)
        if length < _ATTRIBUTE.size:
            return
        yield kind, raw[_ATTRIBUTE.size : length]
        raw = raw[(length + 3) & ~3 :]


def _dump(wanted: bytes) -> Iterator[bytes]:
    """Each message that the kernel answers with."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as talk:
        talk.settimeout(_PATIENCE_S)
        talk.send(_HEADER.pack(_HEADER.size + len(wanted), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + wanted)
        while True:
            raw = talk.recv(_MOST_BYTES)
            while raw:
                length, kind, *_ = _HEADER.unpack_from(raw)
                if kind == _DONE:
                    return
                if kind == _ERROR or length < _HEADER.size:
                    raise OSError("the kernel does not tell which sockets listen")
                yield raw[_HEADER.size : length]
                raw = raw[(length + 3) & ~3 :]
