"""
Locks of a grid that are broken, and what is exact: every byte, by the words of docs/grid-format.md.

*The same*: somebody takes a lock that is to be broken, or was, as whoever does that must, with the next fence
and the mark of the recovery that broke it last; or its owner renews it. *Other*: other locks and keys.
"""

from __future__ import annotations

import contextlib
import random
import struct
import time
import uuid as uuids
from collections.abc import Iterator, Mapping
from pathlib import Path

import xxhash

from medic8.local.scratch import scratch_valkey
from medic8.model.target import Target
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.kind import KIND
from medic8.targets.valkey.client import connection
from tests.crash.reader import Ended, Verdict, misplaced, problems_of_claims
from tests.crash.scenes import Expected, Scene, Written, around, everything_in, plain, plan_by

NAME = "lab"
CLAIM = "medic8:claim"
#: Groups whose locks are staged; those beside, which others lock.
GROUPS, BESIDE = (0, 1, 2), (10, 11, 12)
_NO_RECOVERY = bytes(16)
_FAR_MS = 10**15


def lock_key(group: int) -> str:
    """Key of a group's lock."""
    return f"m8:{{{NAME}/{group}}}:lock"


def owner(number: int) -> bytes:
    """Id of an owner."""
    return uuids.UUID(int=number + 1).bytes


def _sealed(body: bytes) -> bytes:
    return body + struct.pack("<Q", xxhash.xxh3_64_intdigest(body))


def _lock(
    uuid: bytes,
    group: int,
    state: int,
    fence: tuple[int, bytes],
    by: int,
    times: tuple[int, int],
    broken_by: bytes = _NO_RECOVERY,
) -> bytes:
    name = f"owner-{by}".encode()
    head = b"m8lk" + struct.pack("<HBB", 1, state, 0) + uuid + struct.pack("<QQ", group, fence[0])
    rest = fence[1] + owner(by) + struct.pack("<QQ", *times) + broken_by
    return _sealed(head + rest + bytes([len(name)]) + name.ljust(63, b"\0"))


def _wait(uuid: bytes, group: int, by: int) -> bytes:
    head = b"m8wt" + struct.pack("<HH", 1, 0) + uuid + struct.pack("<Q", group) + owner(by)
    return _sealed(head + struct.pack("<QQ", 1000, _FAR_MS) + b"\1w".ljust(64, b"\0"))


