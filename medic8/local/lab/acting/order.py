"""What an actor is told, and what it answers; both are one line of JSON."""

from __future__ import annotations

from collections.abc import Generator

from medic8.model.frozen import Frozen

#: An actor ends by itself after this, whatever becomes of the lab.
LASTS_S = 1800

#: What the keys begin with that the lab writes as applications do. The first word of a key, up to the first
#: colon, is its kind for the diagnostic of keys, so it may not be that of Medic8's own records.
PREFIX = "medic8-lab-"


class Order(Frozen):
    """
    What to act.

    Attributes:
        act: The name of the program.
        url: The server to act on.
        seed: Chooses where there is a choice.
        amount: How much; see the program.
        style: Which way; see the program.
        grid: Name of the lab's grid; empty for who does not work on it.
        folder: Where files may be put.
        lasts_s: When to end at the latest, in seconds.
    """

    act: str
    url: str
    seed: int = 0
    amount: int = 0
    style: str = ""
    grid: str = ""
    folder: str = ""
    lasts_s: int = LASTS_S


class Ready(Frozen):
    """
    What is there now.

    Attributes:
        told: What was done, one line each.
        url: The address that is offered; empty if there is none.
        family: Numbers of the processes that were started.
        folders: Folders to remove when these have ended.
        refused: Why it cannot be acted; empty if it can.
    """

    told: tuple[str, ...] = ()
    url: str = ""
    family: tuple[int, ...] = ()
    folders: tuple[str, ...] = ()
    refused: str = ""


#: A play: its first value says that all is there; then it goes on, a moment at a time.
Play = Generator[Ready, None, None]
