"""Commands and scripts that keep the server from serving others."""

from __future__ import annotations

import contextlib
import socket
import time

import valkey
import valkey.exceptions

from medic8.errors import Medic8Error, RefusedError, UnreachableError
from medic8.local.lab.acting.line import answer, bare, command, line, rest
from medic8.local.lab.acting.order import PREFIX, Order, Play, Ready
from medic8.targets.valkey.client import info

_KEYS = 300_000

#: So long it has been at it when the fault is there.
_HABIT_S = 1.2
_PAUSE_S = 10

#: Fields too long to lie in one piece with their name: each is freed by itself.
_FIELD = "v" * 70
_FIRST_BATCHES = 600
_MOST_BATCHES = 5000
_BATCH = 1000
_WAIT_S = 30.0
_LOOK_S = 0.05
_SHARE = 100

#: It ends by itself after hours; it writes nothing, which would keep it from being killed.
_ENDLESS = "local n = 0 while n < 1e13 do n = n + 1 end return n"


def costly(order: Order) -> Play:
    """
    Look for keys with KEYS again and again, so that it takes *amount* per cent of the server's time.

    Each time takes long enough for the server's log of slow commands.
    """
    with line(order, "lab-report") as client:
        for start in range(0, _KEYS, _BATCH):
            client.mset({f"{PREFIX}row:{number}": "" for number in range(start, start + _BATCH)})
        in_all_s, is_told = 0.0, False
        while True:
            took_s = _search(client)
            in_all_s += took_s
            if in_all_s >= _HABIT_S and not is_told:
                is_told = True
                told = f"client lab-report sends KEYS again and again, {took_s * 1000:.0f} ms each time"
                yield Ready(told=(told,))
            time.sleep(took_s * (_SHARE - order.amount) / order.amount)


def delete(order: Order) -> Play:
    """Fill a hash and delete it at once, again and again; so large that it takes *amount* milliseconds."""
    key, batches = f"{PREFIX}basket:all", _FIRST_BATCHES
    with line(order, "lab-basket") as client:
        while (took_s := _fill_and_delete(client, key, batches)) < order.amount / 1000:
            if batches >= _MOST_BATCHES:
                raise RefusedError(f"deleting {batches * _BATCH:,} fields took {took_s * 1000:.0f} ms only")
            batches = min(_MOST_BATCHES, round(batches * 1.2))
        told = f"client lab-basket deletes {key} of {batches * _BATCH:,} fields in {took_s * 1000:.0f} ms"
        yield Ready(told=(told,))
        while True:
            for _ in range(_PAUSE_S):
                rest(client, 1.0)
            _fill_and_delete(client, key, batches)


def busy(order: Order) -> Play:
    """Run a script that does not end."""
    with bare(order.url) as client:
        client.sendall(command("CLIENT", "SETNAME", "lab-script"))
        answer(client)
        client.sendall(command("EVAL", _ENDLESS, 0))
        try:
            _wait_until_busy(order.url)
            yield Ready(told=("a script runs that does not end; everybody is answered BUSY",))
            client.settimeout(None)
            answer(client)  # of somebody who has killed it, or of the end
        finally:
            with contextlib.suppress(Medic8Error, OSError, valkey.exceptions.ValkeyError):
                _kill(order.url)


def pending(order: Order) -> Play:
    """Take *amount* entries of a stream and acknowledge none, then a hundred more each second."""
    stream, group = f"{PREFIX}jobs:all", "lab-workers"
    with line(order, "lab-consumer") as client:
        with contextlib.suppress(valkey.exceptions.ResponseError):  # it is there already
            client.xgroup_create(stream, group, id="0", mkstream=True)
        taken = 0
        while taken < order.amount:
            taken += _take(client, stream, group, min(_BATCH, order.amount - taken))
        yield Ready(told=(f"{taken:,} entries of stream {stream} were given out, and none is acknowledged",))
        while True:
            rest(client, 0.5)
            _take(client, stream, group, 50)


def _take(client: valkey.Valkey, stream: str, group: str, count: int) -> int:
    pipe = client.pipeline(transaction=False)
    for number in range(count):
        pipe.xadd(stream, {"job": number})
    pipe.xreadgroup(group, "lab-consumer", {stream: ">"}, count=count)
    return len(pipe.execute()[-1][0][1])


def _fill_and_delete(client: valkey.Valkey, key: str, batches: int) -> float:
    for batch in range(batches):
        fields = (word for number in range(_BATCH) for word in (f"{batch}:{number}", _FIELD))
        client.execute_command("HSET", key, *fields)
    before_us = _deleting_us(client)
    client.delete(key)
    return (_deleting_us(client) - before_us) / 1e6


def _deleting_us(client: valkey.Valkey) -> int:
    """How long the server has deleted so far, by its own account."""
    return int(info(client, "commandstats").get("cmdstat_del", {"usec": 0})["usec"])


def _search(client: valkey.Valkey) -> float:
    began_s = time.monotonic()
    client.keys("*:no such key")
    return time.monotonic() - began_s


def _wait_until_busy(url: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    with bare(url) as other:
        while not _ask(other, "PING").startswith(b"-BUSY"):
            if time.monotonic() > deadline:
                raise UnreachableError(f"the server was not busy after {_WAIT_S:g} s")
            time.sleep(_LOOK_S)


def _kill(url: str) -> None:
    with bare(url) as other:
        _ask(other, "SCRIPT", "KILL")


def _ask(connected: socket.socket, *words: str) -> bytes:
    connected.sendall(command(*words))
    return answer(connected)