class LockScene:
    """Three locks of a grid on a server of its own; see `tests.crash.scenes.Scene`."""

    exact_before = True

    def __init__(self, url: str, folder: Path, strategy: str) -> None:
        self.target = Target(
            name=NAME, kind="grid", url=url, grid=NAME, mode="act", allow=tuple(KIND.strategies)
        )
        self._is_stale = strategy == "break_stale_lock"
        with connection(url) as client:
            self._uuid = Grid.create(client, NAME, 8).manifest.uuid.bytes
        with plain(url) as client:
            self._manifests = {
                key: client.get(key)
                for key in client.scan_iter(match="m8:*")
                if client.type(key) == b"string"
            }
        deadline_ms = 2000 if self._is_stale else _FAR_MS
        self._found = {
            group: _lock(self._uuid, group, 1, (7, b"n" * 16), group, (1000 + group, deadline_ms))
            for group in GROUPS
        }
        self.stage()
        self.plan = plan_by(strategy, self.target, around(folder))
        # The circle 0 -> 1 -> 2 -> 0: group 2 was locked last, so its owner is the cheapest victim.
        self._broken = GROUPS if self._is_stale else (2,)
        if {step.arguments["item"]["group"] for unit in self.plan.units for step in unit.steps} != set(
            self._broken
        ):
            raise AssertionError(f"another plan than that for the locks of groups {self._broken}")

    def stage(self) -> None:
        """Nothing but the manifest, the three locks and, for a deadlock, what their owners wait for."""
        with plain(self.target.address) as client:
            client.flushall(asynchronous=False)
            client.mset(self._manifests)
            client.mset({lock_key(group): value for group, value in self._found.items()})
            for group in () if self._is_stale else GROUPS:
                wait = _wait(self._uuid, (group + 1) % 3, group)
                client.set(f"m8:{{{NAME}}}:wait:{owner(group).hex()}", wait, px=3_600_000)

    def meddle(self, rng: random.Random) -> Written:
        """Take a lock that is to be broken, or was, or renew it as its owner."""
        written: Written = {}
        with plain(self.target.address) as client:
            group = rng.choice(self._broken)
            value = client.get(lock_key(group))
            if value[:72] == self._found[group][:72] and rng.random() < 0.5:
                deadline_ms = _FAR_MS + rng.randrange(1000)
                new = _lock(self._uuid, group, 1, (7, b"n" * 16), group, (1000 + group, deadline_ms))
            else:
                (number,) = struct.unpack_from("<Q", value, 32)
                fence, by = (number + 1, rng.randbytes(16)), rng.randrange(50, 60)
                new = _lock(self._uuid, group, 1, fence, by, (5000, _FAR_MS), value[88:104])
            client.set(lock_key(group), new)
            if self._is_stale or new[:72] != value[:72]:
                written[f"lock {group}"] = new.hex()
        return written

    def wander(self, rng: random.Random) -> Written:
        """Lock a group beside, or write another key."""
        with plain(self.target.address) as client:
            if rng.random() < 0.5:
                group = rng.choice(BESIDE)
                fence = (rng.randrange(1, 100), rng.randbytes(16))
                value = _lock(self._uuid, group, 1, fence, rng.randrange(50, 60), (5000, _FAR_MS))
                client.set(lock_key(group), value)
                return {f"lock {group}": value.hex()}
            name, value = f"other:{rng.randrange(8)}", rng.randbytes(16)
            client.set(name, value)
            return {f"key {name}": value.hex()}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Each lock is what was found, or broken by the recovery with the next fence, or somebody else's."""
        verdict = Verdict("not_opened" if ended is None else ended.state)
        with plain(self.target.address) as client:
            verdict.is_claimed, problem = problems_of_claims([(client.get(CLAIM), client.pttl(CLAIM))], ended)
            now = {group: client.get(lock_key(group)) for group in (*GROUPS, *BESIDE)}
            for place, content in written.items():
                what, name = place.split()
                there = now[int(name)] if what == "lock" else client.get(name)
                if there != bytes.fromhex(content):
                    verdict.lost.append(place)
        verdict.wrong += [problem] if problem else []
        steps = {int(step.arguments["item"]["group"]): step for step in ended.steps} if ended else {}
        for group in GROUPS:
            theirs = f"lock {group}" in written
            compared = 176 if self._is_stale else 72  # a deadlocked owner goes on renewing its lease
            is_found = (now[group] or b"")[:compared] == self._found[group][:compared]
            holds = "saved" if is_found else "other"
            if ended is not None and self._is_broken(group, now[group] or b"", ended):
                holds = "written"
            if group not in steps:
                if holds != "saved" and not theirs:
                    verdict.wrong.append(f"the lock of group {group} was changed, and no step was for it")
            elif problem := misplaced(steps[group], holds, theirs=theirs, ended=ended):
                verdict.wrong.append(f"the lock of group {group}: {problem}")
        return verdict

    def _is_broken(self, group: int, value: bytes, ended: Ended) -> bool:
        if len(value) != 176 or value[40:56] == b"n" * 16:
            return False
        (since_ms,) = struct.unpack_from("<Q", value, 72)
        if abs(since_ms / 1000 - time.time()) > 3600:
            return False
        broken_by = uuids.UUID(ended.id).bytes
        return value == _lock(self._uuid, group, 2, (8, value[40:56]), group, (since_ms, 0), broken_by)

    def contents(self) -> Mapping[str, bytes]:
        """All that the server holds."""
        return everything_in(self.target.address)


def _scene_of(strategy: str) -> Expected:
    @contextlib.contextmanager
    def scene(folder: Path) -> Iterator[Scene]:
        (folder / "server").mkdir(parents=True)
        with scratch_valkey(folder / "server") as server:
            yield LockScene(server.url, folder, strategy)

    return Expected(scene)


SCENES: dict[str, Expected] = {
    name: _scene_of(name) for name in ("break_stale_lock", "release_deadlock_victim")
}
