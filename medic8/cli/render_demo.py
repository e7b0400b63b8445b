"""The demo's story for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from medic8.cli.render import facts, indented, line, section, text
from medic8.local.demo.report import Claim, DemoReport, Phase
from medic8.local.demo.stage import Scene, Stage
from medic8.local.status import StackStatus
from medic8.model.wording import counted, span

if TYPE_CHECKING:
    from collections.abc import Sequence


def told_stack(status: StackStatus) -> Scene:
    """What is told of the stack once it is up."""
    scene = Scene()
    servers = (f"{server.name} {server.version}" for server in status.servers if server.version)
    scene.say(f"{', '.join(servers)}; all of it in {status.home}")
    scene.check("every server answers", status.is_up, f"Prefect at {status.prefect_ui_url}")
    return scene


def render_phase(number: int, phase: Phase) -> Iterator[RenderableType]:
    """A phase: its title and time, what happened, and what was checked."""
    yield line(text(f"{number}  {phase.title}", "bold"), text(span(phase.duration_s), "cyan"))
    for told in phase.lines:
        yield indented(_told(told))
    if phase.claims:
        yield indented(_claims(phase.claims))
    yield ""


def render_ending(report: DemoReport, stage: Stage) -> Iterator[RenderableType]:
    """What it all came to, and where to go from here."""
    claims = [claim for phase in report.phases for claim in phase.claims]
    false = [claim for claim in claims if not claim.is_true]
    took = f"in {span(report.duration_s)}, seed {report.seed}"
    if false:
        yield line(text(f"{counted(len(false), 'claim')} of {len(claims)} did not hold", "bold red"), took)
        yield indented(_claims(false))
    else:
        yield line(text(f"All {len(claims)} claims were checked and hold", "bold green"), took)
    yield section("Look", facts((page.title, page.url) for page in report.pages))
    yield section(
        "Go on",
        facts(
            (
                (f"medic8 history --target {report.breakages[0].target}", "what was done, from the runs"),
                ("medic8 lab list", "break a grid of your own in many ways"),
                ("medic8 down", "the stack is still up; this stops it"),
            )
        ),
    )
    if stage.is_kept:
        yield section("Kept", text(f"medic8 --config {stage.settings.source} diagnose demo"))


def _told(told: str) -> RenderableType:
    return facts((("-", told.removeprefix("- ")),)) if told.startswith("- ") else text(told)


def _claims(claims: Sequence[Claim]) -> Table:
    """One line for each claim: whether it is true, and what was seen."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for claim in claims:
        mark = text("✔", "bold green") if claim.is_true else text("✘ NOT TRUE:", "bold red")
        table.add_row(mark, Text.assemble(text(claim.claim), " ", text(f"({claim.seen})", "dim")))
    return table
