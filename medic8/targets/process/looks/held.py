"""Whether something holds a process, so that none of its threads runs: a signal, a debugger, a freezer."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.targets.process.looks.moments import Moment

_ABOUT = "its state"
_EXAMPLES = 3

#: States of a thread that was stopped: by a signal, and by whoever traces it (proc_pid_stat(5)).
_BY_SIGNAL, _BY_TRACER = "T", "t"


def is_stopped(moments: Sequence[Moment]) -> str:
    """
    The state in which all threads were held at all *moments*: ``T``, ``t``, or empty if they were not.

    One that is traced stops at each of its system calls, and goes on in between: it has given the processor
    away meanwhile, and one that is held has not.
    """
    first = moments[0].threads
    states = {doing.state for doing in first.values()}
    if not states or not states <= {_BY_SIGNAL, _BY_TRACER}:
        return ""
    if any(each.threads != first for each in moments):
        return ""
    return _BY_TRACER if _BY_TRACER in states else _BY_SIGNAL


def judge_held(
    state: str, *, pid: int, tracer: int = 0, frozen: str = "", children: Collection[int] = ()
) -> tuple[Finding, ...]:
    """
    Whether it, or children that do its work, are held.

    Args:
        state: As of `is_stopped`.
        pid: Its number.
        tracer: The process that traces it; 0 = none, or not told.
        frozen: Name of the control group that is frozen with it; empty = none.
        children: Those of its children that were stopped all the time.
    """
    if frozen:
        return _held(
            f"its control group {frozen} is frozen: nothing in it runs",
            Evidence(what="frozen control group", seen=frozen),
            f"thaw {frozen} once it is told why: docker unpause, systemctl thaw, or 0 into its cgroup.freeze",
        )
    if state == _BY_TRACER:
        who = f"process {tracer}" if tracer else "another process"
        return _held(
            f"{who} traces it and holds all of its threads",
            Evidence(what="state of all threads", seen="t (held by a tracer)"),
            f"end what traces it, such as a debugger that was left open: {who}",
        )
    if state == _BY_SIGNAL:
        return _held(
            "it was stopped by a signal, and none of its threads runs; the kernel does not tell who sent it",
            Evidence(what="state of all threads", seen="T (stopped)"),
            f"kill -CONT {pid} has it go on, once it is known that nobody stopped it on purpose",
        )
    if children:
        some = " ".join(map(str, sorted(children)[:_EXAMPLES]))
        return _held(
            f"{len(children):,} of its children stopped by a signal, such as {some}",
            Evidence(what="stopped children", seen=some),
            f"kill -CONT {some} has them go on, once it is known that nobody stopped them on purpose",
            severity=Severity.WARNING,
        )
    return ()


def _held(
    text: str, seen: Evidence, advice: str, *, severity: Severity = Severity.ERROR
) -> tuple[Finding, ...]:
    return fact("activity.stopped", severity, text, about=_ABOUT, evidence=(seen,), advice=(advice,))
