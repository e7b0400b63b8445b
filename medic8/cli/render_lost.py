"""What was given up and what was filled again, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.console import RenderableType

from medic8.cli.render import bullets, facts, section, table, text
from medic8.model.lost import LostList, LostPage
from medic8.model.wording import counted, moment, short
from medic8.targets.grid.refill import Refilled

#: Lines that are shown; --export writes all.
_MOST_LINES = 200


def render_lost(listed: LostList) -> Iterator[RenderableType]:
    """One line for each block and recovery, then what cannot be read."""
    if not listed.pages and not listed.problems:
        yield text(f"nothing of grid {listed.grid} was given up")
    if listed.pages:
        lines = [
            (block, list(pages))
            for block, pages in groupby(listed.pages, lambda page: (page.block, page.recovery))
        ]
        shown = table(
            "block", "pages", "cells", "x, y, z of the first", "and of the last", "given up", "recovery"
        )
        for (block, recovery), pages in lines[:_MOST_LINES]:
            shown.add_row(
                str(block),
                text(runs([page.page for page in pages])),
                text(_cells(pages)),
                text(", ".join(map(str, pages[0].first))),
                text(", ".join(map(str, pages[-1].last))),
                moment(pages[0].lost_at),
                text(short(recovery)),
            )
        if len(lines) > _MOST_LINES:
            shown.add_row("", text(f"and {len(lines) - _MOST_LINES} lines more; --export writes all"))
        yield shown
        yield ""
        count = sum(page.cells.count for page in listed.pages)
        yield text(
            f"{counted(count, 'cell')} in {counted(len(listed.pages), 'page')} read as zeros until refilled"
        )
    if listed.problems:
        yield section("Cannot be read", bullets(listed.problems))


def render_refilled(done: Sequence[Refilled], passed_over: int) -> Iterator[RenderableType]:
    """What was filled, and what of it is proven to be what was lost."""
    cells, pages = sum(each.cells for each in done), sum(each.pages for each in done)
    off = sum(each.off_the_list for each in done)
    yield facts(
        (
            (
                "filled",
                f"{counted(cells, 'cell')} in {counted(pages, 'page')}",
            ),
            ("off the list", counted(off, "page")),
            ("proven", f"{sum(each.proven for each in done):,} of them hold what was there before the loss"),
            (
                "still listed",
                f"{counted(passed_over, 'page')} that the backup does not have" if passed_over else "",
            ),
        )
    )


def render_dismissed(done: Mapping[int, int]) -> Iterator[RenderableType]:
    """What is off the list."""
    yield text(f"{counted(sum(done.values()), 'page')} in {counted(len(done), 'group')} are off the list")


def runs(numbers: Sequence[int]) -> str:
    """Ascending *numbers* as a person writes them: ``0-3, 7``."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in found)


def _cells(pages: Sequence[LostPage]) -> str:
    """The cells of *pages* as ranges of linear indices."""
    found: list[list[int]] = []
    for page in pages:
        first, end = page.cells.first, page.cells.first + page.cells.count
        if found and found[-1][1] == first:
            found[-1][1] = end
        else:
            found.append([first, end])
    return ", ".join(f"{first}-{end - 1}" for first, end in found)
