"""Whether a service that is too busy tells its clients when to come back, so that they can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from medic8.model.issue import Evidence
from medic8.model.wording import shown, span
from medic8.targets.endpoint.asking import Reply

#: Answers by which a service says that it is too busy. Source: RFC 9110, section 15.6.4; RFC 6585, section 4.
BUSY = frozenset({429, 503})

#: Whoever sends clients away for longer means something else than a moment of load; our choice.
_LONGEST_S = 3600.0

_PAUSES = "clients should ask again seldom, after pauses that grow and are drawn by chance"


class Told(NamedTuple):
    """
    What a busy service tells its clients.

    Attributes:
        evidence: What it said.
        advice: What would help clients to wait.
    """

    evidence: tuple[Evidence, ...]
    advice: tuple[str, ...]


def told_clients(replies: Sequence[Reply]) -> Told:
    """What *replies* say of coming back, where a service is too busy; nothing if none is such a reply."""
    busy = [reply for reply in replies if reply.status in BUSY]
    if not busy:
        return Told((), ())
    reply = next((each for each in busy if "retry-after" not in each.headers), busy[0])
    value = reply.headers.get("retry-after")
    problem = _wrong_with(value, reply.headers)
    seen = shown(value, 100) if value is not None else "none"
    return Told(
        (Evidence(what="Retry-After", seen=f"{seen}: {problem}" if value is not None and problem else seen),),
        (*((f"{problem}: {_BETTER}",) if problem else ()), _PAUSES),
    )


_BETTER = "have the service send Retry-After with the seconds after which it expects to have room"


def _wrong_with(value: str | None, headers: Mapping[str, str]) -> str:
    """Why clients cannot do as a header ``Retry-After`` says. Source: RFC 9110, section 10.2.3."""
    if value is None:
        return "clients are not told when to come back, and many ask again at once"
    waits_s = _seconds(value.strip(), headers.get("date", ""))
    if waits_s is None:
        return "it is neither a number of seconds nor a date, so that clients ignore it"
    if waits_s <= 0:
        return "it has all clients come back at once"
    if waits_s > _LONGEST_S:
        return f"it sends clients away for {span(waits_s)}"
    return ""


def _seconds(value: str, date: str) -> float | None:
    """Seconds from the answer on; None if that cannot be told."""
    if value.isascii() and value.isdigit():
        return float(value[:9])  # more digits are beyond thirty years, and as long
    try:
        until, answered = parsedate_to_datetime(value), parsedate_to_datetime(date)
        return (until - answered).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
