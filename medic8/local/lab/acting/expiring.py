"""Keys that all expire at the same moment, and programs that listen for it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from typing import cast

import valkey

from medic8.errors import UnreachableError
from medic8.local.lab.acting.line import answer, bare, command, line, rest
from medic8.local.lab.acting.order import PREFIX, Order, Play, Ready
from medic8.targets.valkey.client import info

#: Written by the server itself, which takes a tenth of the time; so many at once that nobody waits for it.
_SCRIPT = """
for number = ARGV[1], ARGV[2] do redis.call('SET', ARGV[3] .. number, 'x', 'PXAT', ARGV[4]) end
"""
_AT_ONCE = 4000
_THOUSAND = 1000
_FIRST_S = 1.5
_WAIT_S = 30.0
_LOOK_S = 0.02
_LISTENERS = 4
_PIECE = 1 << 20

#: So often expiry has run out of its time when the fault is there.
_TIMES = 3


def storm(order: Order) -> Play:
    """
    Write *amount* thousand keys that expire at one moment, and the next ones while those are being freed.

    So does whoever fills a cache at midnight and gives everything a day. Some clients are told of each key
    that expires, where the server's settings say so, which makes expiry several times as dear.
    """
    lead_s, is_told = _FIRST_S, False
    with line(order, "lab-tickets") as client, _listeners(order):
        while True:
            capped, began_s = _capped(client), time.monotonic()
            at_ms = _write(client, order.amount * _THOUSAND, lead_s)
            lead_s = 1.2 * (time.monotonic() - began_s)
            while (left_ms := at_ms - _now_ms(client)) > 0:
                rest(client, left_ms / 1000)
            if not is_told:
                is_told = True
                _wait_for_storm(client, capped)
                told = (
                    f"{order.amount:,} thousand keys {PREFIX}ticket:… expire at one moment, again and again"
                )
                yield Ready(told=(told,))
            while _expiring(client) > order.amount * _THOUSAND:
                rest(client, _LOOK_S)


@contextlib.contextmanager
def _listeners(order: Order) -> Iterator[None]:
    """Some clients that read what they are told, in a thread of their own, and do nothing with it."""
    with contextlib.ExitStack() as held, selectors.DefaultSelector() as ready:
        for _ in range(_LISTENERS):
            each = held.enter_context(bare(order.url))
            each.sendall(command("PSUBSCRIBE", "__keyevent@*__:expired"))
            answer(each)
            ready.register(each, selectors.EVENT_READ)

        def read() -> None:
            with contextlib.suppress(OSError):
                while all(cast("socket.socket", key.fileobj).recv(_PIECE) for key, _ in ready.select()):
                    pass

        threading.Thread(target=read, daemon=True).start()
        yield


def _write(client: valkey.Valkey, count: int, lead_s: float) -> int:
    """When all of them will expire, by the server's clock."""
    at_ms = _now_ms(client) + round(lead_s * 1000)
    for first in range(0, count, _AT_ONCE):
        words = (first, min(first + _AT_ONCE, count) - 1, f"{PREFIX}ticket:{at_ms}-", at_ms)
        client.execute_command("EVAL", _SCRIPT, 0, *words)
    return at_ms


def _wait_for_storm(client: valkey.Valkey, capped: int) -> None:
    deadline = time.monotonic() + _WAIT_S
    while _capped(client) < capped + _TIMES:
        if time.monotonic() > deadline:
            raise UnreachableError(f"expiry ran out of its time less than {_TIMES} times in {_WAIT_S:g} s")
        time.sleep(_LOOK_S)


def _expiring(client: valkey.Valkey) -> int:
    return sum(int(each["expires"]) for each in info(client, "keyspace").values())


def _capped(client: valkey.Valkey) -> int:
    return int(info(client, "stats")["expired_time_cap_reached_count"])


def _now_ms(client: valkey.Valkey) -> int:
    seconds, microseconds = cast("tuple[int, int]", client.time())
    return seconds * 1000 + microseconds // 1000
