"""Rules, pauses and reservations, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from medic8.cli.render import section, table, text
from medic8.model.policy import Escalation, Mandate, Pause, Reservation, Ruling
from medic8.model.wording import moment, short


def render_rulings(target: str, mandate: Mandate, said: Sequence[Ruling]) -> Iterator[RenderableType]:
    """One line for each rule and number, and why it would be refused."""
    rows = table("rule", "says", "what", "seen", "limit")
    for each in said:
        says = (
            ("no", "red") if each.refuses else ("not for you", "dim") if each.is_broken else ("yes", "green")
        )
        if not each.numbers:
            rows.add_row(each.rule, text(*says), "", "", "")
        for place, number in enumerate(each.numbers):
            first = (each.rule, text(*says)) if place == 0 else ("", "")
            rows.add_row(*first, text(number.what), text(number.seen), text(number.limit))
    yield rows
    yield ""
    refused = [each for each in said if each.refuses]
    if not refused:
        yield text(f"the rules let a {mandate.origin.value} begin something on {target} now", "green")
    for each in refused:
        yield text(f"{each.rule}: {each.reason}", "red")


def render_pauses(paused: Sequence[Pause]) -> Iterator[RenderableType]:
    """One line for each pause."""
    if not paused:
        yield text("nothing is paused")
        return
    rows = table("paused", "since", "until", "by", "why")
    for each in paused:
        until = "somebody resumes" if each.until is None else moment(each.until)
        rows.add_row(
            text(each.on or "everything", "yellow"),
            moment(each.since),
            until,
            text(each.by),
            text(each.reason),
        )
    yield rows


def render_state(
    paused: Sequence[Pause], reserved: Sequence[Reservation], told: Sequence[Escalation]
) -> Iterator[RenderableType]:
    """What is paused, what was begun, and what somebody has to look at."""
    yield from render_pauses(paused)
    if reserved:
        rows = table("recovery", "target", "issue", "origin", "begun", "ended")
        for each in reserved:
            end = "open" if each.ended_at is None else f"{moment(each.ended_at)} {each.end}"
            rows.add_row(
                text(short(each.recovery)),
                text(each.target),
                text(each.issue_type),
                each.mandate.origin.value,
                moment(each.reserved_at),
                text(end),
            )
        yield section("Begun", rows)
    if told:
        rows = table("rule", "on", "at", "why")
        for one in told:
            rows.add_row(one.rule, text(one.about), moment(one.at), text(one.reason))
        yield section("Escalated", rows)
