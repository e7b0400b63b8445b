"""
Compare the keys of a primary with those of its replica, while others write.

A key that differs at first sight counts only once it was settled: watched on the
primary, read there, waited for until the replica has all that was written before
that, read on the replica, and not touched on the primary meanwhile. So there is no
false alarm for a replica that is merely behind.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import valkey
import valkey.exceptions

from medic8.errors import RefusedError, TransientError
from medic8.model.frozen import Frozen
from medic8.targets.valkey.address import place
from medic8.targets.valkey.claim import CLAIM_KEY, database_of
from medic8.targets.valkey.client import connection, info, setting
from medic8.targets.valkey.conversation import Conversation, conversation, raise_first
from medic8.targets.valkey.key_guard import fields_expire
from medic8.targets.valkey.read_key import MOST_AT_ONCE, Found, KeyReader, Sized, Unreadable
from medic8.targets.valkey.read_pieces import Abilities
from medic8.targets.valkey.temporary import TEMPORARY

#: A key that expires so soon is not compared: it may be gone on one side already.
_SOON_MS = 60_000

#: Longest wait for the replica to have what was written when a key was read.
_CATCH_UP_S = 3.0

#: How often a key is read that changes all the while.
_TRIES = 3

#: Suspects that are watched at once.
_WATCHED = 32

#: How Valkey says that there is no such key.
ABSENT = -2


class Following(Frozen):
    """
    A replica as it tells of itself.

    Attributes:
        place: Host and port, or socket, by which we reach it.
        own_port: Where it listens.
        run_id: Of its process.
        role: ``slave``, or ``master`` if it follows nobody.
        host: The primary's host, as it knows it.
        port: The primary's port.
        is_up: Whether its link is up.
        down_s: For how long it has not been; 0 if it is up.
        history: The replication id of the data that it has.
        offset: How much of it.
        replicas: How many follow it.
        takes_writes: Whether it takes writes of others than its primary.
        serves_stale: Whether it answers while its link is down.
    """

    place: str
    own_port: int = 0
    run_id: str
    role: str
    host: str = ""
    port: int = 0
    is_up: bool = False
    down_s: int = 0
    history: str
    offset: int
    replicas: int = 0
    takes_writes: bool = False
    serves_stale: bool = True


class Differing(Frozen):
    """
    A key that is another one on the replica than on its primary.

    Attributes:
        name: The key.
        expires_at_ms: When the replica's expires; -1 is never, -2 is that the replica has no such key.
        content: The canonical bytes of the replica's value; empty if it has none, or none was asked for.
    """

    name: bytes
    expires_at_ms: int
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class _Seen:
    """One key on one side; no *digest* is no such key."""

    digest: bytes = b""
    expires_at_ms: int = ABSENT
    content: bytes = b""

    def is_like(self, other: _Seen, tolerance_ms: int) -> bool:
        return self.digest == other.digest and abs(self.expires_at_ms - other.expires_at_ms) <= tolerance_ms

    def goes_soon(self, now_ms: int) -> bool:
        return self.digest != b"" and 0 <= self.expires_at_ms < now_ms + _SOON_MS


@dataclass(slots=True)
class Compared:
    """
    What came of a comparison.

    Attributes:
        keys: How many were compared.
        differing: Those that differ, by name.
        unsettled: Suspects that were written to all the while, so that nothing can be said.
        left_out: How many were not compared, by the reason.
    """

    keys: int = 0
    differing: dict[bytes, Differing] = field(default_factory=dict)
    unsettled: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, why: str) -> None:
        """Count a key that is not compared."""
        self.left_out[why] = self.left_out.get(why, 0) + 1


class _Collected:
    """A sink that keeps a value up to a limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.content = bytearray()

    def begin(self) -> None:
        self.content.clear()

    def add(self, piece: bytes) -> None:
        if self._most:
            if len(self.content) + len(piece) > self._most:
                raise RefusedError(
                    f"a key of the replica is larger than the {self._most:,} bytes that are kept"
                )
            self.content += piece


