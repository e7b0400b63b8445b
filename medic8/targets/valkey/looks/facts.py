"""Replies of a server that list fields and values."""

from __future__ import annotations

from medic8.model.wording import as_text
from medic8.targets.facts import Facts


def parse_info(reply: object) -> Facts:
    """The fields of a reply to INFO."""
    lines = (line.partition(":") for line in as_text(reply).split("\r\n") if not line.startswith("#"))
    return Facts({name: value for name, colon, value in lines if colon})


def parse_flat(reply: object) -> Facts:
    """The fields of a reply that lists names and values in turn, as CONFIG GET and MEMORY STATS do."""
    if not isinstance(reply, list):
        return Facts({})
    return Facts(
        {as_text(name): as_text(value) for name, value in zip(reply[::2], reply[1::2], strict=False)}
    )
