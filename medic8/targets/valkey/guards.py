"""What must not become worse on a server while it is repaired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import valkey
import valkey.exceptions

from medic8.analysis.hard_guards import judge_appeared, judge_count, judge_good, judge_same
from medic8.errors import RefusedError
from medic8.model.guard import GuardVerdict, HardReading, SoftGuard, SoftReading
from medic8.model.plan import Plan
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.actions import act_of
from medic8.targets.valkey.acts.busy_scripts import is_busy
from medic8.targets.valkey.client import connection, info, replicas_in
from medic8.targets.valkey.key_guard import EVICTIONS, KEYS, judge_keys, read_keys
from medic8.targets.valkey.plans.buffers import LIMIT_CLIENT_BUFFERS
from medic8.targets.valkey.plans.certificate import RELOAD_CERTIFICATE
from medic8.targets.valkey.plans.clients import KILL_HOGGING_CLIENT
from medic8.targets.valkey.plans.dead_clients import KEEP_CONNECTIONS_ALIVE, KILL_DEAD_CLIENTS
from medic8.targets.valkey.plans.expiry import EXPIRE_FORGOTTEN_KEYS
from medic8.targets.valkey.plans.files import REWRITE_FILES
from medic8.targets.valkey.plans.limits import KILL_IDLE_CLIENTS, RAISE_MEMORY_LIMIT
from medic8.targets.valkey.plans.memory import FLUSH_SCRIPTS, PURGE_MEMORY
from medic8.targets.valkey.plans.replication import RESIZE_BACKLOG, RESYNC_REPLICA
from medic8.targets.valkey.plans.scale import SCALE_OUT
from medic8.targets.valkey.plans.settings import SET_SETTINGS
from medic8.targets.valkey.plans.slow import FREE_LAZILY, KILL_SCRIPT, KILL_SLOW_CLIENT
from medic8.targets.valkey.soft_guards import CPU, LATENCY, MEMORY, sample

_ROLE = "role"
_LINK = "link to the primary"
_REPLICAS = "replicas in step"
_ERRORS = "refusals by the server"

#: What of INFO persistence must not turn bad: how it is called, its field, and its good value.
_PERSISTENCE = (
    ("snapshot", "rdb_last_bgsave_status", "ok"),
    ("append-only file", "aof_last_write_status", "ok"),
    ("rewrite of the append-only file", "aof_last_bgrewrite_status", "ok"),
    ("loading", "loading", "0"),
)

#: What is read of any server.
_OF_ANY = (_ROLE, _REPLICAS, _ERRORS, EVICTIONS, KEYS, *(name for name, _, _ in _PERSISTENCE))

#: Errors that tell of the server and not of a caller's mistake; the recovery itself causes none of them.
SERVER_ERRORS = frozenset(
    {"CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY"}
)

#: The short list of each strategy.
_SOFT: Mapping[str, tuple[SoftGuard, ...]] = {
    SET_SETTINGS: (LATENCY, MEMORY, CPU),
    PURGE_MEMORY: (LATENCY, MEMORY),
    RELOAD_CERTIFICATE: (LATENCY, MEMORY),
    KILL_HOGGING_CLIENT: (LATENCY, MEMORY),
    KEEP_CONNECTIONS_ALIVE: (LATENCY, MEMORY),
    KILL_DEAD_CLIENTS: (LATENCY, MEMORY),
    FREE_LAZILY: (LATENCY, MEMORY, CPU),
    RAISE_MEMORY_LIMIT: (LATENCY, MEMORY),
    KILL_IDLE_CLIENTS: (LATENCY, MEMORY),
    KILL_SLOW_CLIENT: (LATENCY, MEMORY),
    SCALE_OUT: (LATENCY,),
    KILL_SCRIPT: (),  # a busy server has no latency to compare with
    LIMIT_CLIENT_BUFFERS: (LATENCY, MEMORY),
    EXPIRE_FORGOTTEN_KEYS: (LATENCY, MEMORY),
    FLUSH_SCRIPTS: (LATENCY, MEMORY),
    REWRITE_FILES: (LATENCY, MEMORY),
    RESYNC_REPLICA: (LATENCY, MEMORY),
    RESIZE_BACKLOG: (LATENCY,),  # more memory is what it is for
}


class ServerGuards:
    """The guards of a Valkey or Redis server; it is only read."""

    def soft_of(self, plan: Plan) -> tuple[SoftGuard, ...]:
        """The short list of the plan's strategy."""
        return _SOFT.get(plan.strategy, (LATENCY, MEMORY))

    def read_hard(
        self, target: Target, around: Surroundings, plan: Plan, known: Sequence[HardReading]
    ) -> tuple[HardReading, ...]:
        """Role, replication, persistence, errors, and a sample of the keys that the plan does not touch."""
        del around
        seen = [each for each in known if not each.unseen]
        steps = [step for unit in plan.units for step in unit.steps]
        touched = {act_of(step).key_of(step) for step in steps}
        try:
            with connection(target.address, timeout_s=target.timeout_s) as client:
                return read_server(client, seen, is_ours=touched.__contains__)
        except RefusedError as refusal:
            if plan.strategy != KILL_SCRIPT or not is_busy(refusal):
                raise
            return tuple(HardReading(guard=guard, unseen=str(refusal)) for guard in _OF_ANY)

    def judge_hard(
        self, before: Sequence[HardReading], after: Sequence[HardReading]
    ) -> tuple[GuardVerdict, ...]:
        """Hold the readings against each other."""
        return judge_server(before, after)

    def read_soft(self, target: Target, guards: Sequence[SoftGuard]) -> tuple[SoftReading, ...]:
        """Sample for half a second, if there is anything to sample."""
        if not guards:
            return ()
        with connection(target.address, timeout_s=target.timeout_s) as client:
            return sample(client, guards)


