"""File systems that are about to be full, watched for long enough to tell them from what comes and goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from medic8.analysis.judging import over
from medic8.analysis.trends import Shape, growth_of
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.model.wording import size, span
from medic8.targets.host.looks.looking import here, result
from medic8.targets.host.looks.mounts import Fill, Mount, fill_of, mounts
from medic8.targets.host.policy import LEAST_FILLED, POLICY, HostPolicy, policy_of
from medic8.targets.kind import Surroundings

_DAY_S = 86_400.0

#: Looks within a watch; and after how many watches it is told where something grows towards full.
_LOOKS = 16
_TOLD_AFTER = (4, 8, 15)

_TOLD = frozenset(_LOOKS * each for each in _TOLD_AFTER)

#: What has less left is full, if it took so much of its room while it was watched.
_FULL, _TAKEN = 0.01, 0.05

#: As of the trend over diagnoses: growth counts that was seen for a quarter of the time that is left.
_BELIEVED = 4

#: How full each file system is at moments in seconds, the oldest first.
Seen = Sequence[tuple[float, Mapping[Mount, Fill]]]


class What(NamedTuple):
    """
    What of a file system may run out.

    Attributes:
        name: In one word.
        used: How much of it is used.
        left: How much is left.
        in_words: A number of it, for people.
    """

    name: str
    used: Callable[[Fill], int]
    left: Callable[[Fill], int]
    in_words: Callable[[float], str]


_WHATS = (
    What("room", lambda fill: fill.used_bytes, lambda fill: fill.free_bytes, size),
    What(
        "inodes",
        lambda fill: fill.inodes - fill.free_inodes,
        # Without a limit there are as many as there is room for.
        lambda fill: fill.free_inodes if fill.inodes else 1 << 62,
        lambda number: f"{number:,.0f} inodes",
    ),
)


def look_at_filling(target: Target, around: Surroundings) -> DiagnosticResult:
    """Ask local file systems how full they are, again and again while the host is watched; else not."""
    machine, policy, seen = here(target), policy_of(target), list[tuple[float, dict[Mount, Fill]]]()
    every = tuple(each for each in mounts(machine) if not each.is_read_only) if around.watch_s else ()
    began_s, findings = time.monotonic(), tuple[Finding, ...]()
    for number in range(_LOOKS * _TOLD_AFTER[-1] + 1 if every else 0):
        if number > _LOOKS and not _is_near(seen, around.watch_s * _TOLD_AFTER[-1]):
            break
        if number:
            time.sleep(around.watch_s / _LOOKS)
        fills = {each: fill for each in every if (fill := fill_of(machine, each)) is not None}
        seen.append((time.monotonic() - began_s, fills))
        if number in _TOLD and (findings := judge_filling_up(seen, policy=policy)):
            break
    return result("filling", around, machine, findings=findings or judge_filling_up(seen, policy=policy))


def _is_near(seen: Seen, watch_s: float) -> bool:
    """Whether anything has room left and would be full so soon at this pace that a watch so long may tell."""
    (began_s, first), (ended_s, last) = seen[0], seen[-1]
    return any(
        0
        < what.left(fill) * (ended_s - began_s)
        <= 2 * _BELIEVED * watch_s * (what.used(fill) - what.used(first.get(mount, fill)))
        for mount, fill in last.items()
        for what in _WHATS
    )


def judge_filling_up(seen: Seen, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """
    Which file systems will be full within moments, if they go on as they did while they were watched.

    What gives back what it takes is none, and one that is less than two thirds full has time.
    """
    findings: tuple[Finding, ...] = ()
    for mount in seen[-1][1] if seen else ():
        told = [(at_s, fills[mount]) for at_s, fills in seen if mount in fills]
        for what in _WHATS:
            findings += _judge(mount, told, what, policy)
    return findings


def _judge(
    mount: Mount, told: Sequence[tuple[float, Fill]], what: What, policy: HostPolicy
) -> tuple[Finding, ...]:
    last = told[-1][1]
    left, room = what.left(last), what.used(last) + what.left(last)
    growth = growth_of([at_s for at_s, _ in told], [float(what.used(fill)) for _, fill in told])
    if growth is None or not room:
        return ()
    if left <= _FULL * room and what.used(last) - what.used(told[0][1]) >= _TAKEN * room:
        full_s = 0.0  # it grows no more, since it cannot
    elif growth.shape is Shape.GROWS and what.used(last) >= LEAST_FILLED * room:
        full_s = left / growth.least_per_s
    else:
        return ()
    if full_s > _BELIEVED * growth.span_s:
        return ()
    return over(
        "disk.filling",
        policy.filling,
        full_s / _DAY_S,
        f"{mount.folder} has no {what.name} left in {span(full_s)} if it goes on"
        if full_s
        else f"{mount.folder} has run out of {what.name} while it was watched",
        about=mount.folder,
        advice=(
            f"find {mount.path} -xdev -type f -mmin -5 -size +1M | xargs ls -lt | head   # what grows",
            f"lsof +f -- {mount.path} | grep -E '[0-9]+[uw]'   # who writes",
        ),
        also=(
            Evidence(what=f"{what.name} taken each second", seen=what.in_words(growth.per_s)),
            Evidence(what="watched for", seen=span(growth.span_s)),
            Evidence(what="left", seen=what.in_words(left)),
        ),
    )
