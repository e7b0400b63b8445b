"""A circle is found if and only if there is one; what has lapsed or is young does not count."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medic8.model.issue import Severity
from medic8.model.locks import LockReport
from medic8.targets.grid.lock_judgement import (
    LEAST_LAPSED_MS,
    LEAST_WAITED_MS,
    MANY_REFUSED,
    circles,
    deadlock,
    is_settled,
    judge_locks,
    stale,
)
from medic8.targets.grid.lock_record import Lock, LockState, Wait

GRID = uuid.UUID("6d656d38-0000-4000-8000-000000000001")
NOW_MS = 1_000_000


def owner(number: int) -> uuid.UUID:
    return uuid.UUID(int=number + 1)


def lock(group: int, by: int, *, since_ms: int = 0, deadline_ms: int = NOW_MS + 1) -> Lock:
    name = f"owner-{by}".encode()
    return Lock(GRID, group, LockState.HELD, 1, bytes(16), owner(by), since_ms, deadline_ms, None, name)


def wait(by: int, group: int, *, since_ms: int = 0, deadline_ms: int = NOW_MS + 1) -> Wait:
    return Wait(GRID, group, owner(by), since_ms, deadline_ms, f"owner-{by}".encode())


#: Who holds each of six groups, and what each of five owners waits for, if anything; mostly they do.
HOLDERS = st.lists(st.sampled_from([None, *range(5), *range(5)]), min_size=6, max_size=6)
WAITS = st.lists(st.sampled_from([None, *range(6), *range(6)]), min_size=5, max_size=5)


@settings(max_examples=500)
@given(holders=HOLDERS, waiting=WAITS)
@example(holders=[0, 1, 2, None, None, None], waiting=[1, 2, 1, 0, None])  # 0 and 3 wait outside of it
def test_circles_are_those_that_walking_finds(holders: list[int | None], waiting: list[int | None]) -> None:
    """By the oracle, an owner is in a circle if following who waits for whom comes back to it."""

    def following(who: int) -> int | None:
        group = waiting[who]
        holder = None if group is None else holders[group]
        return None if holder == who else holder

    def comes_back(who: int) -> bool:
        at: int | None = who
        for _ in range(5):
            at = None if at is None else following(at)
            if at == who:
                return True
        return False

    locks = [lock(group, by) for group, by in enumerate(holders) if by is not None]
    waits = [wait(by, group) for by, group in enumerate(waiting) if group is not None]
    found = circles(locks, waits, NOW_MS)
    in_circles = [knot.wait.owner for circle in found for knot in circle]
    assert sorted(in_circles) == [owner(who) for who in range(5) if comes_back(who)]
    for circle in found:
        for knot, following_knot in zip(circle, [*circle[1:], circle[0]], strict=True):
            assert knot.lock.group == knot.wait.group
            assert knot.lock.owner == following_knot.wait.owner


@pytest.mark.parametrize("lapses", ["a lock", "a wait"])
def test_what_has_lapsed_is_in_no_circle(lapses: str) -> None:
    """A stale lock is broken first; who died waiting waits no more."""
    over = {"deadline_ms": NOW_MS}
    locks = [lock(0, 0), lock(1, 1, **(over if lapses == "a lock" else {}))]
    waits = [wait(0, 1), wait(1, 0, **(over if lapses == "a wait" else {}))]
    assert circles(locks, waits, NOW_MS) == ()
    assert len(circles(locks, waits, NOW_MS - 1)) == 1


def test_an_owner_that_waits_for_its_own_lock_has_just_been_given_it() -> None:
    """The record of waiting is deleted a moment later."""
    assert circles([lock(0, 0), lock(1, 1)], [wait(0, 0), wait(1, 0)], NOW_MS) == ()


def test_a_young_circle_is_not_settled() -> None:
    """Somebody may give up in time."""
    locks, young = [lock(0, 0), lock(1, 1)], NOW_MS - LEAST_WAITED_MS + 1
    (circle,) = circles(locks, [wait(0, 1), wait(1, 0, since_ms=young)], NOW_MS)
    assert not is_settled(circle, NOW_MS)
    assert is_settled(circle, NOW_MS + 1)


def test_the_cheapest_victim_holds_fewest_and_then_shortest() -> None:
    """Whatever the order in which they are found, and however the circle is turned."""
    waits = [wait(0, 1), wait(1, 2), wait(2, 0)]
    fewest = [lock(0, 0), lock(1, 1), lock(2, 2), lock(3, 0), lock(4, 2)]
    (circle,) = circles(fewest, waits, NOW_MS)
    assert deadlock(circle, fewest, "lab", NOW_MS).victim.owner == str(owner(1))
    shortest = [lock(0, 0, since_ms=5), lock(1, 1, since_ms=7), lock(2, 2, since_ms=6)]
    (circle,) = circles(shortest[::-1], waits[::-1], NOW_MS)
    for turn in range(3):
        found = deadlock([*circle[turn:], *circle[:turn]], shortest, "lab", NOW_MS)
        assert (found.victim.owner_name, found.locks) == ("owner-1", 1)
        assert [link.waiter_name for link in found.links] == ["owner-0", "owner-1", "owner-2"]


def test_a_lease_that_lapsed_just_now_is_no_finding() -> None:
    """A slow owner renews it; later it is one."""
    locks = [lock(1, 0, deadline_ms=NOW_MS), lock(0, 1, deadline_ms=NOW_MS + 5000)]
    assert stale(locks, "lab", NOW_MS + LEAST_LAPSED_MS - 1) == ()
    assert [each.item.group for each in stale(locks, "lab", NOW_MS + LEAST_LAPSED_MS)] == [1]
    assert [each.item.group for each in stale(locks, "lab", NOW_MS + 9000)] == [0, 1]


def test_findings_name_owners_ages_and_what_to_do() -> None:
    """And nothing is found where nothing is wrong, however many hold locks."""
    quiet = LockReport(
        grid="lab", groups_checked=64, groups_total=64, held=64, refused_writes=MANY_REFUSED - 1
    )
    assert judge_locks(quiet) == ()
    locks = [lock(0, 0), lock(1, 1)]
    (circle,) = circles(locks, [wait(0, 1), wait(1, 0)], NOW_MS)
    report = LockReport(
        grid="lab",
        groups_checked=64,
        groups_total=64,
        stale=stale([lock(3, 2, deadline_ms=NOW_MS - 60_000)], "lab", NOW_MS),
        deadlocks=(deadlock(circle, locks, "lab", NOW_MS),),
        not_locks=((7, "it is a list"),),
        foreign=("m8:{lab}:mylock",),
        refused_writes=MANY_REFUSED,
        refused_within_s=60,
    )
    found = {(finding.code, finding.severity): finding.text for finding in judge_locks(report)}
    assert set(found) == {
        ("grid.lock_stale", Severity.ERROR),
        ("grid.deadlock", Severity.ERROR),
        ("grid.lost_updates", Severity.WARNING),
        ("grid.foreign_lock", Severity.WARNING),
        ("grid.foreign_lock", Severity.INFO),
    }
    assert (
        "group 3, held by owner-2: the lease lapsed, the longest 1 min 0 s ago"
        in found["grid.lock_stale", Severity.ERROR]
    )
    assert "owner-1 waits for owner-0" in found["grid.deadlock", Severity.ERROR]
    assert "it is a list" in found["grid.foreign_lock", Severity.WARNING]
    assert all(finding.advice for finding in judge_locks(report))