def read_server(
    client: valkey.Valkey, known: Sequence[HardReading], *, is_ours: Callable[[bytes], bool]
) -> tuple[HardReading, ...]:
    """All that is exact of a server; see `read_keys` for the arguments."""
    return (
        *_section(client, "replication", (_ROLE, _LINK, _REPLICAS), _replication),
        *_section(client, "persistence", tuple(name for name, _, _ in _PERSISTENCE), _persistence),
        *_section(client, "errorstats", (_ERRORS,), _errors),
        *_section(client, "stats", (EVICTIONS,), _evictions),
        *read_keys(client, known, is_ours=is_ours),
    )


def judge_server(before: Sequence[HardReading], after: Sequence[HardReading]) -> tuple[GuardVerdict, ...]:
    """
    Judge all that is exact of a server.

    - The role stays; a link to the primary that was up is up; no replica that was in step is missing.
    - Persistence that worked works; the server is not loading if it was not.
    - No refusal of `SERVER_ERRORS`, and no eviction, if there had never been one.
    - Keys: see `judge_keys`.
    """
    is_replica = any(each.guard == _LINK for each in before)
    return (
        judge_same(_ROLE, before, after),
        *((judge_good(_LINK, "up", before, after),) if is_replica else ()),
        judge_count(_REPLICAS, before, after),
        *(judge_good(name, good, before, after) for name, _, good in _PERSISTENCE),
        judge_appeared(_ERRORS, before, after),
        judge_appeared(EVICTIONS, before, after),
        judge_keys(before, after),
    )


def _section(
    client: valkey.Valkey,
    section: str,
    guards: tuple[str, ...],
    read: Callable[[Mapping[str, Any]], list[HardReading]],
) -> list[HardReading]:
    try:
        return read(info(client, section))
    except valkey.exceptions.ResponseError as exc:
        return [HardReading(guard=guard, unseen=str(exc)) for guard in guards]


def _replication(section: Mapping[str, Any]) -> list[HardReading]:
    online = sum(replica["state"] == "online" for replica in replicas_in(section))
    readings = [
        HardReading(guard=_ROLE, value=str(section["role"])),
        HardReading(guard=_REPLICAS, value=str(online)),
    ]
    if "master_link_status" in section:
        readings.append(HardReading(guard=_LINK, value=str(section["master_link_status"])))
    return readings


def _persistence(section: Mapping[str, Any]) -> list[HardReading]:
    return [
        HardReading(guard=name, value=str(section.get(field, good))) for name, field, good in _PERSISTENCE
    ]


def _errors(section: Mapping[str, Any]) -> list[HardReading]:
    counts = {name.removeprefix("errorstat_"): each["count"] for name, each in section.items()}
    return [
        HardReading(guard=_ERRORS, about=name, value=str(counts.get(name, 0)))
        for name in sorted(SERVER_ERRORS)
    ]


def _evictions(section: Mapping[str, Any]) -> list[HardReading]:
    return [HardReading(guard=EVICTIONS, about="evicted keys", value=str(section["evicted_keys"]))]
