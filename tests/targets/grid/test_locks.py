"""Locks keep others out, outlive who died, and let no late owner write."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator

import lock_owners
import numpy as np
import pytest
import valkey
from lossy_way import lossy_way

from medic8.errors import ConfigurationError, RefusedError, UnreachableError
from medic8.local.scratch import ScratchValkey
from medic8.targets.grid.compare_and_write import Road
from medic8.targets.grid.errors import LockBusyError, LockLostError, OutdatedError
from medic8.targets.grid.format import CELL, cells
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import conflicts_key, lock_key, wait_key
from medic8.targets.grid.lock_reading import now_ms_of, read_lock
from medic8.targets.grid.lock_record import Lock, LockState, pack_lock, unpack_wait
from medic8.targets.valkey.client import connection

ROADS = (Road.SCRIPT, Road.WATCH)
RECOVERY = uuid.UUID("b56bdd09-5544-473c-a459-9d3befa78ac5")
#: The first cells of blocks 0 and 1, which lie in groups 0 and 1.
FIRST, SECOND = 0, 2048


@pytest.fixture
def grid(client: valkey.Valkey) -> Grid:
    """Get an empty grid of 256 blocks in 64 groups."""
    return Grid.create(client, "lab", 8, owner="the test")


@pytest.fixture
def another(valkey_server: ScratchValkey, grid: Grid) -> Iterator[Grid]:
    """Get the same grid as another owner sees it."""
    assert grid
    with connection(valkey_server.socket_url) as found:
        yield Grid.open(found, "lab", owner="another")


def lock_of(client: valkey.Valkey, grid: Grid, group: int) -> Lock:
    value, _ = read_lock(client, grid.manifest, group)
    assert isinstance(value, Lock)
    return value


def until(what: Callable[[], bool], *, within_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def cell(number: int) -> np.ndarray:
    found = cells(1)
    found["id"] = number
    return found


def break_it(client: valkey.Valkey, grid: Grid, group: int) -> Lock:
    broken = lock_of(client, grid, group).broken(os.urandom(16), RECOVERY, now_ms_of(client))
    client.set(lock_key("lab", group), pack_lock(broken))
    return broken


def renewed_unheard(client: valkey.Valkey, grid: Grid, group: int) -> Lock:
    """The lock as the server has it after a renewal whose reply was lost."""
    renewed = lock_of(client, grid, group).renewed(now_ms_of(client) + 20_000)
    client.set(lock_key("lab", group), pack_lock(renewed))
    return renewed


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("road", ROADS)
def test_who_counts_under_a_lock_loses_no_count(grid: Grid, valkey_server: ScratchValkey, road: Road) -> None:
    """Three processes read and write as two acts, and nothing is written over."""
    with contextlib.ExitStack() as stack:
        counters = [
            stack.enter_context(ended(lock_owners.counting(valkey_server.socket_url, 40, road=road)))
            for _ in range(3)
        ]
        assert [counter.wait(60) for counter in counters] == [0, 0, 0]
    assert grid.read_cells([5])["id"] == 120


def test_a_lock_is_taken_and_given_back_with_the_next_fence_each_time(
    grid: Grid, client: valkey.Valkey
) -> None:
    """The key stays, so that the number goes on; the nonce is another."""
    seen = []
    for _ in range(2):
        with grid.lock([FIRST]) as held:
            held.check()
            assert held.groups == (0,)
            seen.append(lock_of(client, grid, 0))
        assert lock_of(client, grid, 0).state is LockState.FREE
    assert [lock.number for lock in seen] == [1, 2]
    assert [(lock.is_held, lock.name) for lock in seen] == [(True, b"the test")] * 2
    assert seen[0].nonce != seen[1].nonce
    assert client.pttl(lock_key("lab", 0)) == -1
    assert abs(seen[0].deadline_ms - now_ms_of(client) - 30_000) < 5_000


def test_a_range_or_the_whole_grid_is_all_of_its_groups(grid: Grid, client: valkey.Valkey) -> None:
    """Ascending; what is held already is not taken twice; too many are refused."""
    with grid.lock() as whole:
        assert whole.groups == tuple(range(64))
        with grid.lock(range(FIRST, 3 * 2048)) as part:
            assert part.groups == (0, 1, 2)
        assert lock_of(client, grid, 0).is_held
        grid.write_cells([SECOND], cell(7))
    assert not any(lock_of(client, grid, group).is_held for group in range(64))
    grid.grow(65_536)
    with pytest.raises(ConfigurationError, match="131072 parity groups are to be locked; the limit is 1024"):
        grid.lock().__enter__()


def test_who_waits_says_so_and_gives_up_in_time(grid: Grid, another: Grid, client: valkey.Valkey) -> None:
    """Whoever holds it is named; what was taken on the way is given back."""
    with grid.lock([SECOND]):
        with pytest.raises(
            LockBusyError, match=r"the lock of group 1 is held by the test for .*waited for 100 ms"
        ):
            another.lock([FIRST, SECOND], timeout_s=0.1).__enter__()
        assert not lock_of(client, grid, 0).is_held
        assert not list(client.scan_iter(match="m8:{lab}:wait:*"))


def test_a_record_of_waiting_says_who_waits_for_what(
    grid: Grid, client: valkey.Valkey, valkey_server: ScratchValkey
) -> None:
    """And goes once the lock was had."""
    with contextlib.ExitStack() as held:
        held.enter_context(grid.lock([SECOND]))
        waiter = lock_owners.started(valkey_server.socket_url, "waiter", SECOND)
        with ended(waiter):
            until(lambda: bool(list(client.scan_iter(match="m8:{lab}:wait:*"))))
            (key,) = client.scan_iter(match="m8:{lab}:wait:*")
            owner = uuid.UUID(key.decode()[-32:])
            wait = unpack_wait(client.get(key), grid.manifest.uuid, owner)
            assert (wait.group, wait.owner, wait.name) == (1, owner, b"waiter")
            assert 0 < client.pttl(key) <= 1000
            assert key.decode() == wait_key("lab", owner)
            held.close()
            assert lock_owners.told(waiter) == "held"
            assert not list(client.scan_iter(match="m8:{lab}:wait:*"))


@pytest.mark.parametrize("road", ROADS)
def test_a_late_owner_writes_nothing(client: valkey.Valkey, road: Road) -> None:
    """Neither cells nor whole groups, whichever way the comparison is made."""
    Grid.create(client, "lab", 8)
    late = Grid.open(client, "lab", road=road)
    broken: list[Lock] = []

    def work() -> None:
        with late.lock([FIRST]):
            late.write_cells([FIRST], cell(1))
            broken.append(break_it(client, late, 0))
            for write in (
                lambda: late.write_cells([FIRST], cell(2)),
                lambda: late.fill(lambda _: np.zeros(2048, CELL), groups=[0]),
                lambda: late.write_cells([FIRST], cell(3)),
            ):
                with pytest.raises(LockLostError):
                    write()

    with pytest.raises(LockLostError, match="the lock of group 0 was lost: it was broken"):
        work()
    assert late.read_cells([FIRST])["id"] == 1
    assert [lock_of(client, late, 0)] == broken


@pytest.mark.parametrize("road", ROADS)
def test_whole_groups_are_replaced_under_a_lock(client: valkey.Valkey, road: Road) -> None:
    """While the thread renews the lease all the time."""
    Grid.create(client, "lab", 8)
    grid = Grid.open(client, "lab", road=road)
    block = np.zeros(2048, CELL)
    block["id"] = 3
    with grid.lock([FIRST], lease_s=1):
        grid.fill(lambda _: block, groups=[0])
    assert (grid.read_cells([FIRST, FIRST + 2047])["id"] == 3).all()


def test_a_lease_is_renewed_as_long_as_its_owner_lives(
    client: valkey.Valkey, grid: Grid, valkey_server: ScratchValkey
) -> None:
    """A stopped owner's lease lapses by the server's clock; going on, it writes, as nobody was let in."""
    with ended(lock_owners.started(valkey_server.socket_url, "slow", FIRST)) as slow:
        assert lock_owners.told(slow) == "held"
        first = lock_of(client, grid, 0)
        until(lambda: lock_of(client, grid, 0).deadline_ms > first.deadline_ms + 1000)
        assert lock_of(client, grid, 0).identity == first.identity
        os.kill(slow.pid, signal.SIGSTOP)
        until(lambda: lock_of(client, grid, 0).is_stale(now_ms_of(client)))
        with pytest.raises(LockBusyError, match=r"held by slow for .*lease lapsed .* ago"):
            grid.lock([FIRST], timeout_s=0).__enter__()
        os.kill(slow.pid, signal.SIGCONT)
        assert lock_owners.told(slow, f"write {FIRST}") == "written"
        until(lambda: not lock_of(client, grid, 0).is_stale(now_ms_of(client)))


def test_a_killed_owner_leaves_a_stale_lock_and_a_stopped_one_is_fenced(
    client: valkey.Valkey, grid: Grid, valkey_server: ScratchValkey
) -> None:
    """The next owner's fence is higher; the stopped one is told when it goes on."""
    with ended(lock_owners.started(valkey_server.socket_url, "dead", FIRST)) as dead:
        assert lock_owners.told(dead) == "held"
        dead.kill()
        until(lambda: lock_of(client, grid, 0).is_stale(now_ms_of(client)))
    with ended(lock_owners.started(valkey_server.socket_url, "late", SECOND)) as late:
        assert lock_owners.told(late) == "held"
        os.kill(late.pid, signal.SIGSTOP)
        broken = break_it(client, grid, 1)
        with grid.lock([SECOND]):
            grid.write_cells([SECOND], cell(5))
            mine = lock_of(client, grid, 1)
            assert (mine.number, mine.broken_by) == (broken.number + 1, RECOVERY)
            os.kill(late.pid, signal.SIGCONT)
            assert lock_owners.told(late, f"write {SECOND}") == "LockLostError"
    assert grid.read_cells([SECOND])["id"] == 5


