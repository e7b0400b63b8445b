"""The programs by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from medic8.local.lab.acting import clients, grid_work, proxy, replica, traffic, work
from medic8.local.lab.acting.order import Order, Play

ACTS: Mapping[str, Callable[[Order], Play]] = {
    "bulk": traffic.bulk,
    "busy": work.busy,
    "churn": clients.churn,
    "costly": work.costly,
    "count": grid_work.count,
    "delete": work.delete,
    "evict": traffic.evict,
    "grow_grid": grid_work.grow_grid,
    "hold": clients.hold,
    "hold_locks": grid_work.hold_locks,
    "leak": traffic.leak,
    "load": traffic.load,
    "monitor": clients.monitor,
    "overwrite": traffic.overwrite,
    "pending": work.pending,
    "proxy": proxy.proxy,
    "replica": replica.replica,
    "slow_reader": clients.read_slowly,
    "wait": clients.wait_in_line,
    "warm": traffic.warm,
    "write_grid": grid_work.write_grid,
}
