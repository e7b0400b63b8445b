"""``medic8 recoveries``: what recoveries saved, until when it is kept, and removing what is not."""

from __future__ import annotations

from typing import Annotated

import typer

from medic8.cli.call import Json, call_of
from medic8.cli.exits import EPILOG, ExitCode
from medic8.cli.indexed import known_journal
from medic8.cli.kept_keys import backup, keys


def build_recoveries() -> typer.Typer:
    """Everything that ``medic8 recoveries`` understands."""
    app = typer.Typer(
        name="recoveries", help="See and prune what recoveries have saved.", no_args_is_help=True
    )
    app.command("list", epilog=EPILOG)(list_)
    app.command("keys", epilog=EPILOG)(keys)
    app.command("backup", epilog=EPILOG)(backup)
    app.command("prune", epilog=EPILOG)(prune)
    return app


def list_(ctx: typer.Context, json: Json = False) -> int:
    """List what recoveries saved and until when it is kept, the oldest first; needs no Prefect."""
    from medic8.cli.render_saved import render_kept
    from medic8.recovery import pruning

    call = call_of(ctx, wants_json=json)
    journal = known_journal(call)
    kept = pruning.kept(journal, call.settings.keep) if journal else ()
    call.screen.show({"keep": call.settings.keep, "saved": kept}, lambda: render_kept(kept))
    return ExitCode.WELL


def prune(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    json: Json = False,
) -> int:
    """Remove what recoveries saved that "keep_days" and "keep_mib" do not keep; what is open stays."""
    from medic8.cli.render_saved import render_pruning

    call = call_of(ctx, wants_json=json)
    _ = call.settings
    door = call.door
    with call.screen.working("pruning what recoveries saved"):
        report = door.prune_saved_state(dry_run=dry_run)
    call.screen.show(report, lambda: render_pruning(report))
    return ExitCode.NOT_WELL if report.problems else ExitCode.WELL
