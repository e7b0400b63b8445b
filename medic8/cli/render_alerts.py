"""Alerts for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import RenderableType
from rich.text import Text

from medic8.cli.render import facts, line, section, table, text, word
from medic8.model.alert import MalformedRow, Row
from medic8.model.frozen import Frozen
from medic8.model.statistics import Tracked
from medic8.model.wording import moment, short

#: As much of an id as ``medic8 show`` needs to find it.
_SHORT = 8


class Answers(Frozen):
    """
    Alerts and what became of them.

    Attributes:
        alerts: One, or all that one run answers; those sent last first.
        resolutions: What was tried on their target since they were taken in, the newest first.
        url: The page of the run in Prefect's interface; empty if there is no run, or no server.
    """

    alerts: tuple[Row, ...]
    resolutions: tuple[Tracked, ...] = ()
    url: str = ""


def render_alerts(rows: Sequence[Row], malformed: Sequence[MalformedRow] = ()) -> Iterator[RenderableType]:
    """One line for each, then what was no alert."""
    if rows:
        shown = table("id", "alert", "source", "status", "sent", "times", "target", "answer")
        for each in rows:
            shown.add_row(
                each.id[:_SHORT],
                text(each.alert.words),
                each.alert.source,
                _status(each),
                _at(each.seen_at_s),
                str(each.times),
                text(_target(each), "" if each.target else "yellow"),
                text(_answer(each)),
            )
        yield shown
    else:
        yield text("no alerts")
    if malformed:
        wrong = table("sent", "source", "what is wrong", "how it begins")
        for one in malformed:
            wrong.add_row(_at(one.at_s), one.source, text(one.reason), text(one.excerpt))
        yield section("What was no alert", wrong)


def render_answers(answers: Answers) -> Iterator[RenderableType]:
    """Each alert with all that was sent, then what answers them."""
    for each in answers.alerts:
        alert = each.alert
        yield line(text(alert.words, "bold"), _status(each))
        yield facts(
            (
                ("alert", short(each.id)),
                ("source", alert.source),
                ("target", _target(each)),
                ("routed by", each.routed_by),
                ("fires since", moment(alert.starts_at) if alert.starts_at else ""),
                ("ended", moment(alert.ends_at) if alert.ends_at else ""),
                ("taken in", _at(each.accepted_at_s)),
                ("sent last", _at(each.seen_at_s)),
                ("times", str(each.times)),
            )
        )
        if alert.labels:
            yield section("Labels", facts(sorted(alert.labels.items())))
        if alert.annotations:
            yield section("Says", facts(sorted(alert.annotations.items())))
        yield ""
    answer = next((each.answer for each in answers.alerts if each.answer), None)
    what = [("became", _answer(answers.alerts[0]))]
    if answer is not None:
        what += [("begun", _at(answer.opened_at_s)), ("over", _at(answer.ended_at_s or 0.0))]
        what += [("run", answer.run), ("tries", str(answer.attempt) if answer.attempt > 1 else "")]
    yield section("Answer", facts(what))
    if answers.url:
        yield text(answers.url)
    if answers.resolutions:
        tried = table("run", "began", "issue", "strategy", "outcome")
        for resolution in answers.resolutions:
            issue, outcome = word(resolution.issue or "-"), word(resolution.outcome or "-")
            run, began = text(resolution.run[:_SHORT]), moment(resolution.started_at)
            tried.add_row(run, began, issue, text(resolution.strategy or "-"), outcome)
        yield section("What was tried; medic8 show RUN says how it went", tried)


def _status(row: Row) -> Text:
    return text(row.alert.status.value, "yellow" if row.alert.is_firing else "dim")


def _target(row: Row) -> str:
    return row.target or ("ignored" if row.is_ignored else "no known target")


def _at(at_s: float) -> str:
    return moment(datetime.fromtimestamp(at_s, UTC)) if at_s else ""


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
