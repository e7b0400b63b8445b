"""Clients that cost the server something by the way they use their connections."""

from __future__ import annotations

import time
from collections.abc import Iterator

import valkey

from medic8.errors import RefusedError, UnreachableError
from medic8.local.lab.acting.line import answer, bare, command, line, rest
from medic8.local.lab.acting.order import PREFIX, Order, Ready

_MIB = 1 << 20
_SMALL_BUFFER = 4096
_WAIT_S = 30.0
_LOOK_S = 0.05


def monitor(order: Order) -> Iterator[Ready]:
    """Watch every command, as somebody does who left a terminal open."""
    with bare(order.url) as watching:
        watching.sendall(command("CLIENT", "SETNAME", "lab-monitor") + command("MONITOR"))
        seen = b""
        while seen.count(b"+OK\r\n") < 2:  # noqa: PLR2004 - one for each command
            seen += answer(watching)
        yield Ready(told=(f"a client called lab-monitor watches every command ({_name(watching)})",))
        watching.settimeout(None)
        while True:
            answer(watching)


def read_slowly(order: Order) -> Iterator[Ready]:
    """Ask for *amount* MiB and read nothing of it."""
    key = f"{PREFIX}slow_reader"
    with line(order, "lab-control") as client, bare(order.url, buffer_bytes=_SMALL_BUFFER) as reader:
        client.setrange(key, _MIB - 1, b"\x00")
        reader.sendall(command("CLIENT", "SETNAME", "lab-slow-reader"))
        answer(reader)
        address = _name(reader)
        reader.sendall(command("GET", key) * (order.amount + 8))  # what the kernel takes is on top
        waiting = _wait_for_output(client, address, order.amount * _MIB)
        yield Ready(
            told=(
                f"a client called lab-slow-reader ({address}) does not read: {waiting / _MIB:,.0f} MiB of "
                "output wait for it",
            )
        )
        reader.setblocking(False)
        while True:
            rest(client, 1.0)
            if not any(each["addr"] == address for each in client.client_list()):
                return


def _wait_for_output(client: valkey.Valkey, address: str, least: int) -> int:
    deadline = time.monotonic() + _WAIT_S
    while True:
        mine = [each for each in client.client_list() if each["addr"] == address]
        if not mine:
            raise RefusedError("the server has closed the connection: it limits what may wait for a client")
        waiting = int(mine[0]["omem"])
        if waiting >= least:
            return waiting
        if time.monotonic() > deadline:
            raise UnreachableError(f"{waiting:,} of {least:,} bytes of output wait after {_WAIT_S:g} s")
        time.sleep(_LOOK_S)


def _name(connected: object) -> str:
    host, port = connected.getsockname()[:2]  # type: ignore[attr-defined]
    return f"{host}:{port}"