def test_who_waits_for_one_more_lets_go_of_all_once_one_was_broken(
    client: valkey.Valkey, grid: Grid, valkey_server: ScratchValkey
) -> None:
    """So a victim of a deadlock is out of everybody's way, soon."""
    started = lock_owners.started(
        valkey_server.socket_url, "victim", FIRST, 2 * SECOND, lease_s=600, timeout_s=20
    )
    with grid.lock([SECOND]), ended(started) as victim:  # it does not renew before it gives up
        assert lock_owners.told(victim) == "held"
        assert lock_owners.told(victim, f"lock {SECOND}") == "waits"
        break_it(client, grid, 0)
        assert lock_owners.told(victim) == "LockLostError"
        assert not lock_of(client, grid, 2).is_held


@pytest.mark.parametrize("road", ROADS)
def test_a_renewal_whose_reply_was_lost_loses_no_lock(client: valkey.Valkey, road: Road) -> None:
    """The next renewal and the release go on from what the server has, if the fence is ours."""
    Grid.create(client, "lab", 8)
    grid = Grid.open(client, "lab", road=road)
    with grid.lock([FIRST], lease_s=1) as held:
        unheard = renewed_unheard(client, grid, 0)
        until(lambda: lock_of(client, grid, 0).deadline_ms < unheard.deadline_ms)  # renewed once more
        held.check()
        grid.write_cells([FIRST], cell(1))
    assert lock_of(client, grid, 0).state is LockState.FREE
    with grid.lock([FIRST], lease_s=600):  # it is released before it is renewed
        renewed_unheard(client, grid, 0)
    assert lock_of(client, grid, 0).state is LockState.FREE


