"""Server programs of other makers and versions, which a person names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from medic8.local.programs import version_of

#: Names server programs to be tried beside the embedded one, as ``PATH`` names folders.
VARIABLE = "MEDIC8_ENGINES"


class Engine(NamedTuple):
    """
    A server program.

    Attributes:
        program: Where it is; None is the embedded one.
        name: As people call it, with its version.
    """

    program: Path | None
    name: str


EMBEDDED = Engine(None, "embedded")


def others() -> list[Engine]:
    """Those that the environment names, each of a name and version once."""
    named = [Path(each).absolute() for each in os.environ.get(VARIABLE, "").split(os.pathsep) if each]
    engines = [Engine(program, f"{program.name} {version_of(program)}") for program in named]
    return list({each.name: each for each in engines}.values())
