"""The map of a grid for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.text import Text

from medic8.cli.render import text
from medic8.drawing.palette import FILLS, ON_FILL, as_hex
from medic8.drawing.text import LABEL_COLUMNS, gap, headline, in_words, remarks, titled_bands
from medic8.model.grid_map import MARKS, TROUBLE, MapPicture, MapRow, ValueState

_CALM = {
    ValueState.GOOD: "#3d8fd1",
    ValueState.REBUILT: f"bold {as_hex(FILLS[ValueState.REBUILT])}",
}
_STYLES = {
    MARKS[state]: f"bold {as_hex(ON_FILL)} on {as_hex(FILLS[state])}"
    if state in TROUBLE
    else _CALM.get(state, "dim")
    for state in ValueState
}


def render_map(picture: MapPicture, files: Iterable[str] = ()) -> Iterator[RenderableType]:
    """The picture, then what its marks mean, then what it does not show."""
    yield text(headline(picture), "bold")
    for title, band in titled_bands(picture):
        yield ""
        yield text(title, "dim")
        if band.ruler:
            yield _row(MapRow(label="", cells=band.ruler))
        for row in band.rows:
            yield _row(row)
    yield ""
    for count in picture.counts:
        mark = MARKS[count.state]
        yield Text.assemble((mark, _STYLES[mark]), "  ", in_words(count))
    said = remarks(picture)
    if said:
        yield ""
    for sentence in said:
        yield text(sentence, "bold red" if sentence.startswith("beyond") else "")
    for file in files:
        yield text(f"written to {file}")


def _row(row: MapRow) -> Text:
    line = Text(no_wrap=True, overflow="crop")
    line.append(f"{row.label:>{LABEL_COLUMNS}} ", "dim")
    if not row.cells:
        line.append(gap(), "dim")
    for mark in row.cells:
        line.append(mark, _STYLES.get(mark, "dim"))
    return line
