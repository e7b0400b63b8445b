"""Look at a grid as a target: the scrub, and where the right bytes of what is damaged can be had."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import valkey

from medic8.backups.choosing import chosen_backup
from medic8.errors import ConfigurationError, RefusedError
from medic8.model.grid import BlockDamage, BlockRole, GridReport
from medic8.model.grid_map import ValueState
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.target import Target
from medic8.model.wording import counted
from medic8.targets.grid.backup_reading import grid_repository
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.gone import gone_groups
from medic8.targets.grid.keys import sums_key
from medic8.targets.grid.layout import MEMBERS
from medic8.targets.grid.lock_look import look_at_locks
from medic8.targets.grid.map.collector import CODES
from medic8.targets.grid.map.grid_map import GridMap
from medic8.targets.grid.map.picture import picture
from medic8.targets.grid.map.survey import REBUILT_FOR, Past, survey
from medic8.targets.grid.repairs import with_repairs
from medic8.targets.grid.scrub import ScrubOptions
from medic8.targets.grid.server_looks import for_a_grid
from medic8.targets.kind import Diagnostic, Surroundings
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.looks.broken_off import steadily
from medic8.targets.valkey.looks.clients import look_at_clients
from medic8.targets.valkey.looks.commands import look_at_commands
from medic8.targets.valkey.looks.errors import look_at_errors
from medic8.targets.valkey.looks.memory import look_at_memory
from medic8.targets.valkey.looks.opening import look_at_the_way_in

#: Blocks that are named in a sentence; the rest is counted.
_MOST_NAMED = 8

#: Who fills a grid has written another group after so long.
_FILLING_S = 1.0

#: How the map calls a block that is not to be there, or that the grid has no room for.
_NEVER = (0, CODES[ValueState.NEVER_WRITTEN])

#: In the evidence, which is read to look for them, so many.
_MOST_IN_EVIDENCE = 64


def look_at_grid(target: Target, around: Surroundings) -> DiagnosticResult:
    """Health, consistency and performance of the grid, and what can be written back."""
    name = target.grid_name
    limit = target.scrub_mib_per_s
    options = ScrubOptions(
        on_progress=around.progress, limit_bytes_per_s=None if limit is None else limit * 2**20
    )
    with connection(target.address, timeout_s=target.timeout_s) as client:
        try:
            report, grid_map = survey(client, name, options, now=around.now, past=_past(around))
        except NotAGridError as exc:
            found = _no_grid(name, exc, _backup_to_restore(target, around))
            return DiagnosticResult(diagnostic="grid", findings=(found,), taken_at=around.now)
        report = with_repairs(client, report, target, around.backups)
        gone = _still_gone(client, name, groups_gone_from(grid_map))
    report = report.model_copy(update={"map": picture(grid_map)})
    return DiagnosticResult(
        diagnostic="grid",
        readings=_readings(report),
        findings=(
            *judge_grid(report),
            *judge_gone(name, gone, _backup_to_restore(target, around) if gone else ""),
        ),
        unseen=(
            *report.consistency.unusable_replicas,
            *report.consistency.unusable_backups,
            *([grid_map.unseen] if grid_map.unseen else []),
        ),
        grid=report,
        taken_at=around.now,
    )


def judge_grid(report: GridReport) -> tuple[Finding, ...]:
    """What is wrong with a grid, from its report alone."""
    return tuple(_damage(report)) + tuple(_risks(report))


def groups_gone_from(grid_map: GridMap) -> list[int]:
    """The groups of a grid of which nothing is left, see `gone_groups`."""
    layout = grid_map.manifest.layout
    is_there = ~np.isin(grid_map.states[:, :MEMBERS], _NEVER)
    members = np.array([layout.members(group) for group in range(layout.groups)], dtype=np.int64)
    return gone_groups(is_there, members)


def _still_gone(client: valkey.Valkey, name: str, groups: list[int]) -> list[int]:
    """*groups*, unless one of them has come meanwhile: then somebody fills the grid, in whatever order."""
    if not groups:
        return []
    time.sleep(_FILLING_S)
    return [] if client.exists(*(sums_key(name, group) for group in groups)) else groups


def judge_gone(name: str, groups: list[int], what_helps: str = "") -> tuple[Finding, ...]:
    """
    What is said of groups that are gone with all of their keys.

    Args:
        name: Of the grid.
        groups: Their numbers.
        what_helps: Which backup has them, and how it is restored; empty if there is none.
    """
    if not groups:
        return ()
    named = ", ".join(map(str, groups[:_MOST_NAMED]))
    more = f" and {len(groups) - _MOST_NAMED} more" if len(groups) > _MOST_NAMED else ""
    return (
        Finding(
            code="grid.groups_gone",
            severity=Severity.ERROR,
            text=f"nothing is left of {'group' if len(groups) == 1 else 'groups'} {named}{more} of grid "
            f"{name}, though all that lies around was written{what_helps}",
            about=f"grid {name}",
            evidence=(
                Evidence(what="groups without any key", seen=f"{len(groups):,}", limit="0"),
                Evidence(what="where", seen=", ".join(map(str, groups[:_MOST_IN_EVIDENCE]))),
            ),
            advice=(
                "find out who deletes keys by a pattern: COMMANDLOG, ACL LOG and the programs' own logs",
                f"medic8 backup list tells what can be brought back of it{what_helps}",
            ),
            extent=len(groups),
        ),
    )


def _past(around: Surroundings) -> Past | None:
    return None if around.recoveries is None else Past(around.now - REBUILT_FOR, around.recoveries)


def blocks_in_words(damaged: list[BlockDamage], most: int = _MOST_NAMED) -> str:
    """Which blocks are concerned, *most* of them by number: ``blocks 3, 17 and 21 more``."""
    numbers = sorted({each.block for each in damaged if each.block is not None})
    named = ", ".join(str(number) for number in numbers[:most])
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    words = [f"{'block' if len(numbers) == 1 else 'blocks'} {named}{more}"] if numbers else []
    others = Counter(each.role for each in damaged if each.block is None)
    called = {
        BlockRole.P: "P",
        BlockRole.Q: "Q",
        BlockRole.SUMS: "record of checksums",
        BlockRole.LOST: "list of lost pages",
    }
    words += [f"{count} {called.get(role, role.value)}" for role, count in sorted(others.items())]
    return ", ".join(words)


def _damage(report: GridReport) -> Iterator[Finding]:
    scrub = report.consistency.scrub
    about = f"grid {report.health.name}"
    damaged = [block for group in scrub.damage for block in group.blocks]
    if scrub.damaged_groups:
        natures = Counter(block.nature for block in damaged)
        more = scrub.damaged_groups - len(scrub.damage)
        evidence = [
            Evidence(what="damaged groups", seen=str(scrub.damaged_groups), limit="0"),
            *(
                Evidence(what=f"{nature.value} values", seen=str(count), limit="0")
                for nature, count in sorted(natures.items())
            ),
            Evidence(what="where", seen=blocks_in_words(damaged, _MOST_IN_EVIDENCE)),
        ]
        if scrub.lost_cells:
            evidence.append(
                Evidence(
                    what="cells that the grid alone cannot bring back", seen=str(scrub.lost_cells), limit="0"
                )
            )
        yield Finding(
            code="grid.damaged",
            severity=Severity.CRITICAL if scrub.lost_cells else Severity.ERROR,
            text=f"{blocks_in_words(damaged)} of {about} {'is' if len(damaged) == 1 else 'are'} not what was "
            f"written, in {scrub.damaged_groups} of {scrub.groups_total} parity groups"
            + (f", {more} of which are not described here" if more else ""),
            about=about,
            evidence=tuple(evidence),
            extent=len(damaged) + more,
        )
    if report.health.manifest_copies_good < 2:  # noqa: PLR2004 - there are two
        yield Finding(
            code="grid.manifest_copy",
            severity=Severity.WARNING,
            text=f"one of the two copies of the manifest of {about} is damaged or missing",
            about=about,
            evidence=(Evidence(what="good copies of the manifest", seen="1", limit="2"),),
        )


def _risks(report: GridReport) -> Iterator[Finding]:
    for risk in report.health.risks:
        yield Finding(
            code="grid.at_risk",
            severity=Severity.WARNING,
            text=risk,
            about=f"keys of grid {report.health.name}",
            evidence=(Evidence(what="the server may drop keys of the grid", seen=risk),),
        )


def _backup_to_restore(target: Target, around: Surroundings) -> str:
    """Which backup brings a grid back that is gone, and how; empty if there is none."""
    try:
        backup = chosen_backup(grid_repository(around.backups, target.grid_name))
    except (RefusedError, ConfigurationError):
        return ""
    blocks = counted(backup.grid.blocks, "block") if backup.grid is not None else "nothing"
    return f"; backup {backup.id} holds {blocks} of it: medic8 backup restore {target.name}"


def _no_grid(name: str, error: NotAGridError, what_helps: str) -> Finding:
    return Finding(
        code="grid.not_found",
        severity=Severity.CRITICAL,
        text=f"{error}{what_helps}",
        about=f"grid {name}",
        evidence=(Evidence(what="manifest", seen=f"{error}{what_helps}"),),
    )


def _readings(report: GridReport) -> tuple[Reading, ...]:
    health, scrub, performance = report.health, report.consistency.scrub, report.performance
    counts = {
        "grid.blocks": health.blocks_existing,
        "grid.damaged_groups": scrub.damaged_groups,
        "grid.damaged_values": sum(len(group.blocks) for group in scrub.damage),
        "grid.lost_cells": scrub.lost_cells,
        "grid.quarantined_pages": scrub.quarantined_pages,
        "grid.read_again": scrub.suspicions,
    }
    readings = [Reading(name=name, value=value, unit="count") for name, value in counts.items()]
    if performance.read_median_s is not None:
        readings.append(
            Reading(name="grid.read_median", value=round(performance.read_median_s, 6), unit="seconds")
        )
    if performance.throughput_bytes_per_s is not None:
        mib_per_s = round(performance.throughput_bytes_per_s / 2**20, 1)
        readings.append(Reading(name="grid.throughput", value=mib_per_s, unit="MiB/s"))
    return tuple(readings)


_LOOKS: Mapping[str, Diagnostic] = {
    "reachability": look_at_the_way_in,
    "grid": look_at_grid,
    "locks": look_at_locks,
    "commands": look_at_commands,
    "memory": for_a_grid(look_at_memory),
    "clients": for_a_grid(look_at_clients),
    "errors": for_a_grid(look_at_errors),
}

DIAGNOSTICS: Mapping[str, Diagnostic] = {name: steadily(name, look) for name, look in _LOOKS.items()}