class Pair:
    """
    A primary and its replica, read side by side.

    Args:
        primary: A connection for reading, one for watching, in that order.
        replica: A connection to the replica, in the same database.
        keeps: Bytes of one value that are kept; 0 keeps digests alone.
    """

    def __init__(
        self,
        primary: Conversation,
        watcher: Conversation,
        replica: Conversation,
        *,
        keeps: int,
        offsets: Callable[[], tuple[int, int]],
    ) -> None:
        self._primary, self._watcher, self._replica, self._keeps = primary, watcher, replica, keeps
        self._offsets = offsets
        abilities = Abilities.of(primary), Abilities.of(replica)
        self._tolerance_ms = sum(each.tolerance_ms for each in abilities)
        self._readers = KeyReader(primary, abilities[0]), KeyReader(replica, abilities[1])
        self.has_field_expiries = fields_expire(primary) or fields_expire(replica)

    def compare(self, names: Sequence[bytes], found: Compared, *, is_whole: bool) -> None:
        """Compare *names* and add what comes of it to *found*; large keys only if *is_whole*."""
        ours = self._read(0, names, found, is_whole=is_whole)
        theirs = self._read(1, list(ours), found, is_whole=is_whole)
        now_ms = self._now_ms()
        suspects = []
        for name, one in ours.items():
            other = theirs.get(name)
            if other is None:
                continue
            found.keys += 1
            if one.is_like(other, self._tolerance_ms):
                continue
            if one.goes_soon(now_ms) or other.goes_soon(now_ms):
                found.leave_out("that expire within a minute")
                continue
            suspects.append(name)
        for at in range(0, len(suspects), _WATCHED):
            self._settle(suspects[at : at + _WATCHED], found, is_whole=is_whole)

    def scanned(self, side: int) -> Iterator[list[bytes]]:
        """The names on one side (0 is the primary's), some hundred at a time, perhaps more than once."""
        talk, cursor = (self._primary, self._replica)[side], b"0"
        while True:
            answers = talk.ask([("SCAN", cursor, "COUNT", MOST_AT_ONCE)])
            raise_first(answers)
            cursor, names = answers[0]
            yield [name for name in names if not name.startswith((CLAIM_KEY, TEMPORARY))]
            if cursor == b"0":
                return

    def missing_on_primary(self, names: Sequence[bytes]) -> list[bytes]:
        """Those of *names* that the primary has not."""
        answers = self._primary.ask([("EXISTS", name) for name in names])
        raise_first(answers)
        return [name for name, count in zip(names, answers, strict=True) if not count]

    def _settle(self, names: Sequence[bytes], found: Compared, *, is_whole: bool) -> None:
        """Settle several suspects at once; where one was touched meanwhile, each by itself."""
        settled = self._settled(names, found, is_whole=is_whole)
        if settled is None and len(names) > 1:
            for name in names:
                self._settle([name], found, is_whole=is_whole)
            return
        for _ in range(_TRIES - 1):
            if settled is not None:
                break
            settled = self._settled(names, found, is_whole=is_whole)
        if settled is None:
            found.unsettled += len(names)
        else:
            found.differing |= settled

    def _settled(
        self, names: Sequence[bytes], found: Compared, *, is_whole: bool
    ) -> dict[bytes, Differing] | None:
        raise_first(self._watcher.ask([("WATCH", *names)]))
        ours = self._read(0, names, found, is_whole=is_whole)
        self._catch_up()
        theirs = self._read(1, names, found, is_whole=is_whole)
        if self._watcher.ask_at_once([("PING",)]) is None:
            return None
        differing = {}
        for name, one in ours.items():
            other = theirs.get(name)
            if other is not None and not one.is_like(other, self._tolerance_ms):
                differing[name] = Differing(
                    name=name, expires_at_ms=other.expires_at_ms, content=bytes(other.content)
                )
        return differing

    def _catch_up(self) -> None:
        """Wait until the replica has all that was written by now."""
        target, _ = self._offsets()
        deadline_s = time.monotonic() + _CATCH_UP_S
        while self._offsets()[1] < target:
            if time.monotonic() > deadline_s:
                raise TransientError(f"the replica is more than {_CATCH_UP_S:.0f} s behind its primary")
            time.sleep(0.01)

    def _read(
        self, side: int, names: Sequence[bytes], found: Compared, *, is_whole: bool
    ) -> dict[bytes, _Seen]:
        """The keys of one side, those that can be compared."""
        reader, seen, small = self._readers[side], dict[bytes, _Seen](), list[Sized]()
        for name, size in zip(names, reader.sizes(names) if names else (), strict=True):
            if size is None:
                seen[name] = _Seen()
            elif isinstance(size, Unreadable):
                found.leave_out(size.why)
            elif self.has_field_expiries and size.kind.type_name == "hash":
                found.leave_out("that are hashes, whose fields may expire here")
            elif size.is_small:
                small.append(size)
            elif is_whole:
                self._read_large(side, name, seen, found)
            else:
                found.leave_out("that are streams or large")
        for key, value, content in reader.small(small):
            if isinstance(value, Found):
                kept = content if side and self._keeps else b""
                seen[key.name] = _Seen(value.digest, value.expires_at_ms, kept)
            elif value is None:
                self._read_large(side, key.name, seen, found)
            else:
                found.leave_out(value.why)
        return seen

    def _read_large(self, side: int, name: bytes, seen: dict[bytes, _Seen], found: Compared) -> None:
        sink = _Collected(self._keeps if side else 0)
        value = self._readers[side].one(name, sink)
        if value is None:
            seen[name] = _Seen()
        elif isinstance(value, Unreadable):
            found.leave_out(value.why)
        else:
            seen[name] = _Seen(value.digest, value.expires_at_ms, bytes(sink.content))

    def _now_ms(self) -> int:
        answers = self._primary.ask([("TIME",)])
        raise_first(answers)
        seconds, micros = answers[0]
        return int(seconds) * 1000 + int(micros) // 1000


