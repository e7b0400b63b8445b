"""What is drawn is what was found: the text to the letter, the PNG to the pixel, the SVG as a document."""

from __future__ import annotations

import io
import itertools
import stat
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from medic8.analysis.markdown import map_of
from medic8.drawing.file import refuse_what_exists, write_drawing
from medic8.drawing.palette import FILLS, GROUND, as_hex
from medic8.drawing.plane import CELL, LINE, plane
from medic8.drawing.png import as_png
from medic8.drawing.svg import as_svg
from medic8.drawing.text import as_text
from medic8.errors import RefusedError
from medic8.model.grid_map import MARKS, MapBand, MapPicture, MapRow, StateCount, ValueState

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "a<script>\"'&]]>\x1b[31m\n<!--\u202e"


def a_picture(**changed: object) -> MapPicture:
    """Two rows with every state, and P."""
    fields = {
        "grid": "lab",
        "uuid": "6d656d38-0000-4000-8000-000000000001",
        "depth": 4,
        "taken_at": datetime(2026, 1, 31, 12, 0, tzinfo=UTC),
        "rebuilt_since": datetime(2026, 1, 24, 12, 0, tzinfo=UTC),
        "overview": None,
        "groups_per_cell": 0,
        "bands": (
            MapBand(
                title="layers 0-3, groups 0-63",
                ruler="0       8",
                rows=(
                    MapRow(label="0-1", cells="■■D■M■XR" + 8 * "·"),
                    MapRow(label="2-3", cells="■■■■■■Z-" + 8 * " "),
                    MapRow(label="P", cells="■■■■■■XX" + 8 * "·", is_check=True),
                ),
            ),
        ),
        "blocks_per_cell": 1,
        "bands_left_out": 0,
        "counts": tuple(StateCount(state=state, blocks=2, checks=0) for state in ValueState),
        "beyond_parity": (6, 7),
        "beyond_parity_total": 2,
    }
    return MapPicture(**(fields | changed))


def test_text_says_everything_without_colours() -> None:
    """For pipes, for mail, and where no picture is shown."""
    assert as_text(a_picture()).splitlines()[1:] == [
        "",
        "layers 0-3, groups 0-63",
        "            0       8",
        "        0-1 ■■D■M■XR········",
        "        2-3 ■■■■■■Z-",
        "          P ■■■■■■XX········",
        "",
        "-  not looked at: 2 blocks",
        "·  never written: 2 blocks",
        "■  good: 2 blocks",
        "R  rebuilt: 2 blocks",
        "Z  in quarantine: 2 blocks",
        "D  damaged: 2 blocks",
        "M  missing: 2 blocks",
        "X  lost, beyond parity: 2 blocks",
        "",
        "beyond parity: groups 6, 7",
        as_text(a_picture()).splitlines()[-1],
    ]
    assert as_text(a_picture()).splitlines()[-1].startswith("rebuilt: written back by a recovery since 2026-")


def test_what_is_left_out_is_said() -> None:
    """Extents in trouble without a band, groups beyond the first, and a grid that was never written."""
    overview = MapBand(title="layers 0-4095", ruler="", rows=(MapRow(label="0-63", cells=""),))
    text = as_text(
        a_picture(
            overview=overview,
            groups_per_cell=2,
            bands_left_out=3,
            beyond_parity=tuple(range(256)),
            beyond_parity_total=1000,
        )
    )
    assert "layers 0-4095, a cell is the worst of 2 parity groups" in text
    assert "       0-63 never written" in text
    assert "3 more extents in trouble; --layers A-B or --groups A-B shows them one by one" in text
    assert "13, 14, 15 and 984 more" in text
    assert "nothing was ever written" in as_text(a_picture(bands=()))


def test_each_cell_of_a_png_has_the_colour_of_its_state() -> None:
    """Decoded by another program than the one that laid it out; what does not exist is ground."""
    picture = a_picture()
    image = Image.open(io.BytesIO(as_png(picture)))
    laid = plane(picture)
    assert image.size == (laid.width, laid.height)
    assert image.text["Title"].startswith("Map of grid lab, 4 layers")
    assert "lost, beyond parity: 2 blocks" in image.text["Description"]
    pixels = image.convert("RGB")
    ruler = {words.text: words.x for words in laid.words}
    heights = {words.text: words.y for words in laid.words}
    left = ruler["0"]
    assert ruler["8"] == left + 8 * CELL
    for row in picture.bands[0].rows:
        for column, mark in enumerate(row.cells):
            corner = (left + column * CELL, heights[row.label])
            state = next((state for state, of in MARKS.items() if of == mark), None)
            expected = GROUND if state is None else FILLS[state]
            assert pixels.getpixel(corner) == expected, (row.label, column)
            opposite = (corner[0] + CELL - LINE - 1, corner[1] + CELL - LINE - 1)
            assert pixels.getpixel(opposite) == expected, (row.label, column)
            assert pixels.getpixel((corner[0] + CELL - LINE, corner[1])) == GROUND


