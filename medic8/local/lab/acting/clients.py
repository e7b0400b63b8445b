"""Clients that cost the server something by the way they use their connections."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from typing import cast

import valkey

from medic8.errors import RefusedError, UnreachableError
from medic8.local.lab.acting.line import answer, bare, command, line, rest
from medic8.local.lab.acting.order import PREFIX, Order, Play, Ready
from medic8.targets.valkey.client import info

_MIB = 1 << 20
_SMALL_BUFFER = 4096

_WAIT_S = 30.0

#: Connections left free on a full server, so that somebody can look, and reset it.
SPARED = 3

_LOOK_S = 0.05


def monitor(order: Order) -> Play:
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


def read_slowly(order: Order) -> Play:
    """Ask for *amount* MiB and read nothing of it."""
    key = f"{PREFIX}report:all"
    with line(order, "lab-control") as client, bare(order.url, buffer_bytes=_SMALL_BUFFER) as reader:
        client.setrange(key, _MIB - 1, b"\x00")
        reader.sendall(command("CLIENT", "SETNAME", "lab-slow-reader"))
        answer(reader)
        address = _name(reader)
        reader.sendall(command("GET", key) * (order.amount + 8))  # what the kernel takes is on top
        waiting_mib = _wait_for_output(client, address, order.amount * _MIB) / _MIB
        told = f"client lab-slow-reader ({address}) does not read: {waiting_mib:,.0f} MiB of output wait"
        yield Ready(told=(told,))
        while _listed(client, address):
            rest(client, 1.0)


def hold(order: Order) -> Play:
    """
    Hold *amount* connections and do nothing with them.

    Style ``full`` opens as many as the server takes, up to *amount*, and then closes a few, so that
    somebody can look.
    """
    with line(order, "lab-control") as client, contextlib.ExitStack() as held:
        opened: list[socket.socket] = []
        refusal = ""
        while len(opened) < order.amount and not refusal:
            each = held.enter_context(bare(order.url))
            each.sendall(command("CLIENT", "SETNAME", "lab-idle"))
            reply = answer(each)
            if reply.startswith(b"-"):
                refusal = reply.decode().strip()
            else:
                opened.append(each)
        told = f"{len(opened):,} clients called lab-idle do nothing"
        if order.style == "full":
            if not refusal:
                raise RefusedError(f"the server took {len(opened):,} connections and refused none")
            for each in opened[-SPARED:]:
                each.close()
            told = (
                f'{len(opened):,} clients called lab-idle filled it ("{refusal}"); {SPARED} have left since'
            )
        yield Ready(told=(told,))
        while True:
            rest(client, 1.0)


def churn(order: Order) -> Play:
    """Hold *amount* connections; one after the other is closed and opened anew, as in a deployment."""
    with line(order, "lab-control") as client:
        crew = [_newcomer(order) for _ in range(order.amount)]
        yield Ready(told=(f"{order.amount:,} clients called lab-rolling come and go, twenty times a second",))
        try:
            for place in itertools.cycle(range(order.amount)):
                crew[place].close()
                crew[place] = _newcomer(order)
                rest(client, 0.05)
        finally:
            for each in crew:
                each.close()


def wait_in_line(order: Order) -> Play:
    """*amount* clients wait for work (BLPOP), and as many listen to a channel that nobody speaks on."""
    with line(order, "lab-control") as client, contextlib.ExitStack() as held:
        for number in range(order.amount):
            waiting = held.enter_context(bare(order.url))
            waiting.sendall(command("CLIENT", "SETNAME", f"lab-worker-{number}"))
            answer(waiting)
            waiting.sendall(command("BLPOP", f"{PREFIX}queue:all", 0))
            listening = held.enter_context(bare(order.url))
            listening.sendall(command("SUBSCRIBE", f"{PREFIX}news:all"))
            answer(listening)
        deadline = time.monotonic() + _WAIT_S
        while info(client, "clients")["blocked_clients"] < order.amount:
            if time.monotonic() > deadline:
                raise UnreachableError(f"not {order.amount:,} clients were blocked after {_WAIT_S:g} s")
            time.sleep(_LOOK_S)
        yield Ready(told=(f"{order.amount:,} clients wait (BLPOP) and {order.amount:,} listen (SUBSCRIBE)",))
        while True:
            rest(client, 1.0)


def _newcomer(order: Order) -> socket.socket:
    found = bare(order.url)
    found.sendall(command("CLIENT", "SETNAME", "lab-rolling") + command("PING"))
    answer(found)
    return found


def _listed(client: valkey.Valkey, address: str) -> dict[str, str] | None:
    """The client at *address* as CLIENT LIST has it; None if it is gone."""
    listed = cast("list[dict[str, str]]", client.client_list())
    return next((each for each in listed if each["addr"] == address), None)


def _wait_for_output(client: valkey.Valkey, address: str, least: int) -> int:
    deadline = time.monotonic() + _WAIT_S
    while True:
        mine = _listed(client, address)
        if mine is None:
            raise RefusedError("the server has closed the connection: it limits what may wait for a client")
        waiting = int(mine["omem"])
        if waiting >= least:
            return waiting
        if time.monotonic() > deadline:
            raise UnreachableError(f"{waiting:,} of {least:,} bytes of output wait after {_WAIT_S:g} s")
        time.sleep(_LOOK_S)


def _name(connected: socket.socket) -> str:
    host, port = connected.getsockname()[:2]
    return f"{host}:{port}"
