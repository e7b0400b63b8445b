"""The programs by name. Each is a generator: its first value says that all is there, then it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from medic8.local.lab.acting import clients, traffic
from medic8.local.lab.acting.order import Order, Ready

Act = Callable[[Order], Iterator[Ready]]

ACTS: Mapping[str, Act] = {
    "load": traffic.load,
    "monitor": clients.monitor,
    "slow_reader": clients.read_slowly,
}
