"""A map as a PNG."""

from __future__ import annotations

import io
from functools import cache

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from medic8.drawing.palette import GROUND, ON_FILL
from medic8.drawing.plane import CELL, LINE, Plane, plane
from medic8.model.grid_map import MapPicture

_MARK_SIZE = 9


def as_png(picture: MapPicture) -> bytes:
    """The bytes of a PNG, with what is seen there in words beside it."""
    laid = plane(picture)
    image = Image.new("RGB", (laid.width, laid.height), GROUND)
    _paint(ImageDraw.Draw(image), laid)
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True, pnginfo=_words_of(laid))
    return written.getvalue()


def _paint(draw: ImageDraw.ImageDraw, laid: Plane) -> None:
    middle = (CELL - LINE) / 2
    for cells in laid.cells:
        for x in range(cells.x, cells.x + cells.count * CELL, CELL):
            draw.rectangle((x, cells.y, x + CELL - LINE - 1, cells.y + CELL - LINE - 1), cells.fill)
            if cells.mark:
                draw.text((x + middle, cells.y + middle), cells.mark, ON_FILL, _font(_MARK_SIZE), anchor="mm")
    for words in laid.words:
        anchor = "ra" if words.is_right else "la"
        draw.text((words.x, words.y), words.text, words.colour, _font(words.size), anchor=anchor)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font: the same on every machine."""
    return ImageFont.load_default(size)


def _words_of(laid: Plane) -> PngImagePlugin.PngInfo:
    known = PngImagePlugin.PngInfo()
    known.add_itxt("Title", laid.title)
    known.add_itxt("Description", laid.description)
    return known
