"""What a look at locks finds on a real server, with owners in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import lock_owners
import pytest
import valkey

from medic8.backups.place import BackupPlace
from medic8.errors import ChangedError
from medic8.local.scratch import ScratchValkey
from medic8.model.locks import LockReport
from medic8.model.target import Target
from medic8.targets.grid.compare_and_write import Answer
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import conflicts_key, lock_key, wait_key
from medic8.targets.grid.lock_breaking import BreakLock, problem_after, saved_form, swap, took_effect, wanted
from medic8.targets.grid.lock_judgement import circles
from medic8.targets.grid.lock_look import circle_at_one_moment, look_at_locks, survey_locks
from medic8.targets.grid.lock_reading import read_lock, read_locks, read_waits
from medic8.targets.grid.lock_record import Lock, LockState, Wait, pack_lock, pack_wait
from medic8.targets.kind import Surroundings

AROUND = Surroundings(backups=BackupPlace(url="/nonexistent"), now=datetime(2026, 1, 2, tzinfo=UTC))
RECOVERY = "b56bdd09-5544-473c-a459-9d3befa78ac5"
FIRST, SECOND, THIRD = 0, 2048, 4096


@pytest.fixture
def grid(client: valkey.Valkey) -> Grid:
    """Get an empty grid of 64 groups."""
    return Grid.create(client, "lab", 8, owner="the test")


def looked(client: valkey.Valkey, grid: Grid) -> LockReport:
    report, unseen = survey_locks(client, grid.manifest)
    assert unseen == ()
    return report


def until(what: Callable[[], bool], *, within_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@contextlib.contextmanager
def deadlocked(url: str) -> Iterator[tuple[object, object]]:
    """Two processes, each of which holds what the other waits for; the second one holds less."""
    with contextlib.ExitStack() as stack:
        owners = []
        for name, indices in (("left", (FIRST, THIRD)), ("right", (SECOND,))):
            process = lock_owners.started(url, name, *indices, lease_s=30)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            owners.append(process)
        assert [lock_owners.told(each) for each in owners] == ["held", "held"]
        assert lock_owners.told(owners[0], f"lock {SECOND}") == "waits"
        assert lock_owners.told(owners[1], f"lock {FIRST}") == "waits"
        yield owners[0], owners[1]


def test_a_killed_owner_s_locks_are_stale_and_a_living_owner_s_are_not(
    grid: Grid, client: valkey.Valkey, valkey_server: ScratchValkey
) -> None:
    """By the server's clock, after its grace; the living one holds for longer than its lease."""
    with contextlib.ExitStack() as stack:
        owners = []
        for name, index in (("dead", FIRST), ("slow", SECOND)):
            process = lock_owners.started(valkey_server.socket_url, name, index)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            owners.append(process)
        assert [lock_owners.told(each) for each in owners] == ["held", "held"]
        os.kill(owners[0].pid, signal.SIGKILL)
        until(lambda: bool(looked(client, grid).stale))
        report = looked(client, grid)
    assert [(each.item.owner_name, each.item.group) for each in report.stale] == [("dead", 0)]
    assert report.stale[0].lapsed_s >= 2
    assert report.stale[0].held_s > 3
    assert (report.held, report.deadlocks, report.groups_checked) == (1, (), 64)


def test_two_deadlocked_processes_are_found_and_who_just_waits_is_not(
    grid: Grid, client: valkey.Valkey, valkey_server: ScratchValkey
) -> None:
    """Each waits for the other; a third that waits for one of them is in no circle."""
    with deadlocked(valkey_server.socket_url), contextlib.ExitStack() as stack:
        third = lock_owners.started(valkey_server.socket_url, "third", THIRD)
        stack.callback(third.communicate)
        stack.callback(third.kill)
        until(lambda: bool(looked(client, grid).deadlocks))
        (found,) = looked(client, grid).deadlocks
    assert [(link.waiter_name, link.lock.owner_name) for link in found.links] == [
        ("left", "right"),
        ("right", "left"),
    ]
    assert (found.victim.owner_name, found.victim.group, found.locks) == ("right", 1, 1)


def test_who_only_waits_in_line_is_no_deadlock(
    grid: Grid, client: valkey.Valkey, valkey_server: ScratchValkey
) -> None:
    """However long it takes."""
    with grid.lock([FIRST]), contextlib.ExitStack() as stack:
        waiter = lock_owners.started(valkey_server.socket_url, "waiter", FIRST)
        stack.callback(waiter.communicate)
        stack.callback(waiter.kill)
        until(lambda: bool(list(client.scan_iter(match="m8:{lab}:wait:*"))))
        assert looked(client, grid).deadlocks == ()
        assert looked(client, grid).held == 1


