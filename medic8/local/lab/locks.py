"""Faults with locks: processes that really take them through the library, and are really killed."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import valkey

from medic8.errors import RefusedError, TransientError
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Harm
from medic8.model.locks import LockReport
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import lock_key
from medic8.targets.grid.layout import BLOCK_CELLS, block_at
from medic8.targets.grid.lock_look import survey_locks

#: The lease of a lock that is to become stale, the shortest there is; of one that is to last.
_SHORT_LEASE_S = 1.0
_LONG_LEASE_S = 600.0

#: Pairs of processes of one deadlock fault.
_MOST_PAIRS = 8

_PATIENCE_S = 30.0
_PAUSE_S = 0.05

#: What of a client's connection its processes need.
_CONNECTION = ("host", "port", "path", "db", "username", "password")


def stale_lock(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have a process take the locks of *strength* groups, and kill it; its leases have lapsed then."""
    groups = _groups(bench, rng, strength, most=bench.manifest.layout.groups, per=1)
    before = len(_survey(bench).stale)
    with _owner(bench, "lab-stale", groups, lease_s=_SHORT_LEASE_S):
        pass  # killed at the end
    _until(lambda: len(_survey(bench).stale) >= before + strength, "the leases lapse")
    return tuple(
        Harm(
            what=f"the lock of group {group} is held by lab-stale, which was killed",
            key=lock_key(bench.grid, group),
        )
        for group in sorted(groups)
    )


def deadlock(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """
    Have *strength* pairs of processes hold a lock each and wait for each other's.

    They are killed once they do, and what they left lasts for ten minutes: the
    library, as anybody who looks, takes them for alive as long as their leases last.
    """
    groups = _groups(bench, rng, strength, most=_MOST_PAIRS, per=2)
    before = len(_survey(bench).deadlocks)
    harms: list[Harm] = []
    for number, (left, right) in enumerate(zip(groups[::2], groups[1::2], strict=True), start=before + 1):
        names = f"lab-left-{number}", f"lab-right-{number}"
        with (
            _owner(bench, names[0], [left], lease_s=_LONG_LEASE_S) as one,
            _owner(bench, names[1], [right], lease_s=_LONG_LEASE_S) as other,
        ):
            _tell(one, right)
            _tell(other, left)
            _until(partial(_has_deadlocks, bench, number), "the two wait for each other")
        harms += [
            Harm(
                what=f"{name} holds the lock of group {mine} and waits for that of group {theirs}",
                key=lock_key(bench.grid, mine),
            )
            for name, mine, theirs in ((names[0], left, right), (names[1], right, left))
        ]
    return tuple(harms)


def _groups(bench: Bench, rng: random.Random, strength: int, *, most: int, per: int) -> list[int]:
    """Groups whose locks nobody holds, *per* for each of *strength*."""
    layout = bench.manifest.layout
    report = _survey(bench)
    taken = {each.item.group for each in report.stale}
    taken |= {link.lock.group for each in report.deadlocks for link in each.links}
    free = [group for group in range(layout.groups) if group not in taken]
    if not 0 < strength <= min(most, len(free) // per):
        raise RefusedError(f"strength {strength}: from 1 to {min(most, len(free) // per)} are possible here")
    return rng.sample(free, strength * per)


def _has_deadlocks(bench: Bench, count: int) -> bool:
    return len(_survey(bench).deadlocks) >= count


def _survey(bench: Bench) -> LockReport:
    return survey_locks(bench.client, bench.manifest)[0]


@contextlib.contextmanager
def _owner(
    bench: Bench, name: str, groups: Sequence[int], *, lease_s: float
) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the locks of *groups*; killed at the end."""
    options = bench.client.connection_pool.connection_kwargs
    asked = {
        "connection": {key: options[key] for key in _CONNECTION if options.get(key) is not None},
        "grid": bench.grid,
        "owner": name,
        "groups": list(groups),
        "lease_s": lease_s,
    }
    process = subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _write(process, json.dumps(asked))  # not as an argument: it may have a password
        if process.stdout is None or process.stdout.readline().strip() != "held":
            raise RefusedError(f"{name} could not take the locks of groups {', '.join(map(str, groups))}")
        yield process
    finally:
        process.kill()
        process.communicate()


def _tell(process: subprocess.Popen[str], group: int) -> None:
    """Have it wait for the lock of *group* as well."""
    _write(process, str(group))


def _write(process: subprocess.Popen[str], line: str) -> None:
    if process.stdin is None:
        raise TypeError("a process of the lab is started with a pipe")
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _until(is_so: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() >= deadline_s:
            raise TransientError(f"the lab waited {_PATIENCE_S:.0f} s until {what}")
        time.sleep(_PAUSE_S)


def _hold() -> None:
    """Hold what standard input asks for, take one more for each line, and end with it."""
    asked = json.loads(sys.stdin.readline())
    options = asked["connection"]
    if "path" in options:
        options["unix_socket_path"] = options.pop("path")
    with valkey.Valkey(**options) as client:
        grid = Grid.open(client, asked["grid"], owner=asked["owner"])
        lease_s = asked["lease_s"]
        with grid.lock(_cells(asked["groups"]), lease_s=lease_s):
            sys.stdout.write("held\n")
            sys.stdout.flush()
            for line in sys.stdin:
                with grid.lock(_cells([int(line)]), lease_s=lease_s, timeout_s=lease_s):
                    sys.stdin.read()


def _cells(groups: Sequence[int]) -> list[int]:
    """The first cell of each of *groups*."""
    return [block_at(group, 0) * BLOCK_CELLS for group in groups]


if __name__ == "__main__":
    _hold()
