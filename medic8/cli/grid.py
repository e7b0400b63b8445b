"""``medic8 grid``: create a memory grid, fill it with sample waves, and look whether every byte is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.complete import grid_names
from medic8.cli.exits import EPILOG, ExitCode
from medic8.errors import ConfigurationError, RefusedError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from medic8.model.target import Target
    from medic8.targets.grid.grid import Grid

GridName = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="A target of kind grid; see medic8 targets.", autocompletion=grid_names
    ),
]

#: How many keys one request asks for.
_ASKED_AT_ONCE = 1000

_MIB = 1 << 20
_COPIES = 2


def build_grid() -> typer.Typer:
    """Everything that ``medic8 grid`` understands."""
    app = typer.Typer(
        name="grid", help="Create, fill and scrub memory grids; needs no Prefect.", no_args_is_help=True
    )
    for command in (create, fill, scrub):
        app.command(epilog=EPILOG)(command)
    return app


def create(
    ctx: typer.Context,
    target: GridName,
    depth: Annotated[int, typer.Option(min=1, max=65_536, help="Layers; a full layer takes 2.3 MiB.")] = 8,
    json: Json = False,
) -> int:
    """Create an empty grid of 256 x 256 x DEPTH cells; one that exists is left alone."""
    from medic8.targets.grid.grid import Grid
    from medic8.targets.valkey.client import connection

    call = call_of(ctx, wants_json=json)
    found, name = grid_target(call, target)
    with connection(found.address, timeout_s=found.timeout_s) as client:
        grid = Grid.create(client, name, depth)
    _show(call, grid)
    return ExitCode.WELL


def fill(
    ctx: typer.Context,
    target: GridName,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal waves.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what the grid holds; it cannot be taken back.")
    ] = False,
    json: Json = False,
) -> int:
    """Fill a whole grid with sample waves; refuses a grid that holds anything."""
    from medic8.cli.sample_waves import sample_block
    from medic8.targets.grid.grid import Grid
    from medic8.targets.valkey.client import connection

    call = call_of(ctx, wants_json=json)
    found, name = grid_target(call, target)
    with connection(found.address, timeout_s=found.timeout_s) as client:
        grid = Grid.open(client, name)
        keys = list(_record_keys(grid))
        parts = (keys[at : at + _ASKED_AT_ONCE] for at in range(0, len(keys), _ASKED_AT_ONCE))
        if not overwrite and any(client.exists(*part) for part in parts):
            raise RefusedError(
                f"grid {name} of target {found.name} holds cells already; --overwrite replaces them"
            )
        with call.screen.progress(f"filling grid {name}", "groups") as moved:
            grid.fill(lambda number: sample_block(seed, number), on_progress=moved)
    _show(call, grid)
    return ExitCode.WELL


def scrub(
    ctx: typer.Context,
    target: GridName,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Compare P and Q with the data, too."),
    ] = False,
    rate_mib: Annotated[
        float | None,
        typer.Option(min=0.1, help="Most MiB per second; else scrub_mib_per_s.", show_default=False),
    ] = None,
    json: Json = False,
) -> int:
    """Check every byte of a grid against its checksums; nothing is changed."""
    from medic8.cli.render_grid import render_grid_report
    from medic8.targets.grid.diagnose import diagnose_grid
    from medic8.targets.grid.scrub import ScrubOptions
    from medic8.targets.valkey.client import connection

    call = call_of(ctx, wants_json=json)
    found, name = grid_target(call, target)
    rate = found.scrub_mib_per_s if rate_mib is None else rate_mib
    with (
        connection(found.address, timeout_s=found.timeout_s) as client,
        call.screen.progress(f"scrubbing grid {name}", "blocks") as moved,
    ):
        limit = None if rate is None else rate * _MIB
        options = ScrubOptions(is_deep=deep, limit_bytes_per_s=limit, on_progress=moved)
        report = diagnose_grid(client, name, options)
    call.screen.show(report, lambda: render_grid_report(report))
    whole = report.consistency.is_consistent and report.health.manifest_copies_good == _COPIES
    return ExitCode.WELL if whole and not report.health.risks else ExitCode.NOT_WELL


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


def _record_keys(grid: Grid) -> Iterator[str]:
    from medic8.targets.grid.keys import sums_key

    return (sums_key(grid.manifest.name, group) for group in range(grid.layout.groups))


def _show(call: Call, grid: Grid) -> None:
    manifest, layout = grid.manifest, grid.layout
    document = {
        "grid": manifest.name,
        "uuid": str(manifest.uuid),
        "depth": manifest.depth,
        "cells": layout.cells,
        "blocks": layout.blocks,
        "groups": layout.groups,
    }
    call.screen.show(document, lambda: _for_people(document))


def _for_people(document: dict[str, object]) -> Iterator[RenderableType]:
    from medic8.cli.render import facts

    yield facts(
        (name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in document.items()
    )
