"""Whether a server starts again and again, by its own log."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: What every version writes once for each start. Source: Valkey's source, ``main`` in server.c.
_START = re.compile(
    rb"^(\d+):[A-Z] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d)\.\d{3} [.\-*#] Server initialized", re.MULTILINE
)

_WITHIN = timedelta(minutes=10)


def starts_of(end: bytes) -> list[datetime]:
    """When servers began to run by the end of a log, in the log's own time."""
    found = []
    for match in _START.finditer(end):
        try:
            found.append(datetime.strptime(match[2].decode(), "%d %b %Y %H:%M:%S"))  # noqa: DTZ007 - see above
        except ValueError:
            continue
    return found


def judge_restarts(
    starts: list[datetime], uptime_s: float | None, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether a server has started several times within the last minutes.

    Args:
        starts: When it did, by its log.
        uptime_s: For how long it runs now; None if that is not known.
        policy: The limits of the target.
    """
    if not starts or uptime_s is None or uptime_s > _WITHIN.total_seconds():
        return ()
    recent = [each for each in starts if max(starts) - each <= _WITHIN]
    return over(
        "server.restarts",
        policy.restarts,
        len(recent),
        "the server has started {seen} times within 10 minutes",
        about="restarts",
        advice=(
            "look at the end of its log before each start: a crash, a refused setting, or no memory",
            "dmesg -T | grep -i oom on its host tells whether the kernel ended it",
            "systemctl status, or the events of its pod, tell who starts it again and why it ended",
        ),
        also=(Evidence(what="it runs since", seen=f"{uptime_s:.0f} s"),),
    )
