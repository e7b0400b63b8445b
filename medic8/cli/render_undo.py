"""What undoing an earlier recovery did, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from medic8.cli.render import bullets, facts, line, section, text, word
from medic8.cli.render_plan import render_plan
from medic8.model.resolution import Outcome, Resolution
from medic8.model.wording import short


def render_undo(resolution: Resolution) -> Iterator[RenderableType]:
    """What would be put back or was, and what stays as it is."""
    plan = resolution.plan
    undoes = "" if plan is None or plan.undoes is None else f"of recovery {plan.undoes.recovery}"
    yield line(text("undo", "bold"), text(undoes), "on", text(resolution.target, "bold"))
    if plan is not None and plan.units:
        yield section("Plan", render_plan(plan))
    yield section(
        "Nothing was applied" if resolution.outcome is Outcome.PLANNED else "Outcome",
        facts(
            (
                ("outcome", word(resolution.outcome)),
                ("why", resolution.reason),
                ("recovery", short(resolution.recovery) if resolution.recovery else ""),
            )
        ),
    )
    # What stays open of a plan that is shown stands there already.
    shown = plan.left_open if plan is not None and plan.units else ()
    left = tuple(each for each in resolution.left if each not in shown)
    if left:
        yield section("Left as it is", bullets(left))
