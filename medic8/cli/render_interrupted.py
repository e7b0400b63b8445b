"""What became of interrupted recoveries, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from medic8.cli.render import bullets, facts, section, text, word
from medic8.cli.render_treatment import render_ended
from medic8.model.recovery import Sweep
from medic8.model.wording import counted, moment, short


def render_sweep(sweep: Sweep) -> Iterator[RenderableType]:
    """How each recovery ended, and which are still open."""
    for recovery in sweep.ended:
        yield section(f"{recovery.plan.target}: had died half way", render_ended(recovery))
    for each in sweep.left_open:
        yield section(
            f"{each.recovery.plan.target}: still open",
            facts(
                (
                    ("recovery", short(each.recovery.id)),
                    ("opened", moment(each.recovery.opened_at)),
                    ("ended", word("open")),
                )
            ),
            bullets((each.reason,)),
        )
    if not (sweep.ended or sweep.left_open):
        yield text("no recovery is interrupted")
    if sweep.told:
        yield text(f"the history was told how {counted(len(sweep.told), 'resolution')} ended")
