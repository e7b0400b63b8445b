"""Alerts for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import RenderableType

from medic8.cli.render import table, text
from medic8.model.alert import Row
from medic8.model.wording import moment, short


def render_alerts(rows: Sequence[Row]) -> Iterator[RenderableType]:
    """One line for each."""
    if not rows:
        yield text("no alerts")
        return
    shown = table("alert", "source", "status", "sent", "times", "target", "answer")
    for each in rows:
        target = each.target or ("ignored" if each.is_ignored else "no known target")
        shown.add_row(
            text(each.alert.name or each.alert.fingerprint),
            each.alert.source,
            text(each.alert.status.value, "yellow" if each.alert.is_firing else "dim"),
            moment(datetime.fromtimestamp(each.seen_at_s, UTC)),
            str(each.times),
            text(target, "" if each.target else "yellow"),
            text(_answer(each)),
        )
    yield shown


def _answer(row: Row) -> str:
    answer = row.answer
    if answer is None:
        return "noted" if row.is_ignored else row.routed_by if not row.target else "none"
    if answer.outcome is not None:
        why = f": {answer.reason}" if answer.reason and not answer.outcome.is_well else ""
        run = f" (run {short(answer.run)})" if answer.run else ""
        return f"{answer.outcome.value.replace('_', ' ')}{why}{run}"
    if answer.run:
        return f"run {short(answer.run)} is to answer it"
    return f"waits: {answer.reason}" if answer.reason else "waits for a run"
