"""Programs that do not close what others have closed: each such connection takes a descriptor for ever."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.targets.host.looks.whose import whose
from medic8.targets.host.policy import POLICY, HostPolicy
from medic8.targets.machine.files import Machine
from medic8.targets.machine.listening import half_closed

#: Between two looks: a server that is about to close has done so by then.
_PAUSE_S = 0.5
_EXAMPLES = 3


class Left(NamedTuple):
    """
    The connections that were half-closed at one moment.

    Attributes:
        at_s: When, by a clock that only goes on.
        ports: By inode, the port here.
    """

    at_s: float
    ports: dict[int, int]


def left_now(machine: Machine) -> Left:
    """Those of this moment; what may not be seen is noted in *machine*."""
    return Left(time.monotonic(), _now(machine))


def still_left(first: Left, machine: Machine, policy: HostPolicy = POLICY) -> dict[int, int]:
    """Those of *first* that are so a moment later; if they are few, there is no second look."""
    if policy.half_closed.severity(len(first.ports)) is None:
        return first.ports
    time.sleep(max(0.0, first.at_s + _PAUSE_S - time.monotonic()))
    still = _now(machine)
    return {number: port for number, port in first.ports.items() if number in still}


def _now(machine: Machine) -> dict[int, int]:
    try:
        return half_closed()
    except OSError as exc:
        machine.unseen.append(f"half-closed connections: {exc.strerror or exc}")
        return {}


def judge_left(
    left: Mapping[int, int], machine: Machine, *, policy: HostPolicy = POLICY
) -> tuple[Finding, ...]:
    """Which programs have many of them; a few of each of many programs are none."""
    if policy.half_closed.severity(len(left)) is None:
        return ()
    owners = whose(machine, left)
    by = defaultdict[str, Counter[int]](Counter)
    for number, port in left.items():
        # Whose one is may not be seen: then those at one port are one program's.
        by[owners.get(number) or f"a program at port {port}"][port] += 1
    worst = sorted(by.items(), key=lambda each: -each[1].total())[:_EXAMPLES]
    return tuple(finding for program, ports in worst for finding in _left_by(program, ports, policy))


def _left_by(program: str, ports: Counter[int], policy: HostPolicy) -> tuple[Finding, ...]:
    return over(
        "network.half_closed",
        policy.half_closed,
        ports.total(),
        f"{program} does not close {{seen}} connections that the other end has closed (CLOSE_WAIT)",
        about=f"connections of {program}",
        also=tuple(
            Evidence(what=f"at its port {port}", seen=f"{seen:,}")
            for port, seen in ports.most_common(_EXAMPLES)
        ),
        advice=("ss -tnp state close-wait tells which; the program must close a connection at its end",),
    )
