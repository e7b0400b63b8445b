"""Reads and writes as applications do them, at a bounded rate."""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from typing import cast

import valkey
import valkey.exceptions

from medic8.errors import RefusedError, UnreachableError
from medic8.local.lab.acting.line import answer, bare, command, line, rest
from medic8.local.lab.acting.order import PREFIX, Order, Play, Ready
from medic8.targets.valkey.client import info

_ROUNDS_PER_S = 20
_KEYS = 1000
_VALUE_BYTES = 100
_EXPIRE_S = 600
_FORGOTTEN = 0.3
_AT_ONCE = 2000
_BATCH = 100
_FIRST_BATCHES = 10

#: After so many the key's counter stands out, if the server counts. Source: valkey.conf, lfu-log-factor 10.
_FIRST_READS = 40_000
_MOST_KEYS = 200_000
_PIECE_BYTES = 16 << 10
_MIB = 1 << 20
_ENTRY_BYTES = 4 << 10
_MOST_ENTRIES = 128_000
_CAP = 1000
_WAIT_S = 50.0

#: Prefixes of the keys: of one kind each, as the diagnostic of keys tells kinds apart.
OWN = {name: f"{PREFIX}{name}" for name in ("session", "orders", "import", "cache", "events")}


def load(order: Order) -> Play:
    """Read and write values that expire, *amount* times a second."""
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    each_round = max(1, order.amount // _ROUNDS_PER_S)
    with line(order) as client:
        _some(client, rng, each_round)
        yield Ready(told=(f"a client called lab-load reads and writes {order.amount:,} times a second",))
        due = time.monotonic()
        while True:
            due = max(due + 1 / _ROUNDS_PER_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            _some(client, rng, each_round)


def hot(order: Order) -> Play:
    """Read one key *amount* times a second, in batches as a program does that has many threads."""
    key, each_round = f"{PREFIX}price:all", max(1, order.amount // _ROUNDS_PER_S)
    with line(order) as client:
        for turn in itertools.count():
            began_s = time.monotonic()
            pipe = client.pipeline(transaction=False)
            if turn % (_EXPIRE_S * _ROUNDS_PER_S // 2) == 0:
                pipe.set(key, "1", ex=_EXPIRE_S)
            for _ in range(each_round):
                pipe.get(key)
            pipe.execute(raise_on_error=False)
            if turn * each_round < _FIRST_READS:
                continue
            if (turn - 1) * each_round < _FIRST_READS:
                yield Ready(told=(f"a client called lab-hot reads {key} {order.amount:,} times a second",))
            time.sleep(max(0.0, 1 / _ROUNDS_PER_S - (time.monotonic() - began_s)))


def one_by_one(order: Order) -> Play:
    """Read value after value, each when the one before has come, up to *amount* times a second."""
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    each_round = max(1, order.amount // _ROUNDS_PER_S)
    values = {f"{PREFIX}article:{number}": rng.randbytes(_VALUE_BYTES) for number in range(_KEYS)}
    gets = [command("GET", key) for key in values]
    with line(order, "lab-control") as client, bare(order.url) as asking:
        pipe = client.pipeline(transaction=False)
        for key, value in values.items():
            pipe.set(key, value, ex=2 * order.lasts_s)
        pipe.execute()
        asking.sendall(command("CLIENT", "SETNAME", "lab-shop"))
        answer(asking)
        for turn in itertools.count():
            began_s = time.monotonic()
            for get in rng.choices(gets, k=each_round):
                asking.sendall(get)
                answer(asking)
            if turn == 0:
                yield Ready(
                    told=(f"a client called lab-shop reads {order.amount:,} values a second, one by one",)
                )
            rest(client, max(0.0, 1 / _ROUNDS_PER_S - (time.monotonic() - began_s)))


def leak(order: Order) -> Play:
    """
    Write *amount* keys a second, most of which expire and some of which do not; 2,000 are there at once.

    Style ``forgotten`` forgets the expiry of one in three; ``wanted`` sets none, and writes under a prefix of
    which no key expires, as a business does that grows.
    """
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    name = "orders" if order.style == "wanted" else "session"
    each_round, written = max(1, order.amount // _ROUNDS_PER_S), 0

    def write(count: int) -> None:
        nonlocal written
        pipe = client.pipeline(transaction=False)
        for _ in range(count):
            stays = order.style == "wanted" or rng.random() < _FORGOTTEN
            pipe.set(
                f"{OWN[name]}:{order.seed}-{written}",
                rng.randbytes(_VALUE_BYTES),
                ex=None if stays else _EXPIRE_S,
            )
            written += 1
        with contextlib.suppress(valkey.exceptions.ResponseError):
            pipe.execute(raise_on_error=False)

    with line(order) as client:
        write(_AT_ONCE)
        yield Ready(
            told=(f"{written:,} keys {OWN[name]}:… are there, {order.amount:,} more come each second",)
        )
        while written < _MOST_KEYS:
            time.sleep(1 / _ROUNDS_PER_S)
            write(each_round)


def bulk(order: Order) -> Play:
    """Import keys in large batches, *amount* times a hundred of them a second."""
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    value = rng.randbytes(_VALUE_BYTES)
    with line(order) as client:
        for batch in range(_MOST_KEYS // _BATCH):
            began_s = time.monotonic()
            client.mset({f"{OWN['import']}:{batch}-{number}": value for number in range(_BATCH)})
            if batch == _FIRST_BATCHES:
                yield Ready(told=(f"an import writes {order.amount * _BATCH:,} keys a second",))
            time.sleep(max(0.0, 1 / order.amount - (time.monotonic() - began_s)))


def stream(order: Order) -> Play:
    """
    Add *amount* entries of 4 KiB a second to a stream and never trim it, until 500 MiB are there.

    Style ``capped`` keeps some thousand, of which the oldest go as new ones come.
    """
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    name, value = f"{OWN['events']}:all", rng.randbytes(_ENTRY_BYTES // 2).hex()
    each_round, is_capped = max(1, order.amount // _ROUNDS_PER_S), order.style == "capped"

    def add(count: int) -> None:
        pipe = client.pipeline(transaction=False)
        for _ in range(count):
            pipe.xadd(name, {"event": value}, maxlen=_CAP if is_capped else None, approximate=True)
        with contextlib.suppress(valkey.exceptions.ResponseError):
            pipe.execute(raise_on_error=False)

    with line(order) as client:
        add(2 * _CAP if is_capped else each_round)
        trimmed = f"of which it keeps {_CAP:,}" if is_capped else "and nobody trims it"
        yield Ready(told=(f"stream {name} is given {order.amount:,} entries a second, {trimmed}",))
        for number in itertools.count(1):
            if not is_capped and number * each_round >= _MOST_ENTRIES:
                break
            time.sleep(1 / _ROUNDS_PER_S)
            add(each_round)


def warm(order: Order) -> Play:
    """Fill an empty cache: read *amount* keys a second, most of them in vain, and write what was missing."""
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    each_round = max(1, order.amount // _ROUNDS_PER_S)
    with line(order) as client:
        for turn in itertools.count():
            keys = [f"{OWN['cache']}:{rng.randrange(_MOST_KEYS)}" for _ in range(each_round)]
            pipe = client.pipeline(transaction=False)
            for key, found in zip(keys, cast("list[bytes | None]", client.mget(keys)), strict=True):
                if found is None:
                    pipe.set(key, rng.randbytes(_VALUE_BYTES * 10), ex=_EXPIRE_S)
            pipe.execute(raise_on_error=False)
            if turn == 0:
                yield Ready(told=(f"a cache that was empty is filled, {order.amount:,} look-ups a second",))
            time.sleep(1 / _ROUNDS_PER_S)


def evict(order: Order) -> Play:
    """Write values that expire, *amount* MiB of them and more, until the server evicts; then go on."""
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    with line(order) as client:
        for number in range(2 * order.amount * _MIB // _PIECE_BYTES):
            client.set(f"{OWN['cache']}:{number}", rng.randbytes(_PIECE_BYTES), ex=_EXPIRE_S)
        evicted = info(client, "stats")["evicted_keys"]
        if not evicted:
            raise RefusedError(f"{2 * order.amount} MiB were written, and nothing was evicted")
        yield Ready(told=(f"twice as much was written as there is room for; {evicted:,} keys were evicted",))
        while True:
            time.sleep(1 / _ROUNDS_PER_S)
            key = f"{OWN['cache']}:{rng.randrange(_MOST_KEYS)}"
            client.set(key, rng.randbytes(_PIECE_BYTES), ex=_EXPIRE_S)


def overwrite(order: Order) -> Play:
    """Write *amount* MiB, and write all of it anew while a snapshot is taken; then go on slowly."""
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    keys = [f"{OWN['cache']}:{number}" for number in range(order.amount * _MIB // _PIECE_BYTES)]
    with line(order) as client:
        for key in keys:
            client.set(key, rng.randbytes(_PIECE_BYTES), ex=_EXPIRE_S)
        with contextlib.suppress(valkey.exceptions.ResponseError):  # one has just begun by itself
            client.bgsave()
        for key in keys:
            client.setrange(key, 0, rng.randbytes(_PIECE_BYTES))
        deadline = time.monotonic() + _WAIT_S
        while (facts := info(client, "persistence"))["rdb_bgsave_in_progress"]:
            if time.monotonic() > deadline:
                raise UnreachableError(f"the snapshot was not written after {_WAIT_S:g} s")
            time.sleep(1 / _ROUNDS_PER_S)
        copied = facts["rdb_last_cow_size"] / _MIB
        yield Ready(
            told=(f"{order.amount} MiB were written anew during a snapshot, which copied {copied:.0f} MiB",)
        )
        for key in itertools.cycle(keys):
            client.setrange(key, 0, rng.randbytes(_PIECE_BYTES))
            time.sleep(1 / _ROUNDS_PER_S)


def _some(client: valkey.Valkey, rng: random.Random, count: int) -> None:
    pipe = client.pipeline(transaction=False)
    for _ in range(count):
        key = f"{PREFIX}load:{rng.randrange(_KEYS)}"
        if rng.random() < 0.5:  # noqa: PLR2004 - as many of each
            pipe.get(key)
        else:
            pipe.set(key, rng.randbytes(_VALUE_BYTES), ex=_EXPIRE_S)
    # A server that is busy or full refuses some; an application goes on as well.
    with contextlib.suppress(valkey.exceptions.ResponseError):
        pipe.execute(raise_on_error=False)
