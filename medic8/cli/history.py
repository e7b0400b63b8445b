"""``medic8 history`` and ``medic8 show``: what was done, when, and how it ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from medic8.cli.call import Json, call_of
from medic8.cli.complete import ended_runs, issue_types, outcomes, target_names
from medic8.cli.exits import ExitCode
from medic8.cli.recoveries import interrupted, known_of, marked, recoveries_of, recovery_called
from medic8.errors import ConfigurationError

#: By which letter a span is written.
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def history(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Option(help="Only of this target.", show_default=False, autocompletion=target_names),
    ] = None,
    issue: Annotated[
        str | None,
        typer.Option(help="Only about this type of issue.", show_default=False, autocompletion=issue_types),
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option(help="Only with this outcome.", show_default=False, autocompletion=outcomes),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Only since 30m, 12h, 7d, 2w ago, or a time such as 2026-01-31.", show_default=False
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Most resolutions to list.", min=1, max=1000)] = 100,
    json: Json = False,
) -> int:
    """List the resolutions, the newest first."""
    from medic8.cli.render_history import render_history
    from medic8.model.issue import IssueType
    from medic8.model.resolution import Outcome

    call = call_of(ctx, wants_json=json)
    issue, outcome = _as_stored(issue), _as_stored(outcome)
    _one_of("--issue", issue, tuple(IssueType))
    _one_of("--outcome", outcome, tuple(Outcome))
    begin = None if since is None else parse_since(since, now=datetime.now(UTC))
    _ = call.settings
    door = call.door
    with call.screen.working("reading the history"):
        entries = door.history(target=target, issue=issue, outcome=outcome, since=begin, limit=limit)
    entries = marked(entries, interrupted(call))
    call.screen.show({"history": entries}, lambda: render_history(entries))
    return ExitCode.WELL


def _as_stored(word: str | None) -> str | None:
    """The tables say ``grid corruption`` of what is stored as ``grid_corruption``."""
    return word and word.replace(" ", "_")


def show(
    ctx: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run's id, or a recovery's, or its beginning; see medic8 history.",
            autocompletion=ended_runs,
        ),
    ],
    json: Json = False,
) -> int:
    """Show one resolution, or one recovery: what was saved, each step, and what undo did."""
    from medic8.cli.render_history import render_resolution_of
    from medic8.cli.render_recovery import render_recovery

    call = call_of(ctx, wants_json=json)
    if (recovery := recovery_called(call, run)) is not None:
        known = known_of(call, recovery)
        call.screen.show(known, lambda: render_recovery(known))
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
