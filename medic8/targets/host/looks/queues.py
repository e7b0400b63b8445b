"""Programs that listen and do not accept: their queues are full, also while nobody comes."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.wording import shown
from medic8.targets.machine.files import Machine
from medic8.targets.machine.listening import Listener, listeners, still_full
from medic8.targets.machine.processes import process

#: No more time of a processor than this is spent on whose a socket is: a busy host is no reason not to tell.
_MOST_S = 0.5

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
    whose = _whose(machine, {each.number for each in full})
    return fact(
        "network.accept_queue",
        Severity.WARNING,
        f"the accept queue of {shown(full[0].where)} is full, so that whoever comes is turned away: "
        f"{whose.get(full[0].number, 'a program that is not seen')} does not accept",
        about="accept queues",
        evidence=tuple(
            Evidence(
                what=f"waiting at {shown(each.where)}, {whose.get(each.number, 'whose it is is not seen')}",
                seen=f"{each.waiting:,}",
                limit=f"{each.most:,}",
            )
            for each in full[:_EXAMPLES]
        ),
        advice=("ss -ltnp   # Recv-Q waits of Send-Q that may wait; look what that program does instead",),
    )


def _whose(machine: Machine, numbers: Collection[int]) -> dict[int, str]:
    """Which process each of these sockets is of, by number; without those that may not be seen."""
    links = {f"socket:[{number}]": number for number in numbers}
    found: dict[int, str] = {}
    ends_s = time.thread_time() + _MOST_S
    for name in machine.names("proc"):
        if len(found) == len(links) or time.thread_time() > ends_s:
            break
        for each in machine.names(f"proc/{name}/fd") if name.isdigit() else ():
            try:
                number = links.get(os.readlink(machine.path(f"proc/{name}/fd/{each}")))  # noqa: PTH115 - thousands
            except OSError:
                continue
            if number is not None and (told := process(machine, int(name))) is not None:
                found.setdefault(number, f"process {told.pid} ({told.name})")
    return found