def test_a_circle_counts_only_if_all_of_it_is_there_at_one_moment(grid: Grid, client: valkey.Valkey) -> None:
    """A lock that was taken anew meanwhile, or somebody who has given up, is the end of it."""
    now_ms = int(time.time() * 1000)
    ids = [uuid.UUID(int=1), uuid.UUID(int=2)]
    for group, by in enumerate(ids):
        stale_lock(grid, client, group=group, owner=by, deadline_ms=now_ms + 600_000)
        wait = Wait(grid.manifest.uuid, 1 - group, by, 1000, now_ms + 600_000)
        client.set(wait_key("lab", by), pack_wait(wait))
    locks = [lock for lock in read_locks(client, grid.manifest, [0, 1])[0] if isinstance(lock, Lock)]
    (circle,) = circles(locks, read_waits(client, grid.manifest, ids), now_ms)
    assert circle_at_one_moment(client, grid.manifest, circle)[0]
    stale_lock(grid, client, group=1, owner=ids[1], number=5, deadline_ms=now_ms + 600_000)
    assert not circle_at_one_moment(client, grid.manifest, circle)[0]
    stale_lock(grid, client, group=1, owner=ids[1], deadline_ms=now_ms + 600_000)
    assert circle_at_one_moment(client, grid.manifest, circle)[0]
    client.delete(wait_key("lab", ids[0]))
    assert not circle_at_one_moment(client, grid.manifest, circle)[0]


def ask_of(report: LockReport) -> BreakLock:
    if report.stale:
        return BreakLock(item=report.stale[0].item)
    return BreakLock(item=report.deadlocks[0].victim, circle=report.deadlocks[0].links)


def test_a_victim_is_released_while_the_circle_stands_and_never_after(
    grid: Grid, client: valkey.Valkey, valkey_server: ScratchValkey
) -> None:
    """One is told so and the other goes on; a circle that has dissolved meanwhile is left alone."""
    with deadlocked(valkey_server.socket_url) as (left, right):
        until(lambda: bool(looked(client, grid).deadlocks))
        ask = ask_of(looked(client, grid))
        before, new = saved_form(client, ask), wanted(client, ask, recovery=RECOVERY)
        other = ask.model_copy(
            update={"circle": (ask.circle[0].model_copy(update={"since_ms": 5}), *ask.circle[1:])}
        )
        assert swap(client, other, before, new, ()) is Answer.CHANGED
        assert problem_after(client, ask) == "right still holds it"
        assert took_effect(client, ask, RECOVERY) is False
        assert swap(client, ask, before, new, ()) is Answer.WRITTEN
        assert lock_owners.told(left) == "held"
        assert lock_owners.told(right) == "LockLostError"
        assert problem_after(client, ask) == ""
        assert took_effect(client, ask, RECOVERY) is True  # although the other has taken it since
        with pytest.raises(ChangedError, match="does not hold it any more"):
            wanted(client, ask, recovery=RECOVERY)


def stale_lock(grid: Grid, client: valkey.Valkey, **other: object) -> Lock:
    fields = {
        "grid": grid.manifest.uuid,
        "group": 0,
        "state": LockState.HELD,
        "number": 4,
        "nonce": bytes(16),
        "owner": uuid.UUID(int=1),
        "since_ms": 1000,
        "deadline_ms": 2000,
        "name": b"dead",
        **other,
    }
    found = Lock(**fields)
    client.set(lock_key("lab", found.group), pack_lock(found))
    return found