def luminance(colour: tuple[int, int, int]) -> float:
    """Source: WCAG 2.2, relative luminance."""
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_well_and_ill_differ_in_lightness_and_each_state_in_its_mark() -> None:
    """Who sees no hue sees the difference all the same: the contrast is 1.5 at least."""
    well = (ValueState.NEVER_WRITTEN, ValueState.GOOD)
    ill = (ValueState.QUARANTINED, ValueState.DAMAGED, ValueState.MISSING, ValueState.LOST)
    for a, b in itertools.product(well, ill):
        light, dark = sorted((luminance(FILLS[a]), luminance(FILLS[b])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 1.5, (a, b)
    assert len(set(FILLS.values())) == len(ValueState)
    marked = {cells.state for cells in plane(a_picture()).cells if cells.mark}
    assert marked == {*ill, ValueState.REBUILT}


def test_an_svg_is_a_document_that_says_what_it_shows() -> None:
    """Well-formed, with title and description, a path for each state, and nothing that is fetched or run."""
    text = as_svg(a_picture())
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text.startswith("Map of grid lab, 4 layers")
    assert "damaged: 2 blocks" in root.find(f"{SVG}desc").text
    paths = {path.find(f"{SVG}title").text: path for path in root.iter(f"{SVG}path")}
    assert len(paths) == len(ValueState)
    assert paths["damaged"].get("fill") == as_hex(FILLS[ValueState.DAMAGED])
    assert paths["damaged"].get("d").count("M") == 2  # one in the legend
    assert paths["good"].get("d").count("M") == 1 + 4 + 6 + 6
    marks = [text.text for text in root.iter(f"{SVG}text") if text.text in {"XX", "Z"}]
    assert marks == ["Z", "Z", "XX"]  # the first in the legend
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        *("svg", "title", "desc", "rect", "path", "g", "text"),
    }


def test_hostile_names_are_shown_and_obeyed_by_nobody() -> None:
    """Neither the terminal, nor XML, nor Markdown."""
    picture = a_picture(grid=HOSTILE)
    root = ET.fromstring(as_svg(picture))  # noqa: S314 - our own
    said = root.find(f"{SVG}title").text
    assert "a<script>\"'&]]>\\x1b[31m\\n<!--\\u202e" in said
    assert not list(root.iter(f"{SVG}script"))
    assert "\x1b" not in as_text(picture)
    assert "\x1b" not in as_svg(picture)
    assert as_png(picture)
    heading = map_of(picture).splitlines()[0]
    assert heading.startswith(r"# Map of grid a\<script\>")
    assert "\x1b" not in heading


def test_an_artifact_holds_a_picture_or_if_that_is_too_large_the_text() -> None:
    """Below 200 kB in any case."""
    told = map_of(a_picture())
    assert "![map of the grid](data:image/png;base64,iVBOR" in told
    assert "- damaged: 2 blocks" in told
    marks = "".join(MARKS.values())
    noise = [
        MapRow(
            label=str(number), cells="".join(marks[(number * 7 + at * at * number) % 8] for at in range(64))
        )
        for number in range(400)
    ]
    large = a_picture(bands=(MapBand(title="t", ruler="", rows=tuple(noise)),))
    assert len(as_png(large)) > 140_000
    assert "```text\n" in map_of(large)
    assert len(map_of(large)) < 200_000


def test_a_file_is_written_whole_and_never_in_place_of_another(tmp_path: Path) -> None:
    """Unless that was asked for; nothing is left of an attempt."""
    file = tmp_path / "map.png"
    write_drawing(file, b"one", may_replace=False)
    assert stat.S_IMODE(file.stat().st_mode) & 0o700 == 0o600
    with pytest.raises(RefusedError, match=r"map\.png exists; --overwrite replaces it"):
        write_drawing(file, b"two", may_replace=False)
    with pytest.raises(RefusedError, match="exists"):
        refuse_what_exists(file)
    assert file.read_bytes() == b"one"
    write_drawing(file, b"three", may_replace=True)
    assert file.read_bytes() == b"three"
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(RefusedError, match="exists"):
        refuse_what_exists(link)
    with pytest.raises(RefusedError, match="cannot be written: No such file or directory"):
        write_drawing(tmp_path / "no" / "map.png", b"", may_replace=True)
    with pytest.raises(RefusedError, match="cannot be written: Is a directory"):
        write_drawing(tmp_path, b"", may_replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.png", "map.png"]
