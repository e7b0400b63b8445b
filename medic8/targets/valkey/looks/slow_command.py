"""A command that was slow, as the server's log of such commands has it."""

from __future__ import annotations

from typing import NamedTuple


class SlowCommand(NamedTuple):
    """
    One entry of COMMANDLOG or SLOWLOG.

    Attributes:
        name: The command, and the key if it begins with one; fit to be shown.
        at_s: When, by the server's clock.
        took_s: How long the server did nothing else.
        client: The name of the client's connection.
        address: Where that came from.
        lazy: The setting by which the server would have freed what it deleted in the background; empty if it
            deleted nothing, or in another way.
    """

    name: str
    at_s: float
    took_s: float
    client: str
    address: str = ""
    lazy: str = ""
