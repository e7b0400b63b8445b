"""The kind ``process`` as the rest of the house sees it."""

from __future__ import annotations

from medic8.analysis.changes import changes
from medic8.errors import ConfigurationError
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Change
from medic8.model.target import Target
from medic8.targets.kind import TargetKind
from medic8.targets.process.causes import CAUSES, CAUSES_BENEATH
from medic8.targets.process.diagnostics import DIAGNOSTICS
from medic8.targets.process.guards import ProcessGuards
from medic8.targets.process.looks.taken_over import server_problems
from medic8.targets.process.naming import CommandLine, PidFile, name_of
from medic8.targets.process.policy import POLICY
from medic8.targets.process.remedies import REMEDIES
from medic8.targets.process.rules import RULES
from medic8.targets.process.session import open_session
from medic8.targets.process.strategies import STRATEGIES
from medic8.targets.process.usage import analyze_activity, monitor_process, tracked

_COMPARED = {
    "presence": {"presence.pid": "process", "presence.age": "runs for"},
    "memory": {"memory.resident": "resident memory", "memory.own": "memory of its own"},
    "descriptors": {
        "descriptors.count": "open descriptors",
        "descriptors.deleted_bytes": "kept of deleted files",
    },
    "activity": {
        "activity.threads": "threads",
        "activity.cores": "processor time",
        "activity.weight": "weight",
        "activity.zombies": "zombies",
    },
}


def compare(before: DiagnosticReport, after: DiagnosticReport) -> tuple[Change, ...]:
    """Who it is, and what it takes."""
    return tuple(
        change
        for diagnostic, names in _COMPARED.items()
        for change in changes(before, after, diagnostic, names.get)
    )


def requires(target: Target) -> tuple[str, ...]:
    """What is wrong with the configuration of a process."""
    try:
        name = name_of(target.address)
    except ConfigurationError as exc:
        return (str(exc),)
    if problems := server_problems(target):
        return problems
    if target.process and target.process.start and not isinstance(name, PidFile | CommandLine):
        return (f"field 'process.start': {name.in_words} is started by its supervisor",)
    return ()


KIND = TargetKind(
    name="process",
    summary="a process of this host: whether it runs, its check, memory, descriptors, activity, growth, "
    "backups of its data",
    diagnostics=DIAGNOSTICS,
    rules=RULES,
    thresholds=dict(POLICY.named()),
    strategies=STRATEGIES,
    open_session=open_session,
    compare=compare,
    requires=requires,
    guards=ProcessGuards(),
    causes=CAUSES,
    causes_beneath=CAUSES_BENEATH,
    analyzers={"activity": analyze_activity},
    monitors={"process": monitor_process},
    tracked=tracked,
    remedies=REMEDIES,
)
