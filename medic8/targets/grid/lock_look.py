"""Look at all locks of a grid; bounded, and a circle counts only if it is there at one moment."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import cast

import valkey

from medic8.model.issue import Finding
from medic8.model.locks import LockReport
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.keys import conflicts_key, lock_key, wait_key
from medic8.targets.grid.lock_judgement import Knot, circles, deadlock, is_settled, judge_locks, stale
from medic8.targets.grid.lock_reading import (
    ms_of,
    now_ms_of,
    read_locks,
    read_waits,
    unpacked_lock,
    unpacked_wait,
)
from medic8.targets.grid.lock_record import LOCK_BYTES, WAIT_BYTES, Lock
from medic8.targets.grid.locks import CONFLICTS_COUNTED_MS
from medic8.targets.grid.manifest import read_manifest
from medic8.targets.grid.reading import get_at_most
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.conversation import Command, conversation

#: Groups whose locks are looked at, and at once; 65,536 took 0.16 s on our machine.
_MOST_GROUPS = 65_536
_AT_ONCE = 1000

#: Steps of SCAN when foreign locks are sought: a million keys, 0.2 s on our machine; beyond, it is said.
_MOST_SCANS = 1000
_MOST_FOREIGN = 100
_LONGEST_COUNT = 20


def look_at_locks(target: Target, around: Surroundings) -> DiagnosticResult:
    """Whose lease has lapsed, who waits in a circle, and what else looks like a lock."""
    with connection(target.address, timeout_s=target.timeout_s) as client:
        try:
            manifest = read_manifest(client, target.grid_name).manifest
        except NotAGridError:  # the look at the grid says so
            return DiagnosticResult(diagnostic="locks", taken_at=around.now)
        report, unseen = survey_locks(client, manifest)
    found: tuple[Finding, ...] = judge_locks(report)
    counts = {
        "grid.locks_held": report.held,
        "grid.stale_locks": len(report.stale),
        "grid.deadlocks": len(report.deadlocks),
        "grid.refused_writes": report.refused_writes,
    }
    return DiagnosticResult(
        diagnostic="locks",
        readings=tuple(Reading(name=name, value=value, unit="count") for name, value in counts.items()),
        findings=found,
        unseen=unseen,
        locks=report,
        taken_at=around.now,
    )


def survey_locks(client: valkey.Valkey, manifest: Manifest) -> tuple[LockReport, tuple[str, ...]]:
    """The locks of a grid as they are, and what could not be seen."""
    total = manifest.layout.groups
    checked = min(total, _MOST_GROUPS)
    unseen = []
    if checked < total:
        unseen.append(f"the locks of groups from {checked} on were not looked at; there are {total} groups")
    locks: list[Lock] = []
    not_locks: list[tuple[int, str]] = []
    now_ms = now_ms_of(client)
    for first in range(0, checked, _AT_ONCE):
        groups = _locked(client, manifest, range(first, min(first + _AT_ONCE, checked)))
        values, _ = read_locks(client, manifest, groups)
        for group, value in zip(groups, values, strict=True):
            if isinstance(value, Lock):
                locks += [value] if value.is_held else []
            elif value is not None:
                not_locks.append((group, shown(value)))
    foreign, is_whole = _foreign(client, manifest)
    if not is_whole:
        unseen.append("not all keys of the server were searched for locks of other programs")
    refused, within_s = _refused(client, manifest)
    owners = list(dict.fromkeys(lock.owner for lock in locks))
    standing = []
    for circle in circles(locks, read_waits(client, manifest, owners), now_ms):
        is_there, at_ms = circle_at_one_moment(client, manifest, circle)
        if is_there and is_settled(circle, at_ms):
            standing.append(deadlock(circle, locks, manifest.name, at_ms))
    return LockReport(
        grid=manifest.name,
        groups_checked=checked,
        groups_total=total,
        held=sum(1 for lock in locks if not lock.is_stale(now_ms)),
        stale=stale(locks, manifest.name, now_ms),
        deadlocks=tuple(standing),
        not_locks=tuple(not_locks),
        foreign=foreign,
        refused_writes=refused,
        refused_within_s=within_s,
        takes_checked_only=manifest.takes_checked_only,
    ), tuple(unseen)


def circle_at_one_moment(
    client: valkey.Valkey, manifest: Manifest, circle: Sequence[Knot]
) -> tuple[bool, int]:
    """Whether *circle* is there as it was, all of it read at one moment, and the server's clock then."""
    keys = [
        (lock_key(manifest.name, knot.lock.group), wait_key(manifest.name, knot.wait.owner))
        for knot in circle
    ]
    looks: list[Command] = [("TIME",)]
    for lock, wait in keys:
        looks += [get_at_most(lock, LOCK_BYTES), get_at_most(wait, WAIT_BYTES)]
    with conversation(client) as talk:
        clock, *answers = talk.ask_at_once(looks) or []
    now_ms = ms_of(clock)
    locks = [unpacked_lock(answers[2 * at], manifest.uuid, knot.lock.group) for at, knot in enumerate(circle)]
    waits = [
        unpacked_wait(answers[2 * at + 1], manifest.uuid, knot.wait.owner) for at, knot in enumerate(circle)
    ]
    found = circles(
        [lock for lock in locks if lock is not None], [wait for wait in waits if wait is not None], now_ms
    )
    return any(_names(each) == _names(circle) for each in found), now_ms


def _names(circle: Sequence[Knot]) -> set[tuple[uuid.UUID, int, bytes]]:
    """Who waits since when for which taking of which lock."""
    return {(knot.wait.owner, knot.wait.since_ms, knot.lock.identity) for knot in circle}


def _locked(client: valkey.Valkey, manifest: Manifest, groups: Sequence[int]) -> list[int]:
    """Those of *groups* whose lock's key is there."""
    with conversation(client) as talk:
        answers = talk.ask([("EXISTS", lock_key(manifest.name, group)) for group in groups])
    return [group for group, answer in zip(groups, answers, strict=True) if answer]


def _foreign(client: valkey.Valkey, manifest: Manifest) -> tuple[tuple[str, ...], bool]:
    """Keys with the grid's prefix that are called locks and are not its own; whether all were seen."""
    own = re.compile(rb"m8:\{%s/\d+\}:lock" % re.escape(manifest.name.encode()))
    prefixes = (f"m8:{{{manifest.name}}}".encode(), f"m8:{{{manifest.name}/".encode())
    found: list[str] = []
    cursor = 0
    for _ in range(_MOST_SCANS):
        cursor, keys = cast(
            "tuple[int, list[bytes]]",
            client.scan(cursor, match=f"m8:{{{manifest.name}*[lL][oO][cC][kK]*", count=_AT_ONCE),
        )
        found += [shown(key) for key in keys if key.startswith(prefixes) and not own.fullmatch(key)]
        if cursor == 0 or len(found) >= _MOST_FOREIGN:
            break
    return tuple(sorted(set(found))[:_MOST_FOREIGN]), cursor == 0


def _refused(client: valkey.Valkey, manifest: Manifest) -> tuple[int, float]:
    """How many checked writes were refused since they are counted, and for how long that has been."""
    key = conflicts_key(manifest.name)
    with conversation(client) as talk:
        count, left_ms = talk.ask([get_at_most(key, _LONGEST_COUNT), ("PTTL", key)])
    if not isinstance(count, bytes) or not count.isdigit() or not isinstance(left_ms, int):
        return 0, 0.0
    return int(count), max(0, CONFLICTS_COUNTED_MS - max(0, left_ms)) / 1000
