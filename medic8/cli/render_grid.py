"""What is said about a memory grid, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from medic8.cli.render import bullets, facts, section, table, text, word
from medic8.model.grid import GridReport, ScrubReport
from medic8.model.wording import counted, span

_MIB = 1 << 20


def render_grid_report(grid: GridReport) -> Iterator[RenderableType]:
    """What a scrub saw: the grid, the damage and what could take the grid away."""
    scrub = grid.consistency.scrub
    yield grid_facts(grid)
    if scrub.damage:
        yield section("Damage", _damage(scrub))
    if grid.health.risks:
        yield section("At risk", bullets(grid.health.risks))
    if scrub.is_clean and scrub.is_complete:
        yield ""
        yield text("every byte is what was written", "green")


def grid_facts(grid: GridReport) -> RenderableType:
    """The grid in a few lines."""
    health, scrub = grid.health, grid.consistency.scrub
    how = "deep scrub" if scrub.is_deep else "scrub"
    speed = grid.performance.throughput_bytes_per_s
    looked = f"{how} of {scrub.groups_checked:,} of {counted(scrub.groups_total, 'parity group')}"
    read = f"{scrub.bytes_read / _MIB:,.1f} MiB in {span(scrub.duration_s)}"
    return facts(
        (
            ("grid", f"{health.name}, {health.width} x {health.height} x {health.depth} cells"),
            ("blocks", f"{health.blocks_existing:,} of {health.blocks_total:,} were written"),
            ("looked at", f"{looked}, {read}" + (f" ({speed / _MIB:,.0f} MiB/s)" if speed else "")),
            ("damaged", counted(scrub.damaged_groups, "group") if scrub.damaged_groups else ""),
            ("lost", counted(scrub.lost_cells, "cell") if scrub.lost_cells else ""),
            ("in quarantine", counted(scrub.quarantined_pages, "page") if scrub.quarantined_pages else ""),
        )
    )


def _damage(scrub: ScrubReport) -> RenderableType:
    listed = table("group", "what", "nature", "can be rebuilt", "detail")
    for group in scrub.damage:
        for block in group.blocks:
            where = block.role.value if block.block is None else f"block {block.block}"
            answer = "yes" if block.can_be_rebuilt else "no"
            listed.add_row(
                str(block.group),
                text(where),
                word(block.nature),
                text(answer, "green" if block.can_be_rebuilt else "bold red"),
                text(block.detail),
            )
    untold = scrub.damaged_groups - len(scrub.damage)
    if untold:
        listed.add_row("", text(f"and {counted(untold, 'group')} more"), "", "", "")
    return listed