def test_a_stale_lock_is_broken_and_put_back_exactly(grid: Grid, client: valkey.Valkey) -> None:
    """With the next fence; one that its owner has renewed, or that was taken since, is left alone."""
    found = stale_lock(grid, client)
    ask = ask_of(looked(client, grid))
    before, new = saved_form(client, ask), wanted(client, ask, recovery=RECOVERY)
    assert before == pack_lock(found)
    stale_lock(grid, client, deadline_ms=2**60)
    assert swap(client, ask, before, new, ()) is Answer.CHANGED
    with pytest.raises(ChangedError, match="dead has renewed its lease"):
        wanted(client, ask, recovery=RECOVERY)
    stale_lock(grid, client)
    assert swap(client, ask, before, new, ()) is Answer.WRITTEN
    broken, _ = read_lock(client, grid.manifest, 0)
    assert isinstance(broken, Lock)
    assert (broken.state, broken.number, str(broken.broken_by)) == (LockState.BROKEN, 5, RECOVERY)
    assert broken.nonce != found.nonce
    assert swap(client, ask, saved_form(client, ask), before, ()) is Answer.WRITTEN
    assert client.get(lock_key("lab", 0)) == pack_lock(found)
    assert swap(client, ask, before, new, ()) is Answer.WRITTEN
    with grid.lock([FIRST]):
        assert swap(client, ask, new, before, ()) is Answer.CHANGED
        grid.write_cells([FIRST], grid.read_cells([FIRST]))


def test_whether_a_step_took_effect_is_told_by_the_lock(grid: Grid, client: valkey.Valkey) -> None:
    """Not by one that is gone, nor by one that another recovery has broken since."""
    stale_lock(grid, client)
    ask = ask_of(looked(client, grid))
    assert took_effect(client, ask, RECOVERY) is False
    stale_lock(grid, client, number=9)
    assert took_effect(client, ask, RECOVERY) is False
    stale_lock(grid, client, number=9, broken_by=uuid.UUID(int=7))
    assert took_effect(client, ask, RECOVERY) is None
    client.delete(lock_key("lab", 0))
    assert took_effect(client, ask, RECOVERY) is None


def test_what_else_looks_like_a_lock_is_named_and_escaped(grid: Grid, client: valkey.Valkey) -> None:
    """Names and values may hold anything; keys of another grid, and the grid's own, are none of it."""
    client.set("m8:{lab}:my-LOCK", "pid 5", nx=True)
    client.set(b"m8:{lab/3}:lock\x1b[31m\xff", "x" * 1_000_000, nx=True)
    client.set("m8:{lab2}:lock", "another grid's")
    client.set("unlocked", "no")
    client.set(lock_key("lab", 5), b"\x1b[31mmine")
    client.rpush(lock_key("lab", 6), "x")
    with grid.lock([FIRST]):
        report = looked(client, grid)
    assert report.foreign == ("m8:{lab/3}:lock\\x1b[31m\\xff", "m8:{lab}:my-LOCK")
    assert [group for group, _ in report.not_locks] == [5, 6]
    result = look_at_locks(Target(name="lab", kind="grid", url=client_url(client), grid="lab"), AROUND)
    assert "\x1b" not in result.model_dump_json()
    assert {finding.code for finding in result.findings} == {"grid.foreign_lock"}


def client_url(client: valkey.Valkey) -> str:
    return f"unix://{client.connection_pool.connection_kwargs['path']}"


def test_records_of_waiting_that_are_none_are_left_out(grid: Grid, client: valkey.Valkey) -> None:
    """A list, rubbish, another grid's: none of it makes a circle or stops the look."""
    now_ms = int(time.time() * 1000)
    for group in (0, 1):
        stale_lock(grid, client, group=group, owner=uuid.UUID(int=group + 1), deadline_ms=now_ms + 600_000)
    key = [wait_key("lab", uuid.UUID(int=each)) for each in (1, 2)]
    fine = [
        Wait(grid.manifest.uuid, 2 - each, uuid.UUID(int=each), 1000, now_ms + 600_000) for each in (1, 2)
    ]
    client.set(key[0], pack_wait(fine[0]))
    for make in (
        lambda: client.rpush(key[1], "x"),
        lambda: client.set(key[1], b"rubbish" * 100_000),
        lambda: client.set(key[1], pack_wait(Wait(uuid.UUID(int=9), 0, uuid.UUID(int=2), 1000, 2**60))),
    ):
        client.delete(key[1])
        make()
        assert looked(client, grid).deadlocks == ()
    client.set(key[1], pack_wait(fine[1]))
    assert len(looked(client, grid).deadlocks) == 1


def test_refused_writes_are_read_with_their_time(grid: Grid, client: valkey.Valkey) -> None:
    """Whatever somebody made of the counter."""
    client.set(conflicts_key("lab"), 250, px=3_000_000)
    report = looked(client, grid)
    assert report.refused_writes == 250
    assert 600 <= report.refused_within_s < 660
    for value in (b"-3", b"x" * 100_000, b"\xff"):
        client.set(conflicts_key("lab"), value)
        assert looked(client, grid).refused_writes == 0
