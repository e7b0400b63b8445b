"""``medic8 diagnose``: look at a target, or at a file of the Mem|8 project, and say what is wrong."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.complete import target_names
from medic8.cli.exits import ExitCode, exit_after
from medic8.cli.recoveries import tell_of_recoveries
from medic8.errors import ConfigurationError

if TYPE_CHECKING:
    from medic8.model.report import DiagnosticReport

TargetName = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="A target's name; see medic8 targets.", autocompletion=target_names
    ),
]
TargetOrFile = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="A target's name, see medic8 targets; or a .m8 file.",
        autocompletion=target_names,
    ),
]

Watch = Annotated[
    int,
    typer.Option(
        "--watch",
        metavar="SECONDS",
        min=0,
        max=3600,
        help="Watch for so long what grows on a server; 60 is plenty.",
    ),
]


def diagnose(ctx: typer.Context, target: TargetOrFile, watch: Watch = 0, json: Json = False) -> int:
    """Look at a target or a .m8 file and say what is wrong; nothing is changed."""
    call = call_of(ctx, wants_json=json)
    if _is_file(target):
        return _diagnose_file(call, Path(target))
    name = _target_called(call, target)
    report = _diagnosed_there(call, name, watch)
    if report is None:
        door = call.door
        with call.screen.working(f"diagnosing {name}"):
            report = door.diagnose(name, watch_s=watch)

    from medic8.cli.render_report import render_report

    call.screen.show(report, lambda: render_report(report))
    tell_of_recoveries(call, name)
    return exit_after(report)


def _diagnosed_there(call: Call, name: str, watch_s: float) -> DiagnosticReport | None:
    """What the local stack's responder finds, in a fraction of the time; None if there is none to ask."""
    from medic8.local.warm_diagnosis import begin_there, responder_of

    # Who looks for where an error comes from looks in this process.
    responder = None if call.is_debug else responder_of(call.settings, call.environ)
    if responder is None:
        return None
    with call.screen.working(f"diagnosing {name}"):
        begun = begin_there(responder, call.settings, call.settings.target(name), watch_s)
        if begun is None:
            return None
        # Meanwhile, what is needed afterwards: to read the journal takes long to import.
        importlib.import_module("medic8.cli.render_report")
        importlib.import_module("medic8.recovery.journal")
        return begun.report()


def _is_file(argument: str) -> bool:
    return argument.endswith(".m8") and ("/" in argument or os.path.lexists(argument))


def _target_called(call: Call, name: str) -> str:
    try:
        return call.settings.target(name).name
    except ConfigurationError as exc:
        if name.endswith(".m8"):
            raise ConfigurationError(f"{exc}; and there is no file of that name here") from exc
        raise


def _diagnose_file(call: Call, file: Path) -> int:
    import time

    from medic8.cli.render_exchange import render_m8
    from medic8.model.report import Health
    from medic8.targets.grid.exchange.m8_diagnose import diagnose_m8

    with call.screen.working(f"diagnosing {file}"):
        report = diagnose_m8(file, now_s=time.time())
    call.screen.show(report, lambda: render_m8(report))
    return ExitCode.WELL if report.health is Health.HEALTHY else ExitCode.NOT_WELL
