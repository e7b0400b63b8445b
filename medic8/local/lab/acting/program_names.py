"""How the lab's own program is called, and how a target names it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

#: What the program is called, by its supervisor.
PROGRAM = "lab-process"

#: In the folder of actors: leads to the folder of the supervisor that was started last.
LATEST = "process"

#: The supervisor's socket, in its folder.
SOCKET = "s"


def address_of(folder: Path) -> str:
    """How a target names the program of the supervisor in *folder*."""
    return f"supervisor+unix://{quote(str(folder / SOCKET))}?program={PROGRAM}"


def latest_address(actors: Path) -> str:
    """How a target names the program that was started last, whichever that is; *actors* is their folder."""
    return address_of(actors / LATEST)
