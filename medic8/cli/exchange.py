"""``medic8 grid export`` and ``import``, and ``medic8 repair-file``: grids to and from files."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from medic8.cli.call import Json, call_of
from medic8.cli.exits import ExitCode
from medic8.cli.grid_target import GridName, grid_target
from medic8.errors import ConfigurationError

_MIB = 1 << 20

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what is there; it cannot be taken back.")
]


def export(
    ctx: typer.Context,
    target: GridName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new .npz, .arrow or .parquet file.")],
    overwrite: Overwrite = False,
    json: Json = False,
) -> int:
    """Write a grid into a file while others write to it; exit code 1 if a part of it could not be proven."""
    from medic8.cli.render_exchange import render_export
    from medic8.targets.grid.exchange.export import ExportOptions, check_suffix, export_grid
    from medic8.targets.valkey.client import connection

    call = call_of(ctx, wants_json=json)
    found, name = grid_target(call, target)
    check_suffix(file)
    rate = found.scrub_mib_per_s
    with (
        connection(found.address, timeout_s=found.timeout_s) as client,
        call.screen.progress(f"exporting grid {name}", "blocks") as moved,
    ):
        options = ExportOptions(
            overwrite=overwrite,
            limit_bytes_per_s=None if rate is None else rate * _MIB,
            on_progress=moved,
        )
        report = export_grid(client, name, file, now=datetime.now(UTC), options=options)
    call.screen.show(report, lambda: render_export(report))
    return ExitCode.WELL if report.is_complete else ExitCode.NOT_WELL


def import_(
    ctx: typer.Context,
    target: GridName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .npz, .arrow, .parquet or .m8 file.")],
    overwrite: Overwrite = False,
    accept_lost: Annotated[
        bool, typer.Option("--accept-lost", help="Write zeros where the file says that a cell is not known.")
    ] = False,
    at: Annotated[
        int | None,
        typer.Option(
            "--at", min=0, help="Cell for the first wave of a .m8 file; else 0.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Make a grid hold what a file does, or put a .m8 file's waves into it; a bad file changes nothing."""
    from medic8.cli.render_exchange import render_import
    from medic8.targets.grid.exchange.importing import ImportOptions, import_grid
    from medic8.targets.grid.exchange.m8_import import M8ImportOptions, import_m8
    from medic8.targets.valkey.client import connection

    call = call_of(ctx, wants_json=json)
    found, name = grid_target(call, target)
    is_m8 = file.suffix == ".m8"
    if is_m8 and accept_lost:
        raise ConfigurationError(
            "--accept-lost is for exported files; a .m8 file does not say what is not known"
        )
    if not is_m8 and at is not None:
        raise ConfigurationError("--at is for .m8 files; an exported file says where each cell belongs")
    with (
        connection(found.address, timeout_s=found.timeout_s) as client,
        call.screen.progress(f"checking {file}, then writing grid {name}", "") as moved,
    ):
        if is_m8:
            waves = M8ImportOptions(at=at or 0, overwrite=overwrite, on_progress=moved)
            report = import_m8(client, name, file, now_s=time.time(), options=waves)
        else:
            options = ImportOptions(overwrite=overwrite, accept_lost=accept_lost, on_progress=moved)
            report = import_grid(client, name, file, options=options)
    call.screen.show(report, lambda: render_import(report))
    return ExitCode.WELL


def repair_file(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .m8 file; it is only read.")],
    to: Annotated[Path, typer.Option("--to", help="The repaired file; there must be none of that name.")],
    salvage: Annotated[
        bool,
        typer.Option("--salvage", help="Keep what can be read, although something is lost or not proven."),
    ] = False,
    json: Json = False,
) -> int:
    """Write a repaired copy of a .m8 file; exit code 1 if something is still wrong with it."""
    from medic8.cli.render_exchange import render_repair
    from medic8.model.issue import Severity
    from medic8.targets.grid.exchange.m8_repair import repair_m8

    call = call_of(ctx, wants_json=json)
    with call.screen.working(f"repairing {file}"):
        repair = repair_m8(file, to, now_s=time.time(), salvage=salvage)
    call.screen.show(repair, lambda: render_repair(repair))
    is_well = all(finding.severity is Severity.INFO for finding in repair.findings)
    return ExitCode.WELL if is_well else ExitCode.NOT_WELL
