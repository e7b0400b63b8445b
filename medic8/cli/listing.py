"""A plain table for thousands of rows: Rich's own takes a millisecond for each."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

from medic8.model.wording import visible

_GAP = 2
_HEADER = "bold"

_Cell = tuple[str, str]  # words and their style


class Listing:
    """Rows of cells in columns, as `medic8.cli.render.table` draws them; what does not fit is folded."""

    def __init__(self, *columns: str) -> None:
        self._rows: list[list[_Cell]] = [[(column, _HEADER) for column in columns]]

    def add_row(self, *cells: str | Text) -> None:
        """One cell for each column, foreign text as it is; of a `Text` its words and its one style count."""
        self._rows.append(
            [
                (visible(each), "") if isinstance(each, str) else (each.plain, str(each.style))
                for each in cells
            ]
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """What Rich calls to draw it."""
        sizes = [[_columns(words) for words, _ in row] for row in self._rows]
        widest = [max(column) for column in zip(*sizes, strict=True)]
        widths = fitting(widest, options.max_width - _GAP * (len(widest) - 1))
        is_folded = widths != widest
        for row, taken in zip(self._rows, sizes, strict=True):
            if is_folded and any(size > width for size, width in zip(taken, widths, strict=True)):
                for line in _folded(row, widths, console):
                    yield from _line(line, [_columns(words) for words, _ in line], widths, console)
            else:
                yield from _line(row, taken, widths, console)


def fitting(widths: list[int], most: int) -> list[int]:
    """*widths* that together are not over *most*: the widest give way first, and each keeps one column."""
    widths = list(widths)
    while (excess := sum(widths) - most) > 0 and (highest := max(widths)) > 1:
        wide = [at for at, width in enumerate(widths) if width == highest]
        next_highest = max((width for width in widths if width < highest), default=1)
        each = max(1, min(highest - next_highest, excess // len(wide)))
        for at in wide:
            widths[at] = highest - each
    return widths


def _columns(words: str) -> int:
    return len(words) if words.isascii() else cell_len(words)


def _folded(row: list[_Cell], widths: list[int], console: Console) -> Iterator[list[_Cell]]:
    folded = [
        [(line.plain.rstrip(), style) for line in Text(words).wrap(console, width, overflow="fold")]
        for (words, style), width in zip(row, widths, strict=True)
    ]
    for number in range(max(map(len, folded))):
        yield [lines[number] if number < len(lines) else ("", "") for lines in folded]


def _line(row: list[_Cell], taken: list[int], widths: list[int], console: Console) -> Iterator[Segment]:
    """One line of the terminal: plain words together, each styled one by itself."""
    plain, blank = "", 0
    for (words, style), size, width in zip(row, taken, widths, strict=True):
        if style:
            yield Segment(plain + " " * blank)
            yield Segment(words, console.get_style(style))
            plain, blank = "", 0
        else:
            plain += " " * blank + words
            blank = 0
        blank += width - size + _GAP
    yield Segment(plain + "\n")
