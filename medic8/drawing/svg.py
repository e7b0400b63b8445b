"""A map as an SVG."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from xml.sax.saxutils import escape

from medic8.drawing.palette import GROUND, ON_FILL, as_hex
from medic8.drawing.plane import CELL, LINE, Cells, Plane, Words, plane
from medic8.drawing.text import state_in_words
from medic8.model.grid_map import MapPicture

_FONT = "ui-sans-serif,system-ui,sans-serif"
_MARKS = "ui-monospace,monospace"


def as_svg(picture: MapPicture) -> str:
    """The text of an SVG document; nothing in it is fetched, run or obeyed."""
    laid = plane(picture)
    return "\n".join(
        (*_head(laid), *_fills(laid.cells), *_marks(laid.cells), *_texts(laid.words), "</svg>\n")
    )


def _head(laid: Plane) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{laid.width}" height="{laid.height}" '
        f'viewBox="0 0 {laid.width} {laid.height}" role="img" aria-labelledby="title desc">'
    )
    yield f'<title id="title">{escape(laid.title)}</title>'
    yield f'<desc id="desc">{escape(laid.description)}</desc>'
    yield f'<rect width="100%" height="100%" fill="{as_hex(GROUND)}"/>'


def _fills(cells: Iterable[Cells]) -> Iterator[str]:
    """One path for each state; hovering over it says what it is."""
    side = CELL - LINE
    for state, same in groupby(sorted(cells, key=lambda each: each.state), key=lambda each: each.state):
        found = list(same)
        shapes = "".join(
            f"M{x} {each.y}h{side}v{side}h-{side}z"
            for each in found
            for x in range(each.x, each.x + each.count * CELL, CELL)
        )
        words = escape(state_in_words(state))
        yield f'<path fill="{as_hex(found[0].fill)}" d="{shapes}"><title>{words}</title></path>'


def _marks(cells: Iterable[Cells]) -> Iterator[str]:
    marked = [each for each in cells if each.mark]
    if marked:
        yield (
            f'<g font-family="{_MARKS}" font-size="9" font-weight="bold" text-anchor="middle" '
            f'fill="{as_hex(ON_FILL)}" pointer-events="none">'
        )
        for each in marked:
            middles = " ".join(str(each.x + at * CELL + CELL // 2 - LINE / 2) for at in range(each.count))
            yield f'<text x="{middles}" y="{each.y + 9}">{escape(each.mark * each.count)}</text>'
        yield "</g>"


def _texts(words: Iterable[Words]) -> Iterator[str]:
    yield f'<g font-family="{_FONT}">'
    for each in words:
        anchor = ' text-anchor="end"' if each.is_right else ""
        yield (
            f'<text x="{each.x}" y="{each.y + round(each.size * 0.92)}" font-size="{each.size}" '
            f'fill="{as_hex(each.colour)}"{anchor}>{escape(each.text)}</text>'
        )
    yield "</g>"
