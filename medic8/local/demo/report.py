"""What the demo tells of itself: its phases, what each claimed, and whether it was true."""

from __future__ import annotations

from medic8.local.lab.breakage import Breakage
from medic8.model.frozen import Frozen


class Claim(Frozen):
    """
    Something the demo says is true, and looked at.

    Attributes:
        claim: What is said.
        is_true: Whether it is so.
        seen: What was seen.
    """

    claim: str
    is_true: bool
    seen: str


class Phase(Frozen):
    """
    One part of the story.

    Attributes:
        title: What happens in it.
        lines: What is told, in order.
        claims: What was checked.
        duration_s: How long it took, in seconds.
    """

    title: str
    lines: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    duration_s: float = 0.0


class WriterTally(Frozen):
    """
    What the writer did.

    Attributes:
        acknowledged: Writes that the grid accepted.
        refused: Writes that it refused at first, since a page was damaged.
        waiting: Refused writes that were not accepted later either.
    """

    acknowledged: int
    refused: int
    waiting: int


class Page(Frozen):
    """
    Where to look.

    Attributes:
        title: What is seen there.
        url: A page of Prefect's interface.
    """

    title: str
    url: str


class DemoReport(Frozen):
    """
    The whole demo.

    Attributes:
        is_proven: Whether every claim was checked and is true.
        seed: Chose what was broken and written.
        grid_mib: Size of the grid's data in MiB.
        phases: The story.
        breakages: What was broken.
        writer: What the writer did.
        pages: Where to look in Prefect's interface.
        duration_s: All of it, in seconds.
    """

    is_proven: bool
    seed: int
    grid_mib: int
    phases: tuple[Phase, ...]
    breakages: tuple[Breakage, ...]
    writer: WriterTally
    pages: tuple[Page, ...]
    duration_s: float
