"""Sample the keys of a server in small steps."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from medic8.model.wording import as_text
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import Refusal, Server

#: Keys that are looked at. Shares of them are known to 2.5 percentage points either way (95 %).
SAMPLE = 1500

#: Longest that sampling takes; a server behind a slow line gives fewer keys.
_MOST_S = 1.0

#: Keys asked about at once, and the pause after it in which others are served.
_BATCH = 50
_PAUSE_S = 0.002

#: Steps of a scan: names may be large, so the first step is as small as can be, and grows while it brings
#: little. The server spends milliseconds on each MiB of names, so there is an end to them.
_FIRST_STEP = 1
_MOST_STEP = 100
_MUCH_BYTES = 64 << 10
MOST_BYTES = 8 << 20

#: Longest name that is sent back to ask about its key; longer ones are counted and skipped.
MOST_NAME = 64 << 10

#: Elements of a container that the server measures to estimate its size.
_ELEMENTS = 5


_SEPARATOR = re.compile(r"[:/|.]")
_LONGEST_PREFIX = 40


class SampledKey(NamedTuple):
    """
    One key as it was found.

    Attributes:
        name: As the server has it.
        database: Where it lies.
        type: ``string``, ``hash`` and so on; empty if it may not be asked.
        size_bytes: Estimated from a few elements; None if it may not be asked.
        expires: Whether it will by itself; None if it may not be asked.
        expires_at_ms: When about, by a clock of ours that tells distances only; None if it does not.
    """

    name: bytes
    database: int
    type: str
    size_bytes: int | None
    expires: bool | None
    expires_at_ms: float | None = None


class Keyspace(NamedTuple):
    """How many keys a database has, and how many of them expire, by INFO."""

    database: int
    keys: int
    expiring: int


def databases(facts: Facts) -> list[Keyspace]:
    """The databases with keys, the fullest first, from the section ``keyspace`` of INFO."""
    found = [
        Keyspace(int(number), each.whole("keys") or 0, each.whole("expires") or 0)
        for number, each in facts.starting("db")
        if number.isdecimal()
    ]
    return sorted((each for each in found if each.keys > 0), key=lambda each: -each.keys)


def sample_keys(
    server: Server, spaces: Sequence[Keyspace], *, first: int, most: int = SAMPLE
) -> list[SampledKey]:
    """
    Keys from all databases, as many from each as its share of all keys asks for.

    Scanned from the beginning of the table, which is in the order of a hash
    seeded by chance when the server started: as good as drawn by lot, but for
    keys that the server holds in one bucket.

    Args:
        server: Its connection ends up in another database.
        spaces: From `databases`.
        first: The database that the connection is in.
        most: So many keys, about.
    """
    total, until_s = sum(each.keys for each in spaces), time.perf_counter() + _MOST_S
    found: list[SampledKey] = []
    server.database = first
    for space in spaces:
        if not server.go_to(space.database):
            continue
        wanted = math.ceil(most * space.keys / total)
        for names in _names(server, min(wanted, space.keys), until_s):
            found += look_at_names(server, names, space.database)
            time.sleep(_PAUSE_S)
        if time.perf_counter() >= until_s:
            server.unseen.append(f"keys: sampling ended after {_MOST_S:.0f} s, with {len(found):,} keys")
            break
    return found


def database_of(address: str) -> int:
    """The database that *address* names; 0 if it names none."""
    parts = urlsplit(address)
    named = parse_qs(parts.query).get("db", [parts.path.strip("/") if parts.scheme != "unix" else ""])[0]
    return int(named) if named.isdecimal() else 0


def prefix_of(name: bytes) -> str:
    """What keys like *name* begin with: up to the first of ``: / | .``, or nothing."""
    parts = _SEPARATOR.split(as_text(name[:_LONGEST_PREFIX]), maxsplit=1)
    return parts[0] if len(parts) > 1 else ""


def next_step(step: int, size: int, most: int) -> int:
    """How many keys to ask a scan for next: at most *most*, and fewer if *step* has brought many bytes."""
    return max(1, step // 4) if size > _MUCH_BYTES else min(most, step * 2)


def _names(server: Server, wanted: int, until_s: float) -> Iterator[list[bytes]]:
    cursor, step, seen, fetched = b"0", _FIRST_STEP, set[bytes](), 0
    while len(seen) < wanted and time.perf_counter() < until_s:
        reply = server.ask("SCAN", cursor, "COUNT", step, what="keys", words=1)
        if reply is None:
            return
        cursor, names = reply
        size = sum(map(len, names))
        step = next_step(step, size, _MOST_STEP)
        new = [name for name in dict.fromkeys(names) if name not in seen][: wanted - len(seen)]
        seen.update(new)
        for start in range(0, len(new), _BATCH):
            yield new[start : start + _BATCH]
        fetched += size
        if fetched > MOST_BYTES:
            server.unseen.append(f"keys: names are so large ({fetched >> 20} MiB) that sampling ended")
            return
        if cursor == b"0":
            return


def look_at_names(server: Server, names: Sequence[bytes], database: int) -> list[SampledKey]:
    """What keys of *database*, which the connection is in, are; without those that went meanwhile."""
    small = [name for name in names if len(name) <= MOST_NAME]
    if len(small) < len(names):
        server.unseen.append(f"keys: some have names over {MOST_NAME >> 10} KiB, which were not looked at")
    commands: list[tuple[str | bytes | int, ...]] = []
    for name in small:
        commands += [("TYPE", name), ("PTTL", name), ("MEMORY", "USAGE", name, "SAMPLES", _ELEMENTS)]
    replies, asked_ms = server.try_all(commands), time.perf_counter() * 1000
    for word, reply in zip(("TYPE", "PTTL", "MEMORY USAGE"), replies[:3], strict=False):
        if isinstance(reply, Refusal):
            server.note(word, reply, what="keys")
    found = []
    for name, kind, left_ms, size in zip(small, replies[::3], replies[1::3], replies[2::3], strict=True):
        if left_ms == -2:  # noqa: PLR2004 - it went meanwhile
            continue
        found.append(
            SampledKey(
                name,
                database,
                as_text(kind) if isinstance(kind, bytes) else "",
                size if isinstance(size, int) else None,
                left_ms >= 0 if isinstance(left_ms, int) else None,
                asked_ms + left_ms if isinstance(left_ms, int) and left_ms >= 0 else None,
            )
        )
    return found
