"""A damaged grid and a setting on a server of its own, for tests in which that server goes away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import valkey

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.model.plan import Plan, Step, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.kind import KIND
from medic8.targets.grid.strategies import plan_from_parity
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.acts.settings import SET_SETTING

NAME = "lab"
GROUPS = (0, 1)

Values = Mapping[str, bytes | None]


def now() -> datetime:
    """The time now."""
    return datetime.now(UTC)


def around() -> Surroundings:
    """No backups, now."""
    return Surroundings(backups=BackupPlace(url="/nonexistent"), now=now())


def grid_on(url: str) -> Target:
    """The grid of the server at *url*."""
    return Target(name=NAME, kind="grid", url=url, grid=NAME)


def server_on(url: str) -> Target:
    """The server at *url*."""
    return Target(name="server", kind="valkey", url=url)


def make_grid(client: valkey.Valkey) -> Values:
    """Create a grid with two whole groups, and tell what it holds."""
    rng = np.random.default_rng(1)
    grid = Grid.create(client, NAME, 32)
    grid.fill(lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=GROUPS)
    return values_of(client)


def harm(client: valkey.Valkey) -> Values:
    """Two values of the first group and one of the second: a page, P, and a whole block."""
    client.setrange(role_key(NAME, 0, 3), 5000, b"damage")
    client.delete(role_key(NAME, 0, 16))
    client.delete(role_key(NAME, 1, 7))
    return values_of(client)


def values_of(client: valkey.Valkey) -> Values:
    """All keys of the grid."""
    keys = [role_key(NAME, group, role) for group in GROUPS for role in range(18)]
    keys += [sums_key(NAME, group) for group in GROUPS] + list(manifest_keys(NAME))
    return dict(zip(keys, client.mget(keys), strict=True))


def plan_repair(target: Target) -> Plan:
    """What `rebuild_from_parity` would do about the grid."""
    results = {name: look(target, around()) for name, look in KIND.diagnostics.items()}
    analysis = analyze(results.values())
    issues = detect_issues(analysis, KIND.rules, target=target.name, at=now())
    report = DiagnosticReport(
        target=target.name, kind="grid", results=results, analysis=analysis, issues=issues, taken_at=now()
    )
    return plan_from_parity(issues[0], report, target)


def plan_settings(*changes: tuple[str, str, str]) -> Plan:
    """Set settings, each given as name, present value and new value, one step each."""
    steps = tuple(
        Step(
            title=f"set {name}",
            action=SET_SETTING,
            arguments={"name": name, "found": found, "value": value},
            touches=f"setting {name}",
        )
        for name, found, value in changes
    )
    return Plan(
        target="server",
        strategy="set_settings",
        issue_fingerprint="0" * 16,
        summary="Set.",
        units=(Unit(title="settings", steps=steps),),
    )


def aof_of(data: Path) -> Path:
    """The file to which a server appends now."""
    (found,) = (data / "appendonlydir").glob("*.incr.aof")
    return found
