"""``medic8 grid map``: where in a grid the damage is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.grid_target import GridName, exit_after_scrub, grid_target, scrub_limit
from medic8.errors import ConfigurationError

if TYPE_CHECKING:
    from medic8.model.grid_map import MapPicture
    from medic8.model.recovery import Recovery
    from medic8.targets.grid.layout import Layout
    from medic8.targets.grid.map.picture import Frame

#: Columns beside the cells of a row: the layers.
_BESIDE = 13

#: Rows and extents of a PNG or SVG; it has more room than a terminal.
_DRAWN_ROWS = 64
_DRAWN_BANDS = 6


def map_(
    ctx: typer.Context,
    target: GridName,
    groups: Annotated[
        str | None,
        typer.Option(metavar="A-B", help="Only these parity groups.", show_default=False),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="A-B", help="Only the extents (32 layers) that hold these layers.", show_default=False
        ),
    ] = None,
    since: Annotated[
        str, typer.Option(help="Show as rebuilt what recoveries wrote back since 12h, 7d, 2026-01-31.")
    ] = "7d",
    png: Annotated[Path | None, typer.Option(help="Write a PNG there, too.", show_default=False)] = None,
    svg: Annotated[Path | None, typer.Option(help="Write an SVG there, too.", show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace PNG and SVG that exist.")] = False,
    rate_mib: Annotated[
        float | None,
        typer.Option(min=0.1, help="Most MiB per second; else scrub_mib_per_s.", show_default=False),
    ] = None,
    json: Json = False,
) -> int:
    """Show the state of every block and parity group as a picture; nothing is changed."""
    from medic8.cli.history import parse_since
    from medic8.cli.render_map import render_map
    from medic8.drawing.file import refuse_what_exists
    from medic8.targets.grid.manifest import read_manifest
    from medic8.targets.grid.map.grid_map import document
    from medic8.targets.grid.map.picture import Frame, picture
    from medic8.targets.grid.map.survey import Past, survey
    from medic8.targets.grid.scrub import ScrubOptions
    from medic8.targets.valkey.client import connection

    call = call_of(ctx, wants_json=json)
    found, name = grid_target(call, target)
    now = datetime.now(UTC)
    past = Past(parse_since(since, now=now), lambda begin: _recoveries(call, begin))
    if not overwrite:
        for path in (png, svg):
            if path is not None:
                refuse_what_exists(path)
    with connection(found.address, timeout_s=found.timeout_s) as client:
        wanted = _wanted(read_manifest(client, name).manifest.layout, groups, layers)
        with call.screen.progress(f"mapping grid {name}", "blocks") as moved:
            options = ScrubOptions(
                groups=wanted, limit_bytes_per_s=scrub_limit(found, rate_mib), on_progress=moved
            )
            report, grid_map = survey(client, name, options, now=now, past=past)
    if grid_map.unseen:
        call.screen.warn(f"not seen: {grid_map.unseen}")
    files: tuple[str, ...] = ()
    if png is not None or svg is not None:
        drawn = picture(grid_map, Frame(most_rows=_DRAWN_ROWS, most_bands=_DRAWN_BANDS))
        files = tuple(_draw(drawn, png, svg, may_replace=overwrite))
    shown = picture(grid_map, _frame(call))
    call.screen.show(document(grid_map, files), lambda: render_map(shown, files))
    return exit_after_scrub(report)


def _frame(call: Call) -> Frame:
    """As much as the terminal's width has room for."""
    from medic8.targets.grid.map.picture import Frame

    return Frame(columns=call.screen.width - _BESIDE)


def _draw(drawn: MapPicture, png: Path | None, svg: Path | None, *, may_replace: bool) -> Iterator[str]:
    from medic8.drawing.file import write_drawing

    if png is not None:
        from medic8.drawing.png import as_png

        write_drawing(png, as_png(drawn), may_replace=may_replace)
        yield str(png)
    if svg is not None:
        from medic8.drawing.svg import as_svg

        write_drawing(svg, as_svg(drawn).encode(), may_replace=may_replace)
        yield str(svg)


def _recoveries(call: Call, since: datetime) -> Iterable[Recovery]:
    """What the journal knows."""
    from medic8.recovery.journal import Journal

    return Journal(call.settings.journal_url).committed_since(since)


def _wanted(layout: Layout, groups: str | None, layers: str | None) -> range | None:
    """
    The groups asked for; None is all.

    Raises:
        ConfigurationError: they are no range, or not of this grid.
    """
    from medic8.targets.grid.layout import EXTENT_BLOCKS, EXTENT_GROUPS, LAYER_BLOCKS

    if groups is not None and layers is not None:
        raise ConfigurationError("--groups and --layers: only one of them")
    if groups is not None:
        first, last = _range("--groups", groups, layout.groups)
        return range(first, last + 1)
    if layers is None:
        return None
    first, last = _range("--layers", layers, layout.depth)
    per_extent = EXTENT_BLOCKS // LAYER_BLOCKS
    end = (last // per_extent + 1) * EXTENT_GROUPS
    return range(first // per_extent * EXTENT_GROUPS, min(end, layout.groups))


def _range(option: str, asked: str, count: int) -> tuple[int, int]:
    parts = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", asked, re.ASCII)
    first, last = (int(parts[1]), int(parts[2] or parts[1])) if parts else (1, 0)
    if not first <= last < count:
        raise ConfigurationError(f'{option}: got "{asked}", expected A or A-B within 0-{count - 1}')
    return first, last
