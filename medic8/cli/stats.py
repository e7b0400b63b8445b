"""``medic8 stats``: how often resolutions succeed, and how long they take."""

from __future__ import annotations

import typer

from medic8.cli.call import Json, call_of
from medic8.cli.exits import ExitCode
from medic8.cli.history import (
    AboutIssue,
    ByStrategy,
    OfTarget,
    Since,
    WithOutcome,
    tell_of_missing,
    wanted_of,
)


def stats(
    ctx: typer.Context,
    target: OfTarget = None,
    issue: AboutIssue = None,
    strategy: ByStrategy = None,
    outcome: WithOutcome = None,
    since: Since = None,
    json: Json = False,
) -> int:
    """Count the resolutions by type of issue and strategy: how many succeeded, and how long they took."""
    from medic8.cli.render_stats import render_stats

    call = call_of(ctx, wants_json=json)
    wanted = wanted_of(target, issue, strategy, outcome, since)
    _ = call.settings
    door = call.door
    with call.screen.working("counting resolutions"):
        report = door.statistics(wanted)
        report = report.model_copy(update={"missing": door.missing_in_index()})
    tell_of_missing(call, report.missing)
    call.screen.show(report, lambda: render_stats(report))
    return ExitCode.WELL
