"""``medic8 history`` and ``medic8 show``: what was done, when, and how it ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.complete import ended_runs, issue_types, outcomes, strategies, target_names
from medic8.cli.exits import ExitCode
from medic8.cli.gateway import answers_called
from medic8.cli.indexed import index_of, require_something_known
from medic8.cli.recoveries import interrupted, known_of, marked, recoveries_of, recovery_called
from medic8.errors import ConfigurationError

if TYPE_CHECKING:
    from medic8.model.resolution import HistoryEntry
    from medic8.model.statistics import Wanted

#: By which letter a span is written.
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


#: The options that say which resolutions are asked for.
OfTarget = Annotated[
    str | None,
    typer.Option("--target", help="Only of this target.", show_default=False, autocompletion=target_names),
]
AboutIssue = Annotated[
    str | None,
    typer.Option(
        "--issue", help="Only about this type of issue.", show_default=False, autocompletion=issue_types
    ),
]
ByStrategy = Annotated[
    str | None,
    typer.Option("--strategy", help="Only by this strategy.", show_default=False, autocompletion=strategies),
]
WithOutcome = Annotated[
    str | None,
    typer.Option("--outcome", help="Only with this outcome.", show_default=False, autocompletion=outcomes),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", help="Only since 30m, 12h, 7d, 2w ago, or a time such as 2026-01-31.", show_default=False
    ),
]


def history(
    ctx: typer.Context,
    target: OfTarget = None,
    issue: AboutIssue = None,
    strategy: ByStrategy = None,
    outcome: WithOutcome = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(help="Most resolutions to list.", min=1, max=10_000)] = 100,
    complete: Annotated[
        bool, typer.Option("--complete", help="First read from Prefect what the index lacks.")
    ] = False,
    json: Json = False,
) -> int:
    """List the resolutions, the newest first."""
    from medic8.cli.render_history import render_history

    call = call_of(ctx, wants_json=json)
    wanted = wanted_of(target, issue, strategy, outcome, since)
    _ = call.settings
    if complete:
        with call.screen.working("reading all runs from Prefect"):
            added = call.door.complete_index()
        call.screen.say(f"put {added} runs into the index that it lacked")
    with call.screen.working("reading the history"):
        entries, missing = _entries(call, wanted, limit)
    tell_of_missing(call, missing)
    call.screen.show({"history": entries}, lambda: render_history(entries))
    return ExitCode.WELL


def _entries(call: Call, wanted: Wanted, limit: int) -> tuple[list[HistoryEntry], int]:
    """The resolutions that match, and how many the index lacks: from the index alone, if it can say."""
    from medic8.local.status import running_prefect
    from medic8.recovery.faults import SilentError

    index = None
    try:
        index = index_of(call)
        if index is None and running_prefect(call.settings.home, call.environ) is None:
            return [], 0
        if index is not None and not index.is_still_empty():
            return marked(index.listed(wanted, limit), interrupted(call)), index.missing()
    except SilentError as exc:
        call.screen.warn(f"{exc}; reading Prefect's runs instead")
    entries = call.door.history(**dict(wanted), limit=limit)
    return (marked(entries, interrupted(call)), index.missing()) if index else (entries, 0)


def wanted_of(
    target: str | None, issue: str | None, strategy: str | None, outcome: str | None, since: str | None
) -> Wanted:
    """
    What the options ask for.

    Raises:
        ConfigurationError: an issue, an outcome or a time means nothing.
    """
    from medic8.model.issue import IssueType
    from medic8.model.resolution import Outcome
    from medic8.model.statistics import Wanted

    issue, outcome = _as_stored(issue), _as_stored(outcome)
    _one_of("--issue", issue, tuple(IssueType))
    _one_of("--outcome", outcome, tuple(Outcome))
    begin = None if since is None else parse_since(since, now=datetime.now(UTC))
    return Wanted(target=target, issue=issue, strategy=strategy, outcome=outcome, since=begin)


def tell_of_missing(call: Call, missing: int) -> None:
    """Say that Prefect knows *missing* more runs than the index, and what to do about it."""
    if missing:
        runs = "run" if missing == 1 else "runs"
        call.screen.say(
            f"Prefect has {missing} more {runs} than the index, from an older Medic8 or while the journal "
            "did not answer; medic8 history --complete reads them"
        )


def _as_stored(word: str | None) -> str | None:
    """The tables say ``grid corruption`` of what is stored as ``grid_corruption``."""
    return word and word.replace(" ", "_")


def show(
    ctx: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A run's id, a recovery's or an alert's, or its beginning; see medic8 history and alerts.",
            autocompletion=ended_runs,
        ),
    ],
    json: Json = False,
) -> int:
    """
    Show one resolution or one recovery: what was saved, each step, and what undo did.

    Or one alert, or all that a run answers: what was sent, when, and what became of it.
    """
    from medic8.cli.render_alerts import render_answers
    from medic8.cli.render_history import render_resolution_of
    from medic8.cli.render_recovery import render_recovery

    call = call_of(ctx, wants_json=json)
    require_something_known(call)
    if (recovery := recovery_called(call, run)) is not None:
        known = known_of(call, recovery)
        call.screen.show(known, lambda: render_recovery(known))
        return ExitCode.WELL
    if (answers := answers_called(call, run)) is not None:
        call.screen.show(answers, lambda: render_answers(answers))
        return ExitCode.WELL
    door = call.door
    with call.screen.working("reading the history"):
        entry, resolution = door.resolution_of(run)
        url = door.run_url(entry.run)
    recoveries = recoveries_of(call, entry.run)
    call.screen.show(
        {"entry": entry, "resolution": resolution, "url": url, "recoveries": recoveries},
        lambda: render_resolution_of(entry, resolution, url, recoveries),
    )
    return ExitCode.WELL


def parse_since(text: str, *, now: datetime) -> datetime:
    """
    The time that *text* means: so long before *now*, or a date with or without a time of day.

    A time without a zone is local.

    Raises:
        ConfigurationError: it means nothing.
    """
    number, unit = text[:-1], UNITS.get(text[-1:])
    try:
        if unit and number.isdecimal():
            return now - timedelta(**{unit: int(number)})
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f'--since: got "{text}", expected 30m, 12h, 7d or 2w, or a time such as 2026-01-31T18:00'
        ) from None


def _one_of(option: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise ConfigurationError(f'{option}: got "{value}", expected one of {", ".join(known)}')
