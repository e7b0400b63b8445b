"""How long work had to wait for a resource, as the kernel measures it."""

from __future__ import annotations

from typing import NamedTuple

from medic8.targets.machine.files import Machine


class Pressure(NamedTuple):
    """
    Shares of the time that work stood still for one resource.

    Attributes:
        some_10: At least one task, over the last ten seconds.
        some_60: The same over the last minute.
        full_10: All tasks that had anything to do, over the last ten seconds.
        full_60: The same over the last minute.
    """

    some_10: float = 0.0
    some_60: float = 0.0
    full_10: float = 0.0
    full_60: float = 0.0


def pressure_on(machine: Machine, resource: str) -> Pressure | None:
    """
    How long work waits for *resource* (``cpu``, ``memory`` or ``io``); None where the kernel does not tell.

    In a container that has files of its own, what waits in there.
    """
    found: dict[str, float] = {}
    lines = machine.lines(f"sys/fs/cgroup/{resource}.pressure") or machine.lines(f"proc/pressure/{resource}")
    for line in lines:
        kind, *words = line.split() or [""]
        for word in words:
            name, _, value = word.partition("=")
            if name in {"avg10", "avg60"}:
                try:
                    found[f"{kind}_{name.removeprefix('avg')}"] = float(value) / 100
                except ValueError:
                    return None
    known = {name: value for name, value in found.items() if name in Pressure._fields}
    if not known:
        machine.unseen.append(
            f"pressure on {resource}: /proc/pressure/{resource} is not there, or empty (Linux before 4.20, "
            "or started with psi=0)"
        )
        return None
    return Pressure(**known)
