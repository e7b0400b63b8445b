"""Notice that a schedule has stopped: whoever looks after a target is looked after as well."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from medic8.model.frozen import Frozen
from medic8.model.wording import span

#: So many runs in a row may be missed: a worker that is restarted misses one, a busy one two.
_MISSED = 3

#: The same as a time: nobody is called for a worker that is being upgraded.
_LEAST = timedelta(minutes=5)


class Heard(Frozen):
    """
    What the history knows of the schedule by which a target is diagnosed.

    Attributes:
        target: The target's name.
        every_s: Seconds between two runs, as configured.
        deployed_at: Since when it is known to Prefect; None = it is not.
        is_paused: Whether somebody has paused it.
        last: When the last diagnosis by schedule ended; None if none ever did.
    """

    target: str
    every_s: int
    deployed_at: datetime | None = None
    is_paused: bool = False
    last: datetime | None = None


class Silence(Frozen):
    """
    A target that nobody looks at.

    Attributes:
        target: Its name.
        reason: Why, or since when.
    """

    target: str
    reason: str


class Watch(Frozen):
    """
    What a look at all schedules came to.

    Attributes:
        heard: What is known of each.
        silent: The targets that nobody looks at.
    """

    heard: tuple[Heard, ...] = ()
    silent: tuple[Silence, ...] = ()


def watch(heard: Iterable[Heard], now: datetime) -> Watch:
    """Which of the targets that are to be diagnosed by schedule are not, and why."""
    known = tuple(heard)
    silent = tuple(
        Silence(target=each.target, reason=reason) for each in known if (reason := _why_silent(each, now))
    )
    return Watch(heard=known, silent=silent)


def patience(every_s: int) -> timedelta:
    """How long nothing may be heard of a schedule that runs every *every_s* seconds."""
    return max(timedelta(seconds=_MISSED * every_s), _LEAST)


def _why_silent(heard: Heard, now: datetime) -> str:
    if heard.deployed_at is None:
        return "its schedule is not on the server: medic8 deploy puts it there"
    if heard.is_paused:
        return "somebody has paused its schedule"
    since = max(filter(None, (heard.last, heard.deployed_at if heard.last is None else None)))
    if now - since <= patience(heard.every_s):
        return ""
    quiet = span((now - since).total_seconds())
    what = (
        "no diagnosis has ended since it was deployed" if heard.last is None else "the last diagnosis ended"
    )
    return f"{what} {quiet} ago, expected every {span(heard.every_s)}; does a worker run for its queue?"
