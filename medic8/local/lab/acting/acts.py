"""The programs by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from medic8.local.lab.acting import (
    clients,
    doors,
    expiring,
    grid_work,
    host,
    program,
    proxy,
    replica,
    services,
    traffic,
    work,
)
from medic8.local.lab.acting.order import Order, Play

ACTS: Mapping[str, Callable[[Order], Play]] = {
    "batch": host.batch,
    "bulk": traffic.bulk,
    "busy": work.busy,
    "churn": clients.churn,
    "costly": work.costly,
    "count": grid_work.count,
    "delete": work.delete,
    "disk": host.disk,
    "evict": traffic.evict,
    "expiring": doors.expiring,
    "flapping": doors.flapping,
    "grow_grid": grid_work.grow_grid,
    "hold": clients.hold,
    "hold_locks": grid_work.hold_locks,
    "hot": traffic.hot,
    "leak": traffic.leak,
    "load": traffic.load,
    "monitor": clients.monitor,
    "one_by_one": traffic.one_by_one,
    "overwrite": traffic.overwrite,
    "pending": work.pending,
    "program": program.program,
    "proxy": proxy.proxy,
    "queue": host.queue,
    "rush": host.rush,
    "replica": replica.replica,
    "service": services.service,
    "slow_reader": clients.read_slowly,
    "storm": expiring.storm,
    "stream": traffic.stream,
    "wait": clients.wait_in_line,
    "warm": traffic.warm,
    "write_grid": grid_work.write_grid,
}
