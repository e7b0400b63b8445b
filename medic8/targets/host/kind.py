"""The kind ``host`` as the rest of the house sees it."""

from __future__ import annotations

from contextlib import AbstractContextManager

from medic8.analysis.changes import changes
from medic8.errors import RefusedError
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Change
from medic8.model.target import Target
from medic8.targets.host.diagnostics import DIAGNOSTICS
from medic8.targets.host.looks.looking import address_problems
from medic8.targets.host.rules import RULES
from medic8.targets.kind import Session, Surroundings, TargetKind

#: Fields of a target that belong to kinds with a server behind them.
_OF_SERVERS = ("grid", "setting", "expiry", "replicas", "scale")


def compare(before: DiagnosticReport, after: DiagnosticReport) -> tuple[Change, ...]:
    """Memory, and the space of every file system, before and after."""
    return (
        *changes(before, after, "memory", {"memory.available": "available memory"}.get),
        *changes(before, after, "disks", _space),
    )


def _space(name: str) -> str | None:
    return name.replace("disk.free.", "free space of ") if name.startswith("disk.free.") else None


def requires(target: Target) -> tuple[str, ...]:
    """What is wrong with the configuration of a host."""
    return (
        *address_problems(target.address),
        *(f"field {name!r} belongs to another kind" for name in _OF_SERVERS if getattr(target, name)),
    )


def open_session(target: Target, around: Surroundings) -> AbstractContextManager[Session]:
    """Nothing of a host is changed yet."""
    del around
    raise RefusedError(f"nothing of host {target.name} is changed")


KIND = TargetKind(
    name="host",
    summary="the host that Medic8 runs on: processors, memory, disks, network, tables of the kernel, clock",
    diagnostics=DIAGNOSTICS,
    rules=RULES,
    strategies={},
    open_session=open_session,
    compare=compare,
    requires=requires,
)
