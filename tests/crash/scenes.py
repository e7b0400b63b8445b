"""
What every scene of the laboratory has: a real server with real damage, a plan, and somebody else who writes.

For each *registered* strategy there is one scene; `scene_for` refuses a strategy that has none, so that
nobody adds a strategy which was never killed.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import valkey

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.model.plan import Plan
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named, kind_names
from tests.crash.reader import Ended, Verdict

NOW = datetime(2026, 1, 2, tzinfo=UTC)

#: What somebody else wrote last and was told is there: place -> value, both in the scene's own words.
Written = dict[str, str]


class Scene(Protocol):
    """
    One strategy's stage.

    Attributes:
        target: What is repaired.
        plan: What is carried out, made once from a real diagnosis of the staged damage.
        exact_before: Whether a change of theirs right before a write of ours is never written over.
            Only for a server's settings it is not, between ``CONFIG GET`` and ``EXEC`` (docs/recovery.md).
    """

    target: Target
    plan: Plan
    exact_before: bool

    def stage(self) -> None:
        """Bring the server to the state in which the damage is found."""

    def meddle(self, rng: random.Random) -> Written:
        """Change what the plan changes, and things beside it, as somebody else; what was acknowledged."""

    def wander(self, rng: random.Random) -> Written:
        """One change of something beside, or of the same thing where that is exact; what was acknowledged."""

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Whether the server holds what was promised for a recovery that ended so; None = never opened."""

    def contents(self) -> Mapping[str, bytes]:
        """All that the server holds, for comparison."""


#: Makes a scene, with a server that lives as long as the block.
SceneMaker = Callable[[Path], contextlib.AbstractContextManager[Scene]]


@dataclass(frozen=True)
class Expected:
    """
    How recoveries of one strategy may end.

    Attributes:
        scene: Makes the scene.
        may_need_person: Whether a kill alone may end with a person. One does, that calls a program of the
            site: whether it ran is told by nothing until it has answered.
        missing: What this machine lacks for the scene, so that it is left out; empty = nothing.
    """

    scene: SceneMaker
    may_need_person: bool = False
    missing: str = ""


def registered_strategies() -> tuple[tuple[str, str], ...]:
    """(kind, strategy) of everything that is registered, in order."""
    return tuple((kind, strategy) for kind in kind_names() for strategy in kind_named(kind).strategies)


def scene_for(strategy: str, table: Mapping[str, Expected]) -> Expected:
    """
    The scene of *strategy*.

    Raises:
        LookupError: it has none.
    """
    if strategy not in table:
        raise LookupError(
            f"strategy {strategy!r} has no scene in the crash laboratory; it has scenes for "
            f"{', '.join(table)}: add one beside them"
        )
    return table[strategy]


def around(folder: Path) -> Surroundings:
    """What a kind may use beside the target: backups and claims in *folder*."""
    return Surroundings(backups=BackupPlace.of(folder / "backups"), now=NOW, claims=folder / "claims")


def plan_by(strategy: str, target: Target, surroundings: Surroundings) -> Plan:
    """The plan of *strategy* for what a real diagnosis of *target* finds."""
    kind = kind_named(target.kind)
    results = {name: look(target, surroundings) for name, look in kind.diagnostics.items()}
    analysis = analyze(results.values())
    issues = detect_issues(analysis, kind.rules, target=target.name, at=NOW)
    report = DiagnosticReport(
        target=target.name, kind=kind.name, results=results, analysis=analysis, issues=issues, taken_at=NOW
    )
    plans = [kind.strategies[strategy](issue, report, target) for issue in issues]
    useful = [plan for plan in plans if plan.units]
    if len(useful) != 1:
        raise LookupError(f"{strategy}: {len(useful)} plans with steps for {len(issues)} issues; 1 is needed")
    return useful[0]


def scenes_of(strategy: str, table: Mapping[str, Expected]) -> dict[str, Expected]:
    """
    All scenes of *strategy*: its own, and one for each other way in which it works, called "STRATEGY by WAY".

    Raises:
        LookupError: it has none.
    """
    others = {name: scene for name, scene in table.items() if name.startswith(f"{strategy} by ")}
    return {strategy: scene_for(strategy, table), **others}


@contextlib.contextmanager
def plain(url: str) -> Iterator[valkey.Valkey]:
    """A client that is none of Medic8's."""
    client = valkey.Valkey.from_url(url, socket_timeout=60)
    try:
        yield client
    finally:
        client.close()


def everything_in(url: str) -> Mapping[str, bytes]:
    """Every key with its value; strings only, since nothing else is staged."""
    with plain(url) as client:
        names = sorted(client.scan_iter(count=1000))
        return dict(zip((name.decode() for name in names), client.mget(names) if names else (), strict=True))
