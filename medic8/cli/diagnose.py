"""``medic8 diagnose``: look at a target and say what is wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from medic8.cli.call import Json, call_of
from medic8.cli.complete import target_names
from medic8.cli.exits import exit_after
from medic8.cli.recoveries import tell_of_recoveries

TargetName = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="A target's name; see medic8 targets.", autocompletion=target_names
    ),
]


def diagnose(ctx: typer.Context, target: TargetName, json: Json = False) -> int:
    """Look at a target and say what is wrong; nothing is changed."""
    call = call_of(ctx, wants_json=json)
    name = call.settings.target(target).name
    door = call.door
    with call.screen.working(f"diagnosing {name}"):
        report = door.diagnose(name)

    from medic8.cli.render_report import render_report

    call.screen.show(report, lambda: render_report(report))
    tell_of_recoveries(call, name)
    return exit_after(report)
