"""What all renderings share: foreign text made harmless, colours by meaning, plain tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from medic8.model.wording import visible

_STYLES = {
    "healthy": "bold green",
    "degraded": "bold yellow",
    "failing": "bold red",
    "unreachable": "bold magenta",
    "info": "cyan",
    "warning": "yellow",
    "error": "red",
    "critical": "bold red",
    "resolved": "green",
    "partly_resolved": "yellow",
    "planned": "cyan",
    "restored": "yellow",
    "refused": "yellow",
    "awaiting_approval": "yellow",
    "denied": "yellow",
    "approved": "green",
    "unsupported": "yellow",
    "needs_person": "bold red",
    "better": "green",
    "worse": "red",
    "restorable": "green",
    "harmless": "green",
    "one_way": "red",
    "low": "green",
    "medium": "yellow",
    "high": "red",
    "done": "green",
    "committed": "green",
    "conflict": "red",
    "running": "green",
    "created": "green",
    "changed": "yellow",
    "removed": "red",
    "died": "red",
    "interrupted": "red",
}


def text(content: str, style: str = "") -> Text:
    """*content* as it is, with nothing in it that a terminal or Rich would obey."""
    return Text(visible(content), style=style)


def word(value: str) -> Text:
    """One of our own words in the colour of its meaning."""
    return Text(visible(value.replace("_", " ")), style=_STYLES.get(value, ""))


def line(*parts: str | Text) -> Text:
    """*parts* on one line, two spaces apart."""
    return Text("  ").join(part if isinstance(part, Text) else text(part) for part in parts if part)


def table(*columns: str) -> Table:
    """An empty table without borders."""
    empty = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        empty.add_column(column, overflow="fold")
    return empty


def facts(rows: Iterable[tuple[str, str | RenderableType]]) -> Table:
    """Names and values below each other; rows without a value are left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        if value:
            grid.add_row(name, text(value) if isinstance(value, str) else value)
    return grid


def section(title: str, *parts: RenderableType) -> Group:
    """*parts* indented under a *title*, with a blank line before it."""
    return Group("", Text(title, style="bold"), *(indented(part) for part in parts))


def indented(part: RenderableType) -> Padding:
    """*part* two columns to the right."""
    return Padding(part, (0, 0, 0, 2))


def bullets(sentences: Iterable[str]) -> Table:
    """A list of *sentences*."""
    return facts(("-", sentence) for sentence in sentences)
