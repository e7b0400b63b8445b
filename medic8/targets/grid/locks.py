"""
Hold locks of parity groups: take them, keep their leases alive, prove them in every write, give them back.

One object holds the locks of one owner. A thread renews the leases while any
is held, through connections of its own, since the user's has one user only.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

import valkey
import valkey.exceptions

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.wording import span
from medic8.targets.grid.compare_and_write import Check, CompareAndWrite, HasBytes, HoldsExactly, IsAbsent
from medic8.targets.grid.errors import LockBusyError, LockLostError, OutdatedError
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.keys import conflicts_key, lock_key, wait_key
from medic8.targets.grid.lock_reading import (
    another_connection,
    is_refused,
    lock_in_words,
    now_ms_of,
    read_lock,
)
from medic8.targets.grid.lock_record import (
    MOST_NAME_BYTES,
    Lock,
    LockState,
    Wait,
    pack_lock,
    pack_wait,
)
from medic8.targets.grid.lock_writing import (
    UNANSWERED,
    released,
    released_after_all,
    replaced,
    taken,
    taken_after_all,
)
from medic8.targets.grid.permit import ANYBODY, Permit

#: Groups that one owner locks at once: 512 layers, 1 GiB.
MOST_GROUPS = 1024

#: The leases of locks are renewed for so long, unless something else is asked for: a process that hangs must
#: not keep others out for good.
MOST_HELD_S = 3600.0

#: For so long checked writes that were refused are counted together.
CONFLICTS_COUNTED_MS = 3_600_000

_TAKEN = "it was broken, or taken by somebody else"

_SHORTEST_LEASE_S = 1.0
_RENEWALS_PER_LEASE = 3
_SHORTEST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.2
#: Who waits asks so seldom whether it still holds what it has: about once a second.
_LOOKS_PER_CHECK = 10


class Held:
    """
    Locks that are held for the body of a ``with``.

    Attributes:
        groups: The parity groups that are locked, ascending.
    """

    def __init__(self, groups: Sequence[int], check: Callable[[Sequence[int]], None]) -> None:
        self.groups = tuple(groups)
        self._check = check

    def check(self) -> None:
        """
        Ask the server whether all of them are still ours, before something is done outside the grid.

        Raises:
            LockLostError: one is not.
        """
        self._check(self.groups)


class Locks:
    """
    The locks of one owner on one grid.

    Args:
        client: The user's client; it is used by nobody else meanwhile.
        manifest: Of the grid.
        compare_and_write: Writes through *client*.
        name: What others are shown of the owner; empty is host and process.
    """

    def __init__(
        self, client: valkey.Valkey, manifest: Manifest, compare_and_write: CompareAndWrite, name: str
    ) -> None:
        self._client = client
        self._manifest = manifest
        self._compare_and_write = compare_and_write
        self._name = _checked_name(name or f"{socket.gethostname()[:40]}:{os.getpid()}")
        self._owner = uuid.uuid4()
        self._mine: dict[int, Lock] = {}  # as they were written last
        self._lost: dict[int, str] = {}
        self._mutex = threading.Lock()

    @contextmanager
    def hold(
        self, groups: Sequence[int], *, timeout_s: float, lease_s: float, most_s: float
    ) -> Iterator[Held]:
        """Hold the locks of *groups* for the body; see `Grid.lock`."""
        if len(groups) > MOST_GROUPS:
            raise ConfigurationError(
                f"{len(groups)} parity groups are to be locked; the limit is {MOST_GROUPS} at once"
            )
        if not (lease_s >= _SHORTEST_LEASE_S and timeout_s >= 0 and most_s > 0):
            raise ConfigurationError(
                f"lease_s {lease_s}, timeout_s {timeout_s}, most_s {most_s}: the limits are "
                f"{_SHORTEST_LEASE_S:.0f}, 0 and more than 0"
            )
        new = [group for group in groups if group not in self._mine]
        ends = threading.Event()
        renewer = threading.Thread(
            target=self._renew_until,
            args=(ends, new, lease_s, time.monotonic() + most_s),
            name=f"medic8-locks-{self._manifest.name}",
            daemon=True,
        )
        is_whole = False
        try:
            renewer.start()
            self._take_all(new, timeout_s=timeout_s, lease_s=lease_s)
            yield Held(groups, self._check_all)
            is_whole = True
        finally:
            ends.set()
            renewer.join(lease_s)
            problem = self._give_back(new, is_heard=is_whole)
            if problem and is_whole:
                raise LockLostError(problem)

    def permit(self, group: int, version: bytes | None = None) -> Permit:
        """
        What a write into *group* must prove.

        Args:
            group: Number of the group.
            version: What the group's version must be; None is any.
        Raises:
            RefusedError: the grid takes checked writes only, and this is none.
        """
        if group in self._mine or group in self._lost:
            return Permit(lambda: self._fence(group), lambda: self._fenced(group), version, self._outdated)
        if version is not None:
            return Permit(lambda: self._nobody(group), version=version, outdated=self._outdated)
        if self._manifest.takes_checked_only:
            raise RefusedError(
                f"grid {self._manifest.name!r} takes checked writes only (writes=checked): write within "
                "grid.lock(...), or with expected=grid.versions(...)"
            )
        return ANYBODY

    # Taking

    def _take_all(self, groups: Sequence[int], *, timeout_s: float, lease_s: float) -> None:
        ends_s = time.monotonic() + timeout_s
        for group in groups:
            self._take(group, ends_s=ends_s, timeout_s=timeout_s, lease_s=lease_s)

    def _take(self, group: int, *, ends_s: float, timeout_s: float, lease_s: float) -> None:
        waits: Wait | None = None
        attempt = 0
        try:
            while True:
                self._require_kept()
                value, now_ms = read_lock(self._client, self._manifest, group)
                if is_refused(value):
                    raise RefusedError(
                        f"grid {self._manifest.name!r}, group {group}: what its lock's key holds is no lock "
                        f"({value}); it is not written over"
                    )
                found = value if isinstance(value, Lock) else None
                # One of ours that we do not know is what a lost reply has left when nobody answered at all.
                if found is None or not found.is_held or found.owner == self._owner:
                    if self._take_from(found, group, now_ms, lease_s):
                        return
                    why = f"others are faster each time to take the lock of group {group}"
                else:
                    waits = self._wait(waits, group, now_ms, lease_s)
                    why = lock_in_words(found, now_ms)
                left_s = ends_s - time.monotonic()
                if left_s <= 0:
                    raise LockBusyError(f"grid {self._manifest.name!r}: {why}; waited for {span(timeout_s)}")
                _pause(attempt, most_s=left_s)
                attempt += 1
                if attempt % _LOOKS_PER_CHECK == 0:
                    self._check_all(tuple(self._mine))
        finally:
            if waits is not None:
                with suppress(valkey.exceptions.ValkeyError):  # it lapses by itself
                    self._client.delete(wait_key(self._manifest.name, self._owner))

    def _take_from(self, found: Lock | None, group: int, now_ms: int, lease_s: float) -> bool:
        new = Lock(
            grid=self._manifest.uuid,
            group=group,
            state=LockState.HELD,
            number=found.number + 1 if found else 1,
            nonce=secrets.token_bytes(16),
            owner=self._owner,
            since_ms=now_ms,
            deadline_ms=now_ms + int(lease_s * 1000),
            broken_by=found.broken_by if found else None,
            name=self._name,
        )
        try:
            is_ours = taken(self._manifest, self._compare_and_write, found, new)
        except UNANSWERED:
            # It may be ours and nobody would know: it would keep everybody out until somebody breaks it.
            with self._another_way() as (client, compare_and_write):
                is_ours = taken_after_all(client, self._manifest, compare_and_write, found, new)
        if is_ours:
            with self._mutex:
                self._mine[group] = new
        return is_ours

    def _wait(self, waits: Wait | None, group: int, now_ms: int, lease_s: float) -> Wait:
        """Say that we wait for *group*, unless that was said lately."""
        lease_ms = int(lease_s * 1000)
        if waits is not None and waits.deadline_ms - now_ms > lease_ms // 2:
            return waits
        since_ms = waits.since_ms if waits else now_ms
        waits = Wait(self._manifest.uuid, group, self._owner, since_ms, now_ms + lease_ms, self._name)
        self._client.set(wait_key(self._manifest.name, self._owner), pack_wait(waits), px=lease_ms)
        return waits

    # Keeping

    def _renew_until(
        self, ends: threading.Event, groups: Sequence[int], lease_s: float, stops_s: float
    ) -> None:
        """Renew the leases of *groups* until *ends*, or nobody may any more, or all are lost."""
        renewed_s = time.monotonic()
        while not ends.wait(lease_s / _RENEWALS_PER_LEASE):
            now_s = time.monotonic()
            if now_s >= stops_s:
                self._lose(groups, "it was held for longer than was asked for")
                return
            try:
                self._renew(groups, lease_s)
            except (valkey.exceptions.ValkeyError, OSError) as exc:
                if now_s - renewed_s >= lease_s:
                    self._lose(groups, f"its lease could not be renewed in time: {exc}")
                    return
            else:
                renewed_s = now_s

    def _renew(self, groups: Sequence[int], lease_s: float) -> None:
        with self._another_way() as (client, compare_and_write):
            deadline_ms = now_ms_of(client) + int(lease_s * 1000)
            for group in groups:
                with self._mutex:
                    if group not in self._mine or group in self._lost:
                        continue
                    old = self._mine[group]
                    new = replaced(
                        client, self._manifest, compare_and_write, old, lambda it: it.renewed(deadline_ms)
                    )
                    if new is None:
                        self._lost[group] = _TAKEN
                    else:
                        self._mine[group] = new

    def _lose(self, groups: Sequence[int], why: str) -> None:
        with self._mutex:
            self._lost.update({group: why for group in groups if group in self._mine})

    # Proving

    def _fence(self, group: int) -> Sequence[Check]:
        """What holds as long as the lock is ours."""
        with self._mutex:
            if group in self._lost:
                self._raise_lost(group)
            return (HasBytes(lock_key(self._manifest.name, group), 0, self._mine[group].identity),)

    def _fenced(self, group: int) -> NoReturn:
        with self._mutex:
            self._lost.setdefault(group, _TAKEN)
            self._raise_lost(group)

    def _nobody(self, group: int) -> Sequence[Check]:
        """What holds as long as nobody holds the lock."""
        value, now_ms = read_lock(self._client, self._manifest, group)
        key = lock_key(self._manifest.name, group)
        if value is None:
            return (IsAbsent(key),)
        if not isinstance(value, Lock):
            raise RefusedError(
                f"grid {self._manifest.name!r}, group {group}: what its lock's key holds is no lock ({value})"
            )
        if value.is_held:
            raise LockBusyError(f"grid {self._manifest.name!r}: {lock_in_words(value, now_ms)}")
        return (HoldsExactly(key, pack_lock(value)),)

    def _outdated(self) -> NoReturn:
        key = conflicts_key(self._manifest.name)
        with suppress(valkey.exceptions.ResponseError):  # the count is for diagnosis only
            self._client.set(key, 0, nx=True, px=CONFLICTS_COUNTED_MS)
            self._client.incr(key)
        raise OutdatedError(
            f"grid {self._manifest.name!r}: somebody else has written to the group since its version was "
            "taken; read again"
        )

    def _check_all(self, groups: Sequence[int]) -> None:
        self._require_kept()
        for group in groups:
            value, _ = read_lock(self._client, self._manifest, group)
            if not isinstance(value, Lock) or value.identity != self._mine[group].identity:
                self._fenced(group)

    def _require_kept(self) -> None:
        """Raise if any lock was lost, so that who waits for one more lets go of the others."""
        with self._mutex:
            for group in self._lost:
                self._raise_lost(group)

    def _raise_lost(self, group: int) -> NoReturn:
        raise LockLostError(
            f"grid {self._manifest.name!r}: the lock of group {group} was lost: {self._lost[group]}"
        )

    # Giving back

    def _give_back(self, groups: Sequence[int], *, is_heard: bool) -> str:
        """Release the locks of *groups* that are still ours; what was wrong with the first that is not."""
        problem = ""
        for group in groups:
            with self._mutex:
                mine = self._mine.pop(group, None)
                why = self._lost.pop(group, "")
            if mine is None:
                continue
            try:
                is_free = self._release(mine)
            except (valkey.exceptions.ValkeyError, OSError):
                if is_heard:
                    raise
                continue  # the lease lapses; what went wrong first is what is told
            if not is_free:
                why = why or _TAKEN
            if why and not problem:
                problem = f"grid {self._manifest.name!r}: the lock of group {group} was lost: {why}"
        return problem

    def _release(self, mine: Lock) -> bool:
        try:
            return released(self._client, self._manifest, self._compare_and_write, mine)
        except UNANSWERED:
            with self._another_way() as (client, compare_and_write):
                return released_after_all(client, self._manifest, compare_and_write, mine)

    @contextmanager
    def _another_way(self) -> Iterator[tuple[valkey.Valkey, CompareAndWrite]]:
        """A connection of our own: the user's is in use by another thread, or has just been lost."""
        with another_connection(self._client) as client:
            yield client, CompareAndWrite(client, road=self._compare_and_write.road)


def _pause(attempt: int, *, most_s: float) -> None:
    """Wait at random up to a bound that doubles from 2 ms to a fifth of a second, *most_s* at most."""
    bound_s = min(_LONGEST_PAUSE_S, _SHORTEST_PAUSE_S * 2 ** min(attempt, 10))
    time.sleep(min(most_s, random.uniform(0, bound_s)))  # noqa: S311  # jitter, not cryptography


def _checked_name(name: str) -> bytes:
    raw = name.encode("utf-8", "surrogatepass")
    if not name.isprintable() or len(raw) > MOST_NAME_BYTES:
        raise ConfigurationError(
            f"owner {name!r}: the limit is {MOST_NAME_BYTES} printable bytes of UTF-8, to be shown"
        )
    return raw
