"""Connections of clients that are gone without a word, as after a power cut."""

from __future__ import annotations

import random
import socket
import struct
import time

import valkey

from medic8.errors import RefusedError, UnreachableError
from medic8.local.lab.acting.line import answer, command
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm
from medic8.local.lab.clearing import HALF_OPEN

#: A socket in this mode is closed without a packet being sent. Source: Linux, include/uapi/linux/tcp.h.
_TCP_REPAIR = 19

#: Place of ``tcpi_unacked`` in ``struct tcp_info``.
_UNACKED = 24

_WAIT_S = 10.0
_LOOK_S = 0.005


def half_open_clients(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """
    Connect *strength* clients and have their ends vanish: the server and its kernel believe in them.

    Raises:
        RefusedError: the kernel lets nobody but root do that.
    """
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        except OSError as exc:
            raise RefusedError(
                f"no connection can be broken off without a packet (TCP_REPAIR: {exc.strerror}); root may"
            ) from exc
    gone = [_vanish(bench.client, rng) for _ in range(strength)]
    return (Harm(what=f"{strength:,} clients called {HALF_OPEN} are gone: {', '.join(gone)}"),)


def _vanish(client: valkey.Valkey, rng: random.Random) -> str:
    """The address of a client that was there."""
    to = client.connection_pool.connection_kwargs
    with socket.socket() as found:
        found.settimeout(_WAIT_S)
        # An address that nobody else has: the kernel lends one port to many who go to different places.
        found.bind((f"127.{rng.randrange(2, 250)}.{rng.randrange(250)}.{rng.randrange(2, 250)}", 0))
        found.connect((to["host"], to["port"]))
        found.sendall(command("CLIENT", "SETNAME", HALF_OPEN))
        answer(found)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        deadline = time.monotonic() + _WAIT_S
        # Whoever sent a packet afterwards would be told by the kernel that nobody is there.
        while struct.unpack_from("=I", found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), _UNACKED)[
            0
        ]:
            if time.monotonic() > deadline:
                raise UnreachableError(f"the server had not acknowledged all after {_WAIT_S:g} s")
            time.sleep(_LOOK_S)
        address, port = found.getsockname()
        found.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    return f"{address}:{port}"


FAULTS = (
    Fault(
        "half_open_clients",
        "clients are gone without a word, and the server holds their connections",
        "clients",
        3,
        "kill_dead_clients",
        half_open_clients,
        "server",
        most=100,
    ),
)
