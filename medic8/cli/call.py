"""One call of the command line: what was asked for globally, and what commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.screen import Screen

if TYPE_CHECKING:
    from medic8.cli.door import Door
    from medic8.settings import Settings

#: The option that every command has.
Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to standard output.")]

#: The option of what a pause stops.
Override = Annotated[
    str,
    typer.Option(
        metavar="REASON", help="Go on although there is a pause, and why; recorded.", show_default=False
    ),
]


@dataclass
class Call:
    """
    What the commands of one call share.

    Attributes:
        screen: Where they write.
        open_door: Opens the way to the flows.
        environ: The environment; what flows are to find is put there.
        config: The configuration asked for with ``--config``.
        is_debug: Whether errors show where they come from.
        stays: Whether this process will be there for long, so that it is to hold little.
    """

    screen: Screen
    open_door: Callable[[Call], Door]
    environ: MutableMapping[str, str] = field(default_factory=lambda: os.environ)
    config: Path | None = None
    is_debug: bool = False
    stays: bool = False

    @cached_property
    def settings(self) -> Settings:
        """
        The configuration; its warnings are told once.

        Raises:
            ConfigurationError: something in it is wrong.
        """
        from medic8.settings import load_settings
        from medic8.settings.apart import load_apart

        settings = (load_apart if self.stays else load_settings)(self.config, environ=self.environ)
        for warning in settings.warnings:
            self.screen.warn(warning)
        return settings

    @cached_property
    def door(self) -> Door:
        """The way to the flows; starts the local stack if no Prefect server answers."""
        return self.open_door(self)


def call_of(ctx: typer.Context, *, wants_json: bool = False) -> Call:
    """The call that *ctx* belongs to."""
    call = ctx.find_object(Call)
    if call is None:
        raise TypeError("the command line was started without its call")
    call.screen.wants_json = wants_json
    return call
