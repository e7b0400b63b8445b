"""Whether the process accepts the connections that come to it: else clients are turned away."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.wording import shown
from medic8.targets.machine.listening import Listener, listeners, still_full
from medic8.targets.process.living import Living, UntoldError
from medic8.targets.process.looks.half_closed import sockets_of


def full_queues(process: Living) -> tuple[Listener, ...]:
    """The sockets of *process* whose accept queues were full at two moments; raises as `Living.read` does."""
    ours = sockets_of(process)
    return still_full(lambda: _full_of(ours))


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
