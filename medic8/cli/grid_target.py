"""The argument of every command that is for grids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from medic8.errors import ConfigurationError

if TYPE_CHECKING:
    from medic8.cli.call import Call
    from medic8.model.target import Target

GridName = Annotated[str, typer.Argument(metavar="TARGET", help="A target of kind grid; see medic8 targets.")]


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
