"""The commands by name, and the options that stand before them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medic8.cli import (
    acknowledge,
    approve,
    backup,
    completion,
    demo,
    deploy,
    diagnose,
    exchange,
    gateway,
    grid,
    heal,
    history,
    interrupted,
    lab,
    notify,
    pause,
    policy,
    saved,
    stack,
    stats,
    targets,
    troubleshoot,
    undo,
    worker,
)
from medic8.cli.call import call_of
from medic8.cli.exits import EPILOG


def build_app() -> typer.Typer:
    """Everything that ``medic8`` understands."""
    app = typer.Typer(
        name="medic8",
        help="Diagnose and heal memory grids and the servers under them.",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_globally)
    for command in (
        diagnose.diagnose,
        troubleshoot.performance,
        troubleshoot.resources,
        heal.plan,
        heal.heal,
        approve.approvals,
        approve.approve,
        approve.deny,
        history.history,
        history.show,
        stats.stats,
        undo.undo,
        acknowledge.acknowledge,
        pause.pause,
        pause.resume,
        targets.targets,
        gateway.gateway,
        gateway.alerts,
        stack.up,
        stack.down,
        stack.status,
        deploy.deploy,
        worker.worker,
        demo.demo,
        completion.completion,
    ):
        app.command(epilog=EPILOG)(command)
    app.command("recover-interrupted", epilog=EPILOG)(interrupted.recover_interrupted)
    app.command("repair-file", epilog=EPILOG)(exchange.repair_file)
    grids = grid.build_grid()
    grids.command("export", epilog=EPILOG)(exchange.export)
    grids.command("import", epilog=EPILOG)(exchange.import_)
    app.add_typer(grids)
    app.add_typer(backup.build_backup())
    app.add_typer(saved.build_recoveries())
    app.add_typer(policy.build_policy())
    app.add_typer(notify.build_notify())
    app.add_typer(lab.build_lab())
    return app


def _show_version(is_asked_for: bool) -> None:
    if is_asked_for:
        from importlib.metadata import version

        typer.echo(f"medic8 {version('medic8')}")
        raise typer.Exit


def _globally(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            help="The configuration; else $MEDIC8_CONFIG, ./medic8.toml, $MEDIC8_HOME/medic8.toml.",
            show_default=False,
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from, and all logs.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and leave.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    del version  # its callback has left already
    call = call_of(ctx)
    call.config = config
    call.is_debug = debug
