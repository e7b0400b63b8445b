"""Whether the process accepts the connections that come to it: else clients are turned away."""

from __future__ import annotations

import time
from collections.abc import Sequence

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.wording import shown
from medic8.targets.machine.listening import Listener, listeners
from medic8.targets.process.living import Living, UntoldError
from medic8.targets.process.looks.half_closed import sockets_of

#: Between two looks: who was only busy for a moment has accepted by then.
_PAUSE_S = 0.5


def full_queues(process: Living) -> tuple[Listener, ...]:
    """
    The sockets of *process* whose accept queues were full at two moments.

    If none is at the first, there is no second one. Raises as `Living.read` does.
    """
    ours = sockets_of(process)
    full = _full_of(ours)
    if not full:
        return ()
    time.sleep(_PAUSE_S)
    still = {each.number for each in _full_of(ours)}
    return tuple(each for each in full if each.number in still)


def _full_of(numbers: set[int]) -> list[Listener]:
    try:
        return [each for each in listeners() if each.number in numbers and each.is_full]
    except OSError as exc:
        raise UntoldError(f"accept queues: {exc}") from exc


def judge_accepting(full: Sequence[Listener]) -> tuple[Finding, ...]:
    """Whether it does not accept connections, so that those that come are turned away."""
    found: tuple[Finding, ...] = ()
    for each in full:
        where = shown(each.where)
        found += fact(
            "descriptors.accept_queue",
            Severity.ERROR,
            f"{each.waiting:,} connections wait at {where} to be accepted, and no more may: whoever comes "
            "is turned away",
            about=where,
            evidence=(Evidence(what="waiting", seen=f"{each.waiting:,}", limit=f"{each.most:,}"),),
            advice=(
                "see what it does instead of accepting: py-spy dump, jstack, gdb -p PID",
                "if it does nothing but serve: have it serve several at once, with a longer backlog",
            ),
        )
    return found
