"""The kind ``grid`` as the rest of the house sees it."""

from __future__ import annotations

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.causes import CauseRule
from medic8.analysis.changes import changes
from medic8.analysis.detector import IssueRule
from medic8.errors import ConfigurationError
from medic8.model.issue import IssueType
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Change
from medic8.model.target import Target
from medic8.targets.grid.actions import open_session
from medic8.targets.grid.backups import GridBackups
from medic8.targets.grid.diagnostics import DIAGNOSTICS
from medic8.targets.grid.guards import GridGuards
from medic8.targets.grid.keys import check_name
from medic8.targets.grid.performance import analyze_pages, monitor_grid
from medic8.targets.grid.strategies import STRATEGIES
from medic8.targets.kind import TargetKind
from medic8.targets.valkey.address import address_problems
from medic8.targets.valkey.causes import CAUSES
from medic8.targets.valkey.performance import analyze_service
from medic8.targets.valkey.remedies import REMEDIES
from medic8.targets.valkey.rules import OF_A_GRID

RULES = (
    IssueRule(
        codes=frozenset({UNREACHABLE}),
        issue_type=IssueType.NETWORK,
        title="The server of {target} cannot be reached",
        symptoms=("Connection failures", "Timeout errors"),
    ),
    IssueRule(
        codes=frozenset({"grid.damaged", "grid.manifest_copy", "grid.groups_gone"}),
        issue_type=IssueType.GRID_CORRUPTION,
        title="{about} is corrupted",
        symptoms=("Inconsistent data", "Failed operations", "Error messages"),
        cause="Values were changed or deleted on the server by something else than the grid's library.",
    ),
    IssueRule(
        codes=frozenset({"grid.not_found"}),
        issue_type=IssueType.GRID_CORRUPTION,
        title="{about} cannot be opened",
        symptoms=("Failed operations", "Error messages"),
        cause="It was never created (medic8 grid create), or both copies of its manifest were lost.",
    ),
    IssueRule(
        codes=frozenset({"grid.at_risk"}),
        issue_type=IssueType.GRID_CORRUPTION,
        title="The server may drop {about}",
        symptoms=("Inconsistent data",),
        cause="The server is configured to evict or expire keys that a grid needs for good.",
    ),
    IssueRule(
        codes=frozenset({"grid.lock_stale"}),
        issue_type=IssueType.SYNCHRONIZATION,
        title="{about} keep others out",
        symptoms=("Inconsistent state", "Deadlocks"),
        cause="Their owners died or were cut off in the middle of their work, and nobody renews the leases.",
    ),
    IssueRule(
        codes=frozenset({"grid.deadlock"}),
        issue_type=IssueType.SYNCHRONIZATION,
        title="{about} wait for each other",
        symptoms=("Deadlocks",),
        cause="They took the same locks in different orders.",
    ),
    IssueRule(
        codes=frozenset({"grid.lost_updates"}),
        issue_type=IssueType.SYNCHRONIZATION,
        title="{about} get in each other's way",
        symptoms=("Race conditions", "Inconsistent state"),
        cause="Several read and write the same groups without a lock around both.",
    ),
    *OF_A_GRID,
)

#: Codes of findings that an issue of a grid may have.
_CODES = frozenset(code for rule in RULES for code in rule.codes)

#: What leads to what on its server, as far as a grid's own looks go.
_CAUSES = tuple(
    CauseRule(each.causes & _CODES, each.effects & _CODES, each.why, each.clues)
    for each in CAUSES
    if each.causes & _CODES and each.effects & _CODES
)

_COMPARED = {
    "grid.damaged_values": "damaged values",
    "grid.damaged_groups": "damaged groups",
    "grid.lost_cells": "lost cells",
    "grid.quarantined_pages": "pages in quarantine",
    "grid.stale_locks": "stale locks",
    "grid.deadlocks": "deadlocks",
}


def compare(before: DiagnosticReport, after: DiagnosticReport) -> tuple[Change, ...]:
    """Damage, loss and speed before and after."""
    return tuple(changes(before, after, "grid", _COMPARED.get))


def requires(target: Target) -> tuple[str, ...]:
    """What is wrong with the configuration of a grid."""
    wrong = [*address_problems(target.address)]
    try:
        check_name(target.grid_name)
    except ConfigurationError as exc:
        wrong.append(str(exc))
    return tuple(wrong)


CAUSES_BENEATH = {
    "valkey": (
        CauseRule(
            causes=frozenset({UNREACHABLE, "server.busy", "server.loading"}),
            effects=frozenset({UNREACHABLE}),
            why="A grid is as reachable as its server.",
        ),
    )
}

KIND = TargetKind(
    name="grid",
    summary="a Mem|8 memory grid: health, consistency of every block, performance",
    diagnostics=DIAGNOSTICS,
    rules=RULES,
    strategies=STRATEGIES,
    open_session=open_session,
    compare=compare,
    requires=requires,
    backups=GridBackups(),
    guards=GridGuards(),
    causes=_CAUSES,
    causes_beneath=CAUSES_BENEATH,
    analyzers={"pages": analyze_pages, "service": analyze_service},
    monitors={"grid": monitor_grid},
    remedies={code: each for code, each in REMEDIES.items() if code.startswith("commands.")},
)
