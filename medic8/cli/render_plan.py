"""A plan for the person who has to say yes or no."""

from __future__ import annotations

from rich.console import Group, RenderableType

from medic8.cli.render import bullets, facts, line, section, table, text, word
from medic8.model.plan import Plan
from medic8.model.wording import counted, short


def render_plan(plan: Plan) -> RenderableType:
    """What would be done in which order, what it touches, and what stays open."""
    size = f"{counted(len(plan.units), 'unit')}, {counted(plan.step_count, 'step')}"
    parts: list[RenderableType] = [
        text(plan.summary),
        facts(
            (
                ("strategy", plan.strategy),
                ("risk", word(plan.risk)),
                ("size", size if plan.units else "nothing can be done"),
                ("digest", short(plan.digest)),
                (
                    "approval",
                    text(f"needed: {plan.why_approval}", "bold red") if plan.needs_approval else "",
                ),
            )
        ),
    ]
    if plan.units:
        steps = table("#", "step", "touches", "class")
        number = 0
        for unit in plan.units:
            proof = "proves itself" if unit.proves_itself else ""
            steps.add_row("", line(text(unit.title, "bold"), text(proof, "dim")), "", "")
            for step in unit.steps:
                number += 1
                steps.add_row(str(number), text(step.title), text(step.touches), word(step.step_class))
        parts.append(steps)
    if plan.left_open:
        parts.append(section("Stays open", bullets(plan.left_open)))
    return Group(*parts)