def test_a_renewal_finds_out_that_another_took_the_lock(
    grid: Grid, another: Grid, client: valkey.Valkey
) -> None:
    """Another fence is another's lock: it is neither renewed nor released."""
    with contextlib.ExitStack() as held:

        def work() -> None:
            with grid.lock([FIRST], lease_s=1):
                break_it(client, grid, 0)
                held.enter_context(another.lock([FIRST], lease_s=600))
                until(lambda: bool(grid._locks._lost))

        with pytest.raises(LockLostError, match="the lock of group 0 was lost: it was broken, or taken"):
            work()
        assert lock_of(client, grid, 0).is_held
        assert lock_of(client, grid, 0).number == 3
    assert lock_of(client, grid, 0).state is LockState.FREE


def test_leases_are_renewed_no_longer_than_asked_for(client: valkey.Valkey, grid: Grid) -> None:
    """A process that hangs does not keep others out for good."""

    def hang() -> None:
        with grid.lock([FIRST], lease_s=1, most_s=0.1):
            until(lambda: lock_of(client, grid, 0).is_stale(now_ms_of(client)))
            grid.write_cells([FIRST], cell(1))

    with pytest.raises(LockLostError, match="held for longer than was asked for"):
        hang()
    assert not lock_of(client, grid, 0).is_held


