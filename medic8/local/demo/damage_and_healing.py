"""The demo's first part: a grid is damaged under a writer's hands, healed, and compared bit for bit."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import valkey

from medic8.local.demo.child import Child, child
from medic8.local.demo.kept_copy import KeptCopy, count_records
from medic8.local.demo.report import WriterTally
from medic8.local.demo.site import GRID
from medic8.local.demo.stage import Stage
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Breakage, make
from medic8.local.lab.faults import FAULTS
from medic8.local.lab.reset import remove_grid
from medic8.model.grid import BlockDamage, BlockRole, GridReport
from medic8.model.plan import StepClass
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Outcome, Resolution, Treatment
from medic8.targets.grid.diagnose import diagnose_grid
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key, sums_key
from medic8.targets.grid.layout import MEMBERS, ROLES, P, Q, block_at
from medic8.targets.grid.scrub import ScrubOptions
from medic8.targets.valkey.client import connection

_WRITER = "medic8.local.demo.writer"
_HEARD_WITHIN_S = 30.0
_MIB_PER_LAYER = 2

#: How much is broken.
_BITS, _BLOCKS = 16, 4

_TOLD = 4


def play(stage: Stage) -> tuple[tuple[Breakage, ...], WriterTally]:
    """
    Play the first part.

    Returns:
        What was broken, and what the writer did.
    """
    with ExitStack() as ends:
        client = ends.enter_context(connection(stage.valkey_url, timeout_s=30, name="medic8-demo"))
        if not stage.is_kept:
            ends.callback(_remove, stage.valkey_url)
        kept = _fill(stage, client)
        record = stage.folder / "writer.record"
        writer = ends.enter_context(child(_WRITER, stage.valkey_url, GRID, str(record), str(stage.seed)))
        breakages = _break(stage, client, writer)
        report = _diagnose(stage, breakages)
        _plan(stage, report)
        _heal(stage, record)
        tally = _compare(stage, client, writer, kept, record)
    return breakages, tally


def _fill(stage: Stage, client: valkey.Valkey) -> KeptCopy:
    size = stage.depth * _MIB_PER_LAYER
    with stage.phase(f"Fill a memory grid of {size} MiB, and keep a copy") as scene:
        remove_grid(client, GRID)
        grid = Grid.create(client, GRID, stage.depth)
        kept = KeptCopy(grid.layout.blocks)
        grid.fill(kept.keeping(stage.waves))
        scene.say(
            f"{grid.layout.cells:,} waves in {grid.layout.blocks:,} blocks of 64 KiB. Every 16 blocks share "
            f"two blocks of parity, P and Q: each of the {grid.layout.groups} groups can lose any two."
        )
    return kept


def _break(stage: Stage, client: valkey.Valkey, writer: Child) -> tuple[Breakage, ...]:
    with stage.phase("Damage it behind Medic8's back, while a writer keeps writing") as scene:
        writer.hear(_HEARD_WITHIN_S)
        bench = Bench(client, GRID)
        breakages = tuple(
            make(FAULTS[fault], bench, target=GRID, seed=stage.seed, strength=strength)
            for fault, strength in (("flip_bits", _BITS), ("delete_blocks", _BLOCKS))
        )
        writer.tell(str(_blocks_near(breakages, bench)))
        scene.say(
            "Another process writes hundreds of cells a second, half of them beside the damage. "
            "Broken by plain commands on the server, BITFIELD and DEL:"
        )
        for breakage in breakages:
            scene.list(breakage.what, _TOLD)
    return breakages


def _diagnose(stage: Stage, breakages: tuple[Breakage, ...]) -> DiagnosticReport:
    with stage.phase("Diagnose it") as scene:
        report = stage.flows.diagnose(GRID)
        scene.say(f"{GRID} is {report.analysis.health.value.upper()}")
        scene.list(tuple(_in_one_line(report)), _TOLD)
        found = _keys_found(report.grid) if report.grid is not None else set()
        broken = {key for breakage in breakages for key in breakage.keys}
        seen = f"{len(found & broken)} of {len(broken)} found"
        if false := len(found - broken):
            seen += f", and {false} that nobody broke"
        scene.check(
            "every broken value is found, and nothing else, while the writer writes", found == broken, seen
        )
    return report


def _plan(stage: Stage, report: DiagnosticReport) -> None:
    with stage.phase("Plan what to do; nothing is changed") as scene:
        treatment = stage.flows.heal(GRID, dry_run=True)
        planned = _only(treatment)
        plan = planned.plan if planned is not None else None
        units = plan.units if plan is not None else ()
        steps = [step for unit in units for step in unit.steps]
        if plan is not None:
            scene.say(f"{plan.summary} Risk: {plan.risk.value}.")
            scene.list(tuple(step.title for step in steps), _TOLD)
        damage = report.grid.consistency.scrub.damage if report.grid is not None else ()
        values = sum(len(group.blocks) for group in damage)
        scene.check(
            "every damaged value has a step that heals it",
            len(steps) == values > 0,
            f"{values} values, {len(steps)} steps; {_outcome(treatment)}",
        )
        can_be_undone = sum(step.step_class is StepClass.RESTORABLE for step in steps)
        scene.check(
            "every step can be undone, and proves what it wrote",
            can_be_undone == len(steps) and all(unit.proves_itself for unit in units),
            f"{can_be_undone} of {len(steps)} can be undone",
        )


def _heal(stage: Stage, record: Path) -> None:
    with stage.phase("Heal it, while the writer goes on") as scene:
        before = count_records(record)
        treatment = stage.flows.heal(GRID, dry_run=False)
        written = count_records(record) - before
        resolution = _only(treatment)
        is_resolved = resolution is not None and resolution.outcome is Outcome.RESOLVED
        scene.check("the issue is resolved", is_resolved, _outcome(treatment))
        scene.check(
            "a new diagnosis finds nothing wrong",
            treatment.is_healed,
            (treatment.after or treatment.before).analysis.health.value,
        )
        for change in resolution.changes if resolution is not None else ():
            scene.say(f"- {change.what}: {change.before}, then {change.after}")
        scene.check("writes were accepted meanwhile", written > 0, f"{written:,} writes")


def _compare(stage: Stage, client: valkey.Valkey, writer: Child, kept: KeptCopy, record: Path) -> WriterTally:
    with stage.phase("Compare every bit with the kept copy") as scene:
        tally = WriterTally.model_validate_json(writer.finish(_HEARD_WITHIN_S))
        applied = kept.apply(record)
        scene.check(
            "every write that was refused because of damage was accepted after the repair",
            tally.waiting == 0,
            f"{tally.refused} refused at first, {tally.waiting} still waiting",
        )
        differing = kept.differing(client, GRID)
        blocks = stage.depth * _MIB_PER_LAYER * 16
        scene.check(
            f"copy + {applied:,} acknowledged writes = grid, bit for bit",
            not differing and applied == tally.acknowledged,
            f"{blocks - len(differing):,} of {blocks:,} blocks are equal",
        )
        scrub = diagnose_grid(client, GRID, ScrubOptions(is_deep=True)).consistency
        scene.check(
            "every checksum, P and Q agree with the data",
            scrub.is_consistent,
            f"{scrub.scrub.damaged_groups} of {scrub.scrub.groups_total} groups damaged",
        )
    return tally


def _remove(address: str) -> None:
    # On a connection of its own: Ctrl-C may have come while an answer was being read on the other.
    with connection(address, timeout_s=30, name="medic8-demo") as client:
        remove_grid(client, GRID)


def _in_one_line(report: DiagnosticReport) -> list[str]:
    lines = [f"{issue.title} ({issue.severity.value})" for issue in report.issues]
    for issue in report.issues:
        lines += [f"{fact.what}: {fact.seen}" for fact in issue.evidence]
    return lines or [finding.text for finding in report.analysis.findings]


def _only(treatment: Treatment) -> Resolution | None:
    return treatment.resolutions[0] if len(treatment.resolutions) == 1 else None


def _outcome(treatment: Treatment) -> str:
    return "; ".join(f"{each.outcome.value}: {each.reason}" for each in treatment.resolutions) or "no issue"


def _keys_found(report: GridReport) -> set[str]:
    damage = report.consistency.scrub.damage
    return {_key(block) for group in damage for block in group.blocks}


def _key(damage: BlockDamage) -> str:
    match damage.role:
        case BlockRole.SUMS:
            return sums_key(GRID, damage.group)
        case BlockRole.P:
            return role_key(GRID, damage.group, P)
        case BlockRole.Q:
            return role_key(GRID, damage.group, Q)
        case _:
            return role_key(GRID, damage.group, damage.member or 0)


def _blocks_near(breakages: tuple[Breakage, ...], bench: Bench) -> list[int]:
    """The blocks of every group that was hurt."""
    hurt = {key for breakage in breakages for key in breakage.keys}
    groups = [
        group
        for group in range(bench.manifest.layout.groups)
        if any(role_key(GRID, group, role) in hurt for role in range(ROLES))
    ]
    return sorted(block_at(group, member) for group in groups for member in range(MEMBERS))
