"""Write times, spans and foreign text so that a person can read them and a terminal obeys none of them."""

from __future__ import annotations

from datetime import datetime

_MS_S = 0.001
_MINUTE_S = 60.0
_HOUR_S = 3600.0
_SHORT_DIGEST = 12
_STEP = 1024

#: Most characters of a name that are shown; a key's name may have half a gigabyte.
MOST_SHOWN = 80


def visible(text: str) -> str:
    r"""
    *text* in one line, with everything a terminal would act on spelled out.

    Key names and error messages of servers come from whoever wrote them: escape
    sequences, new lines and characters that turn the writing direction become
    ``\x1b``, ``\n``, ``\u202e``.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode()
        for each in text
    )


def shown(raw: bytes | str, most: int = MOST_SHOWN) -> str:
    r"""
    *raw* in one line of at most about *most* characters, with nothing in it that a terminal obeys.

    Bytes that are no UTF-8 become ``\xff``; what is left out is said.
    """
    head = raw[: most * 4]
    text = visible(as_text(head))
    if len(text) <= most and len(head) == len(raw):
        return text
    size = len(raw) if isinstance(raw, bytes) else len(raw.encode("utf-8", "surrogatepass"))
    return f"{text[:most]}… ({size:,} bytes)"


def as_text(raw: object) -> str:
    r"""Bytes as text, with ``\xff`` for what is no UTF-8; anything else as Python writes it."""
    return raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else str(raw)


def moment(when: datetime | None) -> str:
    """*when* in local time with its zone; a dash if it never came."""
    return "-" if when is None else when.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def span(seconds: float) -> str:
    """A duration, in the unit that leaves few digits."""
    if seconds < _MS_S:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S:.0f} min {seconds % _MINUTE_S:.0f} s"
    return f"{seconds // _HOUR_S:.0f} h {seconds % _HOUR_S // _MINUTE_S:.0f} min"


def counted(number: int, one: str) -> str:
    """``1 issue``, ``2 issues``."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def short(digest: str) -> str:
    """The first digits of a digest; enough to compare two by eye."""
    return digest[:_SHORT_DIGEST] or "-"


def size(size_bytes: float) -> str:
    """A size in the binary unit that leaves few digits."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = 0
    while abs(size_bytes) >= _STEP and power < len(units) - 1:
        size_bytes, power = size_bytes / _STEP, power + 1
    return f"{size_bytes:.0f} bytes" if power == 0 else f"{size_bytes:.1f} {units[power]}"


def measured(value: float | str | bool, unit: str) -> str:  # noqa: FBT001 - a reading may be a yes or no
    """A reading as a person says it: ``42 µs``, ``1.5 GiB``, ``17``, ``yes``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    match unit:
        case "seconds":
            return span(value)
        case "bytes":
            return size(value)
        case "count" | "":
            return f"{value:,}"
        case _:
            return f"{value:,} {unit}"
