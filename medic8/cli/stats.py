"""``medic8 stats``: how often resolutions succeed, and how long they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from medic8.cli.call import Call, Json, call_of
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
from medic8.cli.indexed import index_of

if TYPE_CHECKING:
    from medic8.model.statistics import StatisticsReport, Wanted


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
    with call.screen.working("counting resolutions"):
        report = _report(call, wanted)
    tell_of_missing(call, report.missing)
    call.screen.show(report, lambda: render_stats(report))
    return ExitCode.WELL


def _report(call: Call, wanted: Wanted) -> StatisticsReport:
    """Statistics from the index alone, unless it is to be filled with what Prefect has first."""
    from medic8.analysis.statistics import of_outcomes
    from medic8.model.statistics import StatisticsReport

    index = index_of(call)
    if index is None:
        return StatisticsReport(wanted=wanted, total=of_outcomes(("", ""), {}, None, None), groups=())
    report = call.door.statistics(wanted) if index.is_still_empty() else index.report(wanted)
    return report.model_copy(update={"missing": index.missing()})
