"""Programs that listen and do not accept: their queues are full, also while nobody comes."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.wording import shown
from medic8.targets.host.looks.whose import whose
from medic8.targets.machine.files import Machine
from medic8.targets.machine.listening import Listener, listeners, still_full

_EXAMPLES = 3


def full_queues(machine: Machine) -> tuple[Listener, ...]:
    """The sockets whose accept queues were full at two moments."""
    return still_full(lambda: _full(machine))


def _full(machine: Machine) -> list[Listener]:
    try:
        return [each for each in listeners() if each.is_full]
    except OSError as exc:
        machine.unseen.append(f"accept queues: {exc.strerror or exc}")
        return []


def judge_full(full: Sequence[Listener], machine: Machine) -> tuple[Finding, ...]:
    """Which programs have full queues, so that whoever comes is turned away."""
    if not full:
        return ()
    owners = whose(machine, {each.number for each in full})
    return fact(
        "network.accept_queue",
        Severity.WARNING,
        f"the accept queue of {shown(full[0].where)} is full, so that whoever comes is turned away: "
        f"{owners.get(full[0].number, 'a program that is not seen')} does not accept",
        about="accept queues",
        evidence=tuple(
            Evidence(
                what=f"waiting at {shown(each.where)}, {owners.get(each.number, 'whose it is is not seen')}",
                seen=f"{each.waiting:,}",
                limit=f"{each.most:,}",
            )
            for each in full[:_EXAMPLES]
        ),
        advice=("ss -ltnp   # Recv-Q waits of Send-Q that may wait; look what that program does instead",),
    )
