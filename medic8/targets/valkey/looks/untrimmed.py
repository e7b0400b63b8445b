"""Streams that nobody has ever trimmed and that are written to: a stream's own entries tell since when."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.model.wording import shown, size, span
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import Server
from medic8.targets.valkey.looks.facts import parse_flat
from medic8.targets.valkey.looks.streams import Counts, Details, Number, details_of
from medic8.targets.valkey.policy import LEAST_LEAK_BYTES, POLICY, ServerPolicy

#: In so much time whoever writes to a stream has written something.
_INTERVAL_S = 0.5


class Written(NamedTuple):
    """
    What a stream has been written so far.

    Attributes:
        entries: How many it holds.
        added: How many were ever added; 0 if the server does not tell.
        first_ms: When the first of them was written, by its number; None if that is no time.
        last: The number of the last one that was ever written.
    """

    entries: int
    added: int
    first_ms: int | None
    last: str


def look_for_untrimmed(
    server: Server,
    numbers: Sequence[Number],
    facts: Facts,
    now_s: float,
    known: Collection[str] = (),
    *,
    policy: ServerPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Long streams that were never trimmed and are written to right now; nothing is asked where none is long.

    A stream that nobody trims grows by a small share of itself in any time that one cares
    to watch. What tells is its past: as many entries were ever added as there are.

    Args:
        server: Is in the database of the streams.
        numbers: As they are now.
        facts: The section ``memory`` of INFO.
        now_s: The server's clock.
        known: What findings there already are about.
        policy: The limits of the target.
    """
    if facts.number("maxmemory") and facts.get("maxmemory_policy", "").startswith("allkeys-"):
        return ()
    names = [
        each.stream
        for each in numbers
        if each.counts is Counts.ENTRIES
        and policy.untrimmed.severity(each.value) is not None
        and f"stream {shown(each.stream)}" not in known
    ]
    details = details_of(server, names) if names else {}
    kept = [name for name in names if details[name].is_trimmed is False and not details[name].expires]
    if not kept:
        return ()
    before = {name: written(server.try_one("XINFO", "STREAM", name)) for name in kept}
    time.sleep(_INTERVAL_S)
    found: tuple[Finding, ...] = ()
    for name in kept:
        was, is_now = before[name], written(server.try_one("XINFO", "STREAM", name))
        if was and is_now and was.last != is_now.last and is_now.added <= is_now.entries:
            found += judge_untrimmed(name, is_now, details[name], now_s, policy=policy)
    return found


def judge_untrimmed(
    name: bytes, stream: Written, known: Details, now_s: float, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether a stream that is written to, and was never trimmed, is long.

    Args:
        name: Its name.
        stream: What it has been written.
        known: What else is known of it.
        now_s: The server's clock.
        policy: The limits of the target.
    """
    taken = stream.entries * known.entry_bytes
    if taken < LEAST_LEAK_BYTES:
        return ()
    since = ""
    if stream.first_ms is not None and 0 < stream.first_ms / 1000 < now_s:
        since = f", since {span(now_s - stream.first_ms / 1000)}"
    return over(
        "keys.growing_stream",
        policy.untrimmed,
        stream.entries,
        f"stream {shown(name)} holds all of the {{seen}} entries that were ever added to it{since}, and is "
        "written to: nobody has ever trimmed it",
        about=f"stream {shown(name)}",
        also=(
            Evidence(what="its memory", seen=size(round(taken))),
            Evidence(what="a cap (MAXLEN) that it has not come to yet", seen="would not show"),
        ),
        advice=(
            f"have programs trim as they add: XADD {shown(name)} MAXLEN '~' N '*' FIELD VALUE",
            f"XTRIM {shown(name)} MAXLEN '~' N deletes the oldest, also those that nobody has read yet",
            "one that is to be kept for ever is named in the target's label keep-streams",
        ),
    )


def written(reply: object) -> Written | None:
    """What XINFO STREAM tells; None if it was refused, or the stream is gone."""
    if not isinstance(reply, list):
        return None
    fields, first = parse_flat(reply), dict(zip(reply[::2], reply[1::2], strict=False)).get(b"first-entry")
    number = first[0].split(b"-")[0] if isinstance(first, list) and isinstance(first[0], bytes) else b""
    return Written(
        fields.whole("length") or 0,
        fields.whole("entries-added") or 0,
        int(number) if number.isdigit() else None,
        fields.get("last-generated-id", ""),
    )
