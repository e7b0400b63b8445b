"""Sample how a server does: how fast it answers, what memory and what time of the processor it takes."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import valkey
import valkey.exceptions

from medic8.model.guard import SoftGuard, SoftReading
from medic8.targets.valkey.client import info

#: Samples on each side; with eight, three guards together reach 1 % (`medic8.analysis.never_worse`).
SAMPLES = 8

#: A sample is the median of so many round trips, with a pause after each: about 60 ms.
_PINGS = 10
_PAUSE_S = 0.005

#: Less load than this is as good as none, in commands per second: our own looking is about 200.
_IDLE_OPERATIONS = 1000.0

LATENCY = SoftGuard(
    name="latency",
    unit="seconds",
    most_ratio=2.0,
    most_more=0.0005,
    load_unit="operations/s",
    idle_load=_IDLE_OPERATIONS,
)
CPU = SoftGuard(
    name="CPU",
    unit="cores",
    most_ratio=2.0,
    most_more=0.25,
    load_unit="operations/s",
    idle_load=_IDLE_OPERATIONS,
)
#: The load is what clients sent: a small value takes up to four times as much in memory as on its way.
MEMORY = SoftGuard(
    name="memory",
    unit="bytes",
    most_ratio=1.5,
    most_more=32 << 20,
    load_unit="bytes received",
    per_load=4.0,
)


class _Moment(NamedTuple):
    at_s: float
    commands: int
    received_bytes: int
    cpu_s: float
    memory_bytes: int


def sample(client: valkey.Valkey, guards: Sequence[SoftGuard]) -> tuple[SoftReading, ...]:
    """
    Sample *guards* for about half a second; nothing is set on the server.

    Args:
        client: Used for nothing else meanwhile.
        guards: Of `LATENCY`, `CPU` and `MEMORY`.
    """
    if not guards:
        return ()
    try:
        moments, latencies_s = _moments(client)
    except valkey.exceptions.ResponseError as exc:
        return tuple(SoftReading(guard=guard, unseen=str(exc)) for guard in guards)
    pairs = [(was, now, max(now.at_s - was.at_s, 1e-9)) for was, now in itertools.pairwise(moments)]
    rates = tuple((now.commands - was.commands) / span_s for was, now, span_s in pairs)
    cores = tuple((now.cpu_s - was.cpu_s) / span_s for was, now, span_s in pairs)
    memory = tuple(float(each.memory_bytes) for each in moments[1:])
    received = tuple(float(each.received_bytes) for each in moments[1:])
    readings = {
        LATENCY.name: SoftReading(guard=LATENCY, samples=tuple(latencies_s), loads=rates),
        CPU.name: SoftReading(guard=CPU, samples=cores, loads=rates),
        MEMORY.name: SoftReading(guard=MEMORY, samples=memory, loads=received),
    }
    return tuple(readings[guard.name] for guard in guards)


def _moments(client: valkey.Valkey) -> tuple[list[_Moment], list[float]]:
    moments, latencies_s = [_moment(client)], []
    for _ in range(SAMPLES):
        pings_s = []
        for _ in range(_PINGS):
            began_s = time.perf_counter()
            client.ping()
            pings_s.append(time.perf_counter() - began_s)
            time.sleep(_PAUSE_S)
        latencies_s.append(statistics.median(pings_s))
        moments.append(_moment(client))
    return moments, latencies_s


def _moment(client: valkey.Valkey) -> _Moment:
    stats, cpu, memory = info(client, "stats"), info(client, "cpu"), info(client, "memory")
    return _Moment(
        at_s=time.perf_counter(),
        commands=int(stats["total_commands_processed"]),
        received_bytes=int(stats["total_net_input_bytes"]) + int(stats.get("total_net_repl_input_bytes", 0)),
        cpu_s=float(cpu["used_cpu_sys"]) + float(cpu["used_cpu_user"]),
        memory_bytes=int(memory["used_memory"]),
    )