def test_a_checked_grid_takes_no_write_without_lock_or_version(client: valkey.Valkey) -> None:
    """Neither cells nor whole groups; and what it is stands in the manifest."""
    Grid.create(client, "lab", 8, takes_checked_only=True)
    grid = Grid.open(client, "lab")
    for write in (
        lambda: grid.write_cells([FIRST], cell(1)),
        lambda: grid.fill(lambda _: np.zeros(2048, CELL), groups=[0]),
        lambda: grid.write_range(FIRST, cell(1)),
    ):
        with pytest.raises(RefusedError, match="takes checked writes only"):
            write()
    with grid.lock([FIRST]):
        grid.write_cells([FIRST], cell(1))
        with pytest.raises(RefusedError, match="takes checked writes only"):
            grid.write_cells([SECOND], cell(1))
    grid.write_cells([SECOND], cell(2), expected=grid.versions([SECOND]))
    assert list(grid.read_cells([FIRST, SECOND])["id"]) == [1, 2]
    grid.grow(9)
    assert Grid.open(client, "lab").manifest.takes_checked_only


def test_nobody_writes_over_what_he_has_not_read(grid: Grid, another: Grid, client: valkey.Valkey) -> None:
    """A version that moved on is refused and counted, for an hour; one that did not is taken."""
    before = grid.versions([FIRST, SECOND])
    assert before == {0: bytes(8), 1: bytes(8)}
    another.write_cells([FIRST], cell(1))
    with pytest.raises(OutdatedError, match="somebody else has written"):
        grid.write_cells([FIRST], cell(2), expected=before)
    grid.write_cells([SECOND], cell(3), expected=before)
    assert list(grid.read_cells([FIRST, SECOND])["id"]) == [1, 3]
    assert client.get(conflicts_key("lab")) == b"1"
    assert 0 < client.pttl(conflicts_key("lab")) <= 3_600_000
    with another.lock([FIRST]), pytest.raises(LockBusyError, match="held by another"):
        grid.write_cells([FIRST], cell(4), expected=grid.versions([FIRST]))


def test_a_large_checked_write_goes_on_with_its_own_version(client: valkey.Valkey) -> None:
    """More pages of a group than fit into one moment."""
    grid = Grid.create(client, "lab", 16)
    indices = [(member * 64 * 16 + page) * 128 for member in range(8) for page in range(16)]
    content = cells(len(indices))
    content["id"] = np.arange(len(indices))
    grid.write_cells(indices, content, expected=grid.versions(indices))
    assert (grid.read_cells(indices) == content).all()


def test_what_is_no_lock_is_not_written_over(grid: Grid, client: valkey.Valkey) -> None:
    """Somebody's own SET NX, or a list."""
    for make in (lambda key: client.set(key, b"mine"), lambda key: client.rpush(key, "x")):
        client.delete(lock_key("lab", 0))
        make(lock_key("lab", 0))
        with pytest.raises(RefusedError, match="is no lock"):
            grid.lock([FIRST]).__enter__()
        with pytest.raises(RefusedError, match="is no lock"):
            grid.write_cells([FIRST], cell(1), expected=grid.versions([FIRST]))
    grid.write_cells([FIRST], cell(1))


