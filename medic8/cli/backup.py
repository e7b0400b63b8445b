"""``medic8 backup``: back a target up, and list its backups."""

from __future__ import annotations

import typer

from medic8.cli.call import Json, call_of
from medic8.cli.exits import EPILOG, ExitCode
from medic8.cli.grid_target import GridName, grid_target


def build_backup() -> typer.Typer:
    """Everything that ``medic8 backup`` understands."""
    app = typer.Typer(name="backup", help="Back grids up, and list their backups.", no_args_is_help=True)
    app.command("create", epilog=EPILOG)(create)
    app.command("list", epilog=EPILOG)(list_)
    return app


def create(ctx: typer.Context, target: GridName, json: Json = False) -> int:
    """Back a grid up while others write to it; exit code 1 if a part of it could not be proven."""
    from medic8.cli.render_backup import render_backup

    call = call_of(ctx, wants_json=json)
    found, _ = grid_target(call, target)
    door = call.door
    with call.screen.working(f"backing {found.name} up"):
        backup = door.back_up(found.name)
    call.screen.show(backup, lambda: render_backup(backup))
    return ExitCode.WELL if backup.is_complete else ExitCode.NOT_WELL


def list_(
    ctx: typer.Context,
    target: GridName,
    json: Json = False,
) -> int:
    """List the backups of a grid, the newest first; needs neither Prefect nor the grid's server."""
    from medic8.cli.render_backup import render_backups
    from medic8.targets.grid.backup_reading import list_backups

    call = call_of(ctx, wants_json=json)
    _, name = grid_target(call, target)
    listed = list_backups(call.settings.backups, name)
    call.screen.show(listed, lambda: render_backups(listed))
    return ExitCode.WELL
