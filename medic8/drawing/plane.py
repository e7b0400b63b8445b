"""Where everything of a map's drawing lies, for PNG and SVG alike."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from medic8.drawing.palette import FAINT, FILLS, INK
from medic8.drawing.text import gap, headline, in_words, remarks, titled_bands
from medic8.model.grid_map import STATES, TROUBLE, MapBand, MapPicture, MapRow, ValueState

CELL = 12  #: Side of a cell with the line between it and the next, in pixels.
LINE = 1

_MARGIN = 28
_LABEL = 84
_TITLE = 20
_WORDS = 13
_SMALL = 11
_LEADING = 20
_BETWEEN = 26
_RULER = 12
_APART = 5
_SWATCH = 14

#: Room for one letter of the words, generously: they are folded before they leave the picture.
_LETTER = 7.2

#: A column of bands that is higher than this is broken in two.
_HIGHEST = 700

#: What is told again in a cell, so that it is seen without colours.
_TOLD = (*TROUBLE, ValueState.REBUILT)

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Cells:
    """
    Neighbouring cells with one mark.

    Attributes:
        x: Left edge of the first.
        y: Upper edge.
        count: How many.
        fill: Their colour.
        mark: What is written on each; empty is nothing.
        state: What it means.
    """

    x: int
    y: int
    count: int
    fill: Colour
    mark: str
    state: ValueState


@dataclass(frozen=True, slots=True)
class Words:
    """
    A line of text.

    Attributes:
        x: Left edge, or the right one.
        y: Upper edge.
        text: The text.
        size: Height in pixels.
        colour: Of the letters.
        is_right: Whether *x* is the right edge.
    """

    x: int
    y: int
    text: str
    size: int
    colour: Colour = INK
    is_right: bool = False


@dataclass(frozen=True, slots=True)
class Plane:
    """
    A drawing.

    Attributes:
        width: In pixels.
        height: In pixels.
        title: What it shows, in one line.
        description: What is seen, for who cannot see it.
        cells: What is filled.
        words: What is written.
    """

    width: int
    height: int
    title: str
    description: str
    cells: tuple[Cells, ...]
    words: tuple[Words, ...]


def plane(picture: MapPicture) -> Plane:
    """Lay *picture* out: title, legend, bands in as many columns as they need, remarks."""
    bands = list(titled_bands(picture))
    columns = _columns(bands)
    widest = max((len(row.cells) for _, band in bands for row in band.rows), default=0)
    column_width = _LABEL + max(widest, 32) * CELL
    width = 2 * _MARGIN + len(columns) * column_width + (len(columns) - 1) * _BETWEEN
    page = _Page()
    y = page.write(_MARGIN, _MARGIN, headline(picture), size=_TITLE) + _LEADING // 2
    y = page.legend(picture, y, width)
    bottom = y
    for number, column in enumerate(columns):
        x, at = _MARGIN + number * (column_width + _BETWEEN), y
        for title, band in column:
            at = page.band(x, at, title, band)
        bottom = max(bottom, at)
    said = remarks(picture)
    for sentence in said:
        for line in textwrap.wrap(sentence, int((width - 2 * _MARGIN) / _LETTER)):
            bottom = page.write(_MARGIN, bottom, line, colour=INK)
    return Plane(
        width,
        bottom + _MARGIN - _LEADING // 2,
        f"Map of {headline(picture)}",
        "; ".join((*(in_words(count) for count in picture.counts), *said)),
        tuple(page.cells),
        tuple(page.words),
    )


def _columns(bands: list[tuple[str, MapBand]]) -> list[list[tuple[str, MapBand]]]:
    """One column, or two of about equal height."""
    heights = [_height(band) for _, band in bands]
    if sum(heights) <= _HIGHEST or len(bands) == 1:
        return [bands]
    at = min(range(1, len(bands)), key=lambda at: max(sum(heights[:at]), sum(heights[at:])))
    return [bands[:at], bands[at:]]


def _height(band: MapBand) -> int:
    return _LEADING + _RULER + len(band.rows) * CELL + _APART + _BETWEEN


class _Page:
    """What has been laid down so far."""

    def __init__(self) -> None:
        self.cells: list[Cells] = []
        self.words: list[Words] = []

    def write(self, x: int, y: int, text: str, *, size: int = _WORDS, colour: Colour = INK) -> int:
        """Write a line; returns where the next one begins."""
        self.words.append(Words(x, y, text, size, colour))
        return y + _LEADING + size - _WORDS

    def legend(self, picture: MapPicture, y: int, width: int) -> int:
        """A swatch and its meaning for each state that occurs, in as many lines as they need."""
        x = _MARGIN
        for count in picture.counts:
            said = in_words(count)
            needed = _SWATCH + 8 + int(len(said) * _LETTER) + 16
            if x > _MARGIN and x + needed > width - _MARGIN:
                x, y = _MARGIN, y + _LEADING
            self._cell(x, y + 2, 1, count.state)
            self.words.append(Words(x + _SWATCH + 5, y, said, _WORDS))
            x += needed
        return y + _LEADING + _BETWEEN // 2

    def band(self, x: int, y: int, title: str, band: MapBand) -> int:
        """A title and its rows; returns where the next band begins."""
        y = self.write(x + _LABEL, y, title, size=_SMALL, colour=INK)
        for found in re.finditer(r"\S+", band.ruler):
            at = x + _LABEL + found.start() * CELL
            self.words.append(Words(at, y - 3, found[0], _SMALL - 1, FAINT))
        y += _RULER if band.ruler else 0
        is_check = False
        for row in band.rows:
            y += _APART if row.is_check and not is_check else 0
            is_check = row.is_check
            self._row(x, y, row)
            y += CELL
        return y + _BETWEEN

    def _row(self, x: int, y: int, row: MapRow) -> None:
        self.words.append(Words(x + _LABEL - 8, y, row.label, _SMALL - 1, FAINT, is_right=True))
        if not row.cells:
            self.words.append(Words(x + _LABEL, y, gap(), _SMALL - 1, FAINT))
        first = 0
        for at in range(1, len(row.cells) + 1):
            if at == len(row.cells) or row.cells[at] != row.cells[first]:
                if row.cells[first] in STATES:
                    self._cell(x + _LABEL + first * CELL, y, at - first, STATES[row.cells[first]])
                first = at

    def _cell(self, x: int, y: int, count: int, state: ValueState) -> None:
        mark = next(each for each, of in STATES.items() if of is state) if state in _TOLD else ""
        self.cells.append(Cells(x, y, count, FILLS[state], mark, state))
