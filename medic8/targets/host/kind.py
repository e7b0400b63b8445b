"""The kind ``host`` as the rest of the house sees it."""

from __future__ import annotations

from medic8.analysis.changes import changes
from medic8.model.plan import Plan
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Change
from medic8.model.target import Target
from medic8.targets.host.causes import CAUSES
from medic8.targets.host.diagnostics import DIAGNOSTICS
from medic8.targets.host.guards import HostGuards
from medic8.targets.host.looks.looking import address_problems
from medic8.targets.host.plans.files import is_agreed
from medic8.targets.host.policy import POLICY
from medic8.targets.host.remedies import REMEDIES
from medic8.targets.host.rules import RULES
from medic8.targets.host.session import open_session
from medic8.targets.host.strategies import STRATEGIES
from medic8.targets.host.usage import analyze_pressure, monitor_host, tracked
from medic8.targets.kind import TargetKind


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
    return (*address_problems(target.address), *_twins(target))


def _twins(target: Target) -> tuple[str, ...]:
    folders = [rule.folder for rule in target.prune]
    return tuple(
        f"folder {one!r} of field 'prune' lies within {other!r}, which has a rule too"
        for number, one in enumerate(folders)
        for at, other in enumerate(folders)
        if at != number and f"{one}/".startswith(f"{other}/") and (one != other or at < number)
    )


def agrees(plan: Plan, target: Target) -> bool:
    """Whether the configuration agrees to what *plan* deletes: ``delete`` of its rule, ``prune_backups``."""
    match plan.strategy:
        case "empty_quarantine":
            return is_agreed(plan, target)
        case "prune_backups":
            return target.prune_backups
        case _:
            return False


KIND = TargetKind(
    name="host",
    summary="the host that Medic8 runs on: processors, memory, disks, network, tables of the kernel, clock",
    diagnostics=DIAGNOSTICS,
    # They do hardly anything but wait while the host is watched.
    at_once=frozenset({"activity", "filling", "network", "tables"}),
    rules=RULES,
    strategies=STRATEGIES,
    thresholds=dict(POLICY.named()),
    open_session=open_session,
    compare=compare,
    requires=requires,
    guards=HostGuards(),
    agrees=agrees,
    causes=CAUSES,
    analyzers={"pressure": analyze_pressure},
    monitors={"host": monitor_host},
    tracked=tracked,
    remedies=REMEDIES,
)