@contextlib.contextmanager
def side_by_side(
    primary: str, replica: str, *, timeout_s: float, keeps: int = 0, database: int | None = None
) -> Iterator[Pair]:
    """
    Open a primary and its replica for reading.

    Args:
        primary: Its address.
        replica: Its address.
        timeout_s: Longest wait for an answer.
        keeps: Bytes of one value of the replica that are kept; 0 keeps digests alone.
        database: Which one; None is that of the primary's address.
    """
    with contextlib.ExitStack() as stack:
        reading, watching = (stack.enter_context(connection(primary, timeout_s=timeout_s)) for _ in range(2))
        other = stack.enter_context(connection(replica, timeout_s=timeout_s))
        for client in (reading, watching, other):
            client.execute_command("SELECT", database_of(reading) if database is None else database)
        asking = [stack.enter_context(connection(url, timeout_s=timeout_s)) for url in (primary, replica)]

        def offsets() -> tuple[int, int]:
            one, two = (info(client, "replication") for client in asking)
            return int(one["master_repl_offset"]), int(
                two.get("slave_repl_offset", two["master_repl_offset"])
            )

        talks = [stack.enter_context(conversation(client)) for client in (reading, watching, other)]
        yield Pair(*talks, keeps=keeps, offsets=offsets)


def following(client: valkey.Valkey, url: str) -> Following:
    """What a replica tells of itself."""
    replication, server = info(client, "replication"), info(client, "server")
    serves_stale = None
    with contextlib.suppress(valkey.exceptions.ResponseError):  # not everybody may ask
        serves_stale = setting(client, "replica-serve-stale-data")
    return Following(
        place=place(url),
        own_port=int(server["tcp_port"]),
        run_id=str(server["run_id"]),
        role=str(replication["role"]),
        host=str(replication.get("master_host", "")),
        port=int(replication.get("master_port", 0)),
        is_up=replication.get("master_link_status") == "up",
        down_s=max(0, int(replication.get("master_link_down_since_seconds", 0))),
        history=str(replication["master_replid"]),
        offset=int(replication.get("slave_repl_offset", replication["master_repl_offset"])),
        replicas=int(replication["connected_slaves"]),
        takes_writes=int(replication.get("slave_read_only", 1)) == 0,
        serves_stale=serves_stale != "no",
    )
