"""``medic8 completion``: have the shell complete commands, options and names at the tab key."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from medic8.cli.exits import ExitCode


class Shell(StrEnum):
    """The shells that can."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)],
) -> int:
    """Write what the shell has to read to complete this command line; see docs/command-line.md."""
    from typer._completion_shared import get_completion_script  # nobody else has the scripts

    typer.echo(get_completion_script(prog_name="medic8", complete_var="_MEDIC8_COMPLETE", shell=shell))
    return ExitCode.WELL
