"""Judge the locks of a grid: who is stale, who waits in a circle, whom to release; pure functions."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.locks import Deadlock, Link, LockItem, LockReport, StaleLock
from medic8.model.wording import counted, span
from medic8.targets.grid.lock_reading import called
from medic8.targets.grid.lock_record import Lock, Wait

#: A lease that lapsed less than this ago may be that of an owner who was stopped for a moment. Ours: two
#: seconds are longer than the pauses of a garbage collector, and nobody is better off sooner.
LEAST_LAPSED_MS = 2000

#: A circle in which somebody has waited for less than this may dissolve by itself. Ours.
LEAST_WAITED_MS = 1000

#: So many refused checked writes within their hour are worth a look. Ours: below, a retry is as it should be.
MANY_REFUSED = 100

_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Knot:
    """An owner who waits, and the lock that it waits for."""

    wait: Wait
    lock: Lock


def circles(locks: Iterable[Lock], waits: Iterable[Wait], now_ms: int) -> tuple[tuple[Knot, ...], ...]:
    """
    The circles of owners who wait for each other, each once, none longer than it is.

    An owner waits for one lock at a time, so whoever is followed from one to the
    next comes to an end, or into exactly one circle.

    Args:
        locks: Those that are held.
        waits: What owners wait for.
        now_ms: The server's clock: what has lapsed by then does not count.
    """
    holders = {lock.group: lock for lock in locks if lock.is_held and not lock.is_stale(now_ms)}
    nexts: dict[uuid.UUID, Knot] = {}
    for wait in waits:
        lock = holders.get(wait.group)
        if lock is not None and wait.deadline_ms > now_ms and lock.owner != wait.owner:
            nexts[wait.owner] = Knot(wait, lock)
    found = []
    seen: set[uuid.UUID] = set()
    for start in sorted(nexts):
        path: list[Knot] = []
        owner = start
        while owner in nexts and owner not in seen:
            seen.add(owner)
            path.append(nexts[owner])
            owner = nexts[owner].lock.owner
        owners = [knot.wait.owner for knot in path]
        if owner in owners:
            found.append(tuple(path[owners.index(owner) :]))
    return tuple(found)


def deadlock(circle: Sequence[Knot], locks: Sequence[Lock], grid: str, now_ms: int) -> Deadlock:
    """
    A circle as plain data, turned so that the cheapest victim's lock comes first.

    Cheapest is who holds the fewest locks; of those, who has held the lock for
    the shortest time and so has done least under it.

    Args:
        circle: As `circles` found it.
        locks: All that are held.
        grid: Name of the grid.
        now_ms: The server's clock.
    """
    count = Counter(lock.owner for lock in locks if lock.is_held)
    at = min(
        range(len(circle)),
        key=lambda i: (count[circle[i].lock.owner], -circle[i].lock.since_ms, circle[i].lock.owner),
    )
    turned = [*circle[at:], *circle[:at]]
    links = tuple(
        Link(
            waiter=str(knot.wait.owner),
            waiter_name=called(knot.wait.name),
            since_ms=knot.wait.since_ms,
            lock=item_of(knot.lock, grid),
        )
        for knot in turned
    )
    ages_s = tuple(_seconds(now_ms - knot.wait.since_ms) for knot in turned)
    return Deadlock(links=links, ages_s=ages_s, locks=count[turned[0].lock.owner])


def is_settled(circle: Sequence[Knot], now_ms: int) -> bool:
    """Whether everybody in it has waited for long enough to be believed."""
    return all(now_ms - knot.wait.since_ms >= LEAST_WAITED_MS for knot in circle)


def stale(locks: Iterable[Lock], grid: str, now_ms: int) -> tuple[StaleLock, ...]:
    """The locks whose lease lapsed long enough ago, ascending by group."""
    return tuple(
        StaleLock(
            item=item_of(lock, grid),
            held_s=_seconds(now_ms - lock.since_ms),
            lapsed_s=_seconds(now_ms - lock.deadline_ms),
        )
        for lock in sorted(locks, key=lambda lock: lock.group)
        if lock.is_stale(now_ms - LEAST_LAPSED_MS)
    )


def item_of(lock: Lock, grid: str) -> LockItem:
    """*lock* as plain data."""
    return LockItem(
        grid=grid,
        grid_uuid=str(lock.grid),
        group=lock.group,
        number=lock.number,
        nonce=lock.nonce.hex(),
        owner=str(lock.owner),
        owner_name=called(lock.name),
    )


def judge_locks(report: LockReport) -> tuple[Finding, ...]:
    """What is wrong with the locks of a grid."""
    return (*_stale(report), *_deadlocks(report), *_lost_updates(report), *_foreign(report))


def stale_about(grid: str) -> str:
    """What an issue with stale locks is about."""
    return f"stale locks of grid {grid}"


def deadlock_about(grid: str) -> str:
    """What an issue with deadlocks is about."""
    return f"deadlocked owners of grid {grid}"


def _stale(report: LockReport) -> Iterator[Finding]:
    if not report.stale:
        return
    owners = list(dict.fromkeys(lock.item.owner_name for lock in report.stale))
    groups = _named([str(lock.item.group) for lock in report.stale])
    oldest_s = max(lock.lapsed_s for lock in report.stale)
    yield Finding(
        code="grid.lock_stale",
        severity=Severity.ERROR,
        text=f"{counted(len(report.stale), 'lock')} of grid {report.grid}, of "
        f"{_groups(len(report.stale))} {groups}, held by {_named(owners)}: the lease lapsed, the longest "
        f"{span(oldest_s)} ago, and others are kept out",
        about=stale_about(report.grid),
        evidence=(
            Evidence(what="locks whose lease has lapsed", seen=str(len(report.stale)), limit="0"),
            *(
                Evidence(
                    what=f"lock of group {lock.item.group}, held by {lock.item.owner_name} for "
                    f"{span(lock.held_s)}",
                    seen=f"lapsed {span(lock.lapsed_s)} ago",
                    limit=span(LEAST_LAPSED_MS / 1000),
                )
                for lock in report.stale[:_MOST_NAMED]
            ),
        ),
        advice=(
            "look whether the cells of these groups are as the application expects: it may be half done",
            "break_stale_lock lets others in, with a fence that keeps a late owner out",
        ),
        extent=len(report.stale),
    )


def _deadlocks(report: LockReport) -> Iterator[Finding]:
    if not report.deadlocks:
        return
    yield Finding(
        code="grid.deadlock",
        severity=Severity.ERROR,
        text="; ".join(_in_words(each) for each in report.deadlocks[:_MOST_NAMED]),
        about=deadlock_about(report.grid),
        evidence=tuple(
            Evidence(
                what=f"{link.waiter_name} waits for group {link.lock.group}, held by {link.lock.owner_name}",
                seen=span(age_s),
            )
            for each in report.deadlocks[:_MOST_NAMED]
            for link, age_s in zip(each.links, each.ages_s, strict=True)
        ),
        advice=(
            "let the application take all its locks in one call: grid.lock sorts them, so no circle comes up",
            "release_deadlock_victim takes the cheapest victim's lock away; its owner is told LockLostError",
        ),
        extent=len(report.deadlocks),
    )


def _in_words(each: Deadlock) -> str:
    steps = [f"{link.waiter_name} waits for {link.lock.owner_name}" for link in each.links]
    return f"deadlock: {', '.join(steps)} (for {span(min(each.ages_s))} or longer)"


def _lost_updates(report: LockReport) -> Iterator[Finding]:
    if report.refused_writes < MANY_REFUSED:
        return
    yield Finding(
        code="grid.lost_updates",
        severity=Severity.WARNING,
        text=f"{report.refused_writes} writes to grid {report.grid} within {span(report.refused_within_s)} "
        "were refused because somebody else had written since their version was taken: without that check, "
        "updates would be lost",
        about=f"writers of grid {report.grid}",
        evidence=(
            Evidence(
                what="checked writes that were refused",
                seen=str(report.refused_writes),
                limit=str(MANY_REFUSED),
            ),
        ),
        advice=(
            "hold grid.lock(...) around reading and writing where several write to the same groups",
            *(
                ()
                if report.takes_checked_only
                else ("writers who name no version are not stopped: create the grid with writes=checked",)
            ),
        ),
    )


def _foreign(report: LockReport) -> Iterator[Finding]:
    about = f"foreign locks beside grid {report.grid}"
    if report.not_locks:
        yield Finding(
            code="grid.foreign_lock",
            severity=Severity.WARNING,
            text=f"the lock's key of {_groups(len(report.not_locks))} "
            f"{_named([str(group) for group, _ in report.not_locks])} of grid {report.grid} holds no lock of "
            f"the grid's library, which takes none there: {report.not_locks[0][1]}",
            about=about,
            evidence=tuple(
                Evidence(what=f"lock's key of group {group}", seen=why)
                for group, why in report.not_locks[:_MOST_NAMED]
            ),
            advice=("ask who wrote it; once nobody needs it, DEL lets the library lock again",),
            extent=len(report.not_locks),
        )
    if report.foreign:
        yield Finding(
            code="grid.foreign_lock",
            severity=Severity.INFO,
            text=f"{counted(len(report.foreign), 'key')} beside those of grid {report.grid} look like locks "
            f"of another program, which the grid's library does not heed: {_named(list(report.foreign))}",
            about=about,
            evidence=tuple(
                Evidence(what="key that looks like a lock", seen=name)
                for name in report.foreign[:_MOST_NAMED]
            ),
            advice=("let all writers use grid.lock, or none; Medic8 does not touch locks of others",),
            extent=len(report.foreign),
        )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _groups(count: int) -> str:
    return "group" if count == 1 else "groups"


def _seconds(ms: int) -> float:
    return max(0, ms) / 1000