def test_a_name_that_cannot_be_shown_is_refused_and_one_that_somebody_wrote_is_escaped(
    grid: Grid, client: valkey.Valkey
) -> None:
    """Nothing in it is obeyed by a terminal."""
    for name in ("a\x1b[31m", "x" * 64):
        with pytest.raises(ConfigurationError, match="printable"):
            Grid.open(client, "lab", owner=name)
    now_ms = now_ms_of(client)
    evil = Lock(
        grid.manifest.uuid,
        0,
        LockState.HELD,
        1,
        bytes(16),
        uuid.uuid4(),
        now_ms,
        now_ms + 9000,
        None,
        b"\x1b[31m\xff",
    )
    client.set(lock_key("lab", 0), pack_lock(evil))
    with pytest.raises(LockBusyError, match=r"held by \\x1b\[31m\\xff for"):
        grid.lock([FIRST], timeout_s=0).__enter__()


def test_locks_do_without_scripts(grid: Grid, client: valkey.Valkey, valkey_server: ScratchValkey) -> None:
    """A user who may not run EVAL takes, writes under and gives back a lock."""
    client.acl_setuser(
        "plain", enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=["-eval", "-evalsha"]
    )
    url = valkey_server.url.replace("valkey://", "valkey://plain:x@")
    with connection(url) as limited:
        mine = Grid.open(limited, "lab")
        with mine.lock([FIRST]):
            mine.write_cells([FIRST], cell(4))
            assert lock_of(client, grid, 0).is_held
    assert grid.read_cells([FIRST])["id"] == 4
    assert not lock_of(client, grid, 0).is_held


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("arrives", [True, False])
def test_a_lock_whose_taking_was_not_answered_is_ours_or_is_taken(
    client: valkey.Valkey, grid: Grid, valkey_server: ScratchValkey, road: Road, arrives: bool
) -> None:
    """Also where nothing arrived; it is taken once, and given back although the connection is gone."""
    seen: list[Lock] = []

    def work() -> None:
        with mine.lock([FIRST], timeout_s=0), contextlib.suppress(UnreachableError):
            seen.append(lock_of(client, grid, 0))
            raise UnreachableError

    with lossy_way(valkey_server.port) as way, connection(way.url) as lossy:
        mine = Grid.open(lossy, "lab", owner="unheard", road=road)
        replies = iter([True])
        way.arrives, way.is_lost = arrives, lambda: next(replies, False)
        work()
    assert [(lock.is_held, lock.number, lock.name) for lock in seen] == [(True, 1, b"unheard")]
    assert [lock_of(client, grid, 0)] == [seen[0].released(lock_of(client, grid, 0).since_ms)]


def test_a_lock_whose_giving_back_was_not_answered_is_not_said_to_be_lost(
    client: valkey.Valkey, grid: Grid, valkey_server: ScratchValkey
) -> None:
    """Also where another has taken it since; but if it was broken, it was lost."""
    with lossy_way(valkey_server.port) as way:

        def work(then: Callable[[], object]) -> None:
            way.is_lost = lambda: False
            with connection(way.url) as lossy, Grid.open(lossy, "lab").lock([FIRST], lease_s=600):
                replies = iter([True])

                def is_lost() -> bool:
                    is_first = next(replies, False)
                    if not is_first:
                        then()
                    return is_first

                way.is_lost = is_lost

        work(lambda: None)
        assert lock_of(client, grid, 0).state is LockState.FREE
        with contextlib.ExitStack() as held:
            work(lambda: held.enter_context(grid.lock([FIRST])))
            assert lock_of(client, grid, 0).name == b"the test"
        way.arrives = False
        with pytest.raises(LockLostError):
            work(lambda: break_it(client, grid, 0))


def test_who_is_never_the_first_gives_up_in_time(
    client: valkey.Valkey, grid: Grid, valkey_server: ScratchValkey
) -> None:
    """And does not keep the server busy meanwhile: each try comes later than the one before."""
    tries: list[int] = []

    def is_lost() -> bool:
        with grid.lock([FIRST]):
            tries.append(lock_of(client, grid, 0).number)
        return len(tries) > 300  # to end, if it never did

    with lossy_way(valkey_server.port) as way, connection(way.url) as late:
        mine = Grid.open(late, "lab", owner="late")
        way.is_lost = is_lost
        with pytest.raises(
            LockBusyError, match="others are faster each time to take the lock of group 0; waited"
        ):
            mine.lock([FIRST], timeout_s=0.4).__enter__()
    assert 2 <= len(tries) < 60
    assert lock_of(client, grid, 0).name == b"the test"
