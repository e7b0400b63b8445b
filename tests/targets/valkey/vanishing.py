"""Clients that are gone without a word, as after a power cut: their kernel sends nothing."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from typing import Self

import pytest
import valkey

from medic8.targets.machine import kernel
from tests.raw_clients import RawClient, wait_until

#: Source: Linux, include/uapi/linux/tcp.h. A socket in this mode is closed without a packet being sent.
_TCP_REPAIR = 19

#: Place of ``tcpi_unacked`` in ``struct tcp_info``.
_UNACKED = 24


def _why_none_can_vanish() -> str:
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        except OSError as error:
            return f"no connection can be broken off without a packet (TCP_REPAIR: {error.strerror})"
    if kernel.translated() is None:
        return "nobody is known to be dead where the kernel follows connections and does not tell which"
    return ""


#: Why tests that need it are skipped; empty if they are not.
MISSING = _why_none_can_vanish()
needs_vanishing = pytest.mark.skipif(bool(MISSING), reason=MISSING)


class VanishingClient(RawClient):
    """A client whose host can lose its power."""

    def source(self) -> str:
        """
        An address that no other connection has.

        The kernel lends one port to many connections that go to different places, and while another one has
        the port and the address of a client that is gone, nobody can prove that it is.
        """
        return "127.{}.{}.{}".format(*(random.randrange(2, 250) for _ in range(3)))

    def vanish(self) -> Self:
        """
        Drop the socket: the server's kernel and the server believe that it is there.

        Both ends have acknowledged everything before: whoever sent a packet now would be told by the kernel.
        """
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        wait_until(lambda: not self._unacknowledged(), "the server has acknowledged all")
        self._socket.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        self._file.close()
        self._socket.close()
        return self

    def _unacknowledged(self) -> int:
        raw = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        return int(struct.unpack_from("=I", raw, _UNACKED)[0])

    def leave(self) -> None:
        """Hang up; of one that vanished somebody else closes the connection, who knows that it is dead."""
        if self._socket.fileno() != -1:
            super().leave()
            return
        with valkey.Valkey.from_url(self._url) as client, contextlib.suppress(valkey.exceptions.ValkeyError):
            client.client_kill_filter(_id=str(self.id))
