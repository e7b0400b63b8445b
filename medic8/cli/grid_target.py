"""What the commands about grids share: the target, how fast to look at it, and the exit code after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.complete import grid_names
from medic8.cli.exits import ExitCode
from medic8.errors import ConfigurationError

if TYPE_CHECKING:
    from medic8.cli.call import Call
    from medic8.model.grid import GridReport
    from medic8.model.target import Target

GridName = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="A target of kind grid; see medic8 targets.", autocompletion=grid_names
    ),
]

_MIB = 1 << 20
_COPIES = 2


def grid_target(call: Call, target: str) -> tuple[Target, str]:
    """
    The target called *target* and its grid's name.

    Raises:
        ConfigurationError: there is no such target, or it is no grid.
    """
    found = call.settings.target(target)
    if found.kind != "grid":
        raise ConfigurationError(
            f'target "{found.name}" is of kind "{found.kind}"; this command is for grids'
        )
    return found, found.grid_name


def scrub_limit(target: Target, rate_mib: float | None) -> float | None:
    """Most bytes to read per second: as asked for, else as configured; None is no limit."""
    rate = target.scrub_mib_per_s if rate_mib is None else rate_mib
    return None if rate is None else rate * _MIB


def exit_after_scrub(report: GridReport) -> ExitCode:
    """Well if every byte looked at is right, both manifests are, and the server keeps its keys."""
    whole = report.consistency.is_consistent and report.health.manifest_copies_good == _COPIES
    return ExitCode.WELL if whole and not report.health.risks else ExitCode.NOT_WELL
