"""Reads and writes as applications do them, at a bounded rate."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator

import valkey
import valkey.exceptions

from medic8.local.lab.acting.line import line
from medic8.local.lab.acting.order import PREFIX, Order, Ready

_ROUNDS_PER_S = 20
_KEYS = 1000
_VALUE_BYTES = 100
_EXPIRE_S = 600


def load(order: Order) -> Iterator[Ready]:
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
