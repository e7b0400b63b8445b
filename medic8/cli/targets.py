"""``medic8 targets``: what is under care, and which kinds there are."""

from __future__ import annotations

from typing import Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.exits import ExitCode


def targets(
    ctx: typer.Context,
    kinds: Annotated[
        bool, typer.Option("--kinds", help="List the kinds of target and their strategies instead.")
    ] = False,
    json: Json = False,
) -> int:
    """List the targets of the configuration; none of them is looked at."""
    call = call_of(ctx, wants_json=json)
    return _kinds(call) if kinds else _targets(call)


def _targets(call: Call) -> int:
    from medic8.cli.render_targets import render_targets

    settings = call.settings
    if not settings.targets:
        call.screen.say(settings.hint)
    # The address stays out of it: it may hold a password, and a hidden one says nothing.
    listed = [
        {**target.model_dump(mode="json", exclude={"url"}), "problem": settings.unusable.get(target.name, "")}
        for target in settings.targets
    ]
    source = None if settings.source is None else str(settings.source)
    call.screen.show({"source": source, "targets": listed}, lambda: render_targets(settings))
    return ExitCode.WELL


def _kinds(call: Call) -> int:
    from medic8.cli.render_targets import render_kinds
    from medic8.targets.registry import kind_named, kind_names

    kinds = [kind_named(name) for name in kind_names()]
    listed = [
        {"name": kind.name, "summary": kind.summary, "strategies": list(kind.strategies)} for kind in kinds
    ]
    call.screen.show({"kinds": listed}, lambda: render_kinds(kinds))
    return ExitCode.WELL
