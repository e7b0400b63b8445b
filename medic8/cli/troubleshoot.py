"""``medic8 performance`` and ``medic8 resources``: what holds a target up, and what runs short."""

from __future__ import annotations

from typing import Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.diagnose import TargetName
from medic8.cli.exits import ExitCode

Seconds = Annotated[
    int,
    typer.Option("--seconds", metavar="SECONDS", min=1, max=60, help="For so long each analyzer looks."),
]


def performance(ctx: typer.Context, target: TargetName, seconds: Seconds = 5, json: Json = False) -> int:
    """Measure how fast a target is and say what holds it up; nothing is changed."""
    call = call_of(ctx, wants_json=json)
    name, door = _named(call, target), call.door
    with call.screen.working(f"measuring {name}"):
        report = door.troubleshoot_performance(name, seconds=seconds)

    from medic8.cli.render_troubles import render_performance

    call.screen.show(report, lambda: render_performance(report))
    return _exit_code(is_well=not report.bottlenecks, is_unreachable=report.is_unreachable)


def resources(ctx: typer.Context, target: TargetName, json: Json = False) -> int:
    """Show use, waiting and errors of every resource of a target, and what runs short."""
    call = call_of(ctx, wants_json=json)
    name, door = _named(call, target), call.door
    with call.screen.working(f"looking at the resources of {name}"):
        report = door.troubleshoot_resources(name)

    from medic8.cli.render_troubles import render_resources

    call.screen.show(report, lambda: render_resources(report))
    return _exit_code(is_well=not report.analysis.shortages, is_unreachable=report.is_unreachable)


def _named(call: Call, target: str) -> str:
    return call.settings.target(target).name


def _exit_code(*, is_well: bool, is_unreachable: bool) -> ExitCode:
    if is_unreachable:
        return ExitCode.UNREACHABLE
    return ExitCode.WELL if is_well else ExitCode.NOT_WELL
