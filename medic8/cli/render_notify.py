"""Routes and notices for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from medic8.cli.render import table, text
from medic8.model.notice import Delivery, Route, RouteState, Sent, Told
from medic8.model.wording import counted, moment
from medic8.notifying.message import title_of

_STYLES = {Delivery.WAITING: "yellow", Delivery.SENT: "green", Delivery.FAILED: "red"}


def render_routes(routes: Sequence[Route], states: Sequence[RouteState]) -> Iterator[RenderableType]:
    """One line for each."""
    if not routes:
        yield text("nobody is told anything: the configuration has no [[notify]]")
    by_name = {each.name: each for each in routes}
    if not states:
        return
    shown = table(
        "route", "for", "at once", "collected", "waiting", "sent", "given up", "last sent", "problem"
    )
    for each in states:
        route = by_name.get(each.name)
        problem = route.problem or each.reason if route else "it is not configured any more"
        shown.add_row(
            each.name,
            text(", ".join(route.targets) or "what no other takes") if route else "",
            ", ".join(route.events) if route else "",
            ", ".join(route.digest) if route else "",
            str(each.waiting),
            str(each.sent),
            text(str(each.failed), "red" if each.failed else ""),
            moment(each.last_sent_at),
            text(problem, "red" if problem else ""),
        )
    yield shown


def render_notices(told: Sequence[Told]) -> Iterator[RenderableType]:
    """One line for each, the newest first."""
    shown = table("when", "event", "message", "became")
    for each in told:
        became = ", ".join(f"{route}: {state.value}" for route, state in each.deliveries.items())
        states = set(each.deliveries.values())
        style = next((_STYLES[one] for one in (Delivery.FAILED, Delivery.WAITING) if one in states), "")
        nowhere = "goes nowhere" if each.is_routed else "is new"
        shown.add_row(
            moment(each.notice.at),
            each.notice.event.value,
            text(title_of(each.notice)),
            text(became or nowhere, style),
        )
    yield shown


def render_sent(sent: Sequence[Sent]) -> Iterator[RenderableType]:
    """One line for each message."""
    if not sent:
        yield text("nothing waits")
    for each in sent:
        what = "" if each.notices == 1 else f" ({counted(each.notices, 'message')} in one)"
        yield text(
            f"{each.route}: sent{what}" if each.is_sent else f"{each.route}: not sent{what}: {each.reason}",
            "green" if each.is_sent else "red",
        )
