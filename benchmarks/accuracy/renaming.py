"""
A copy of the code in which the lab's programs, clients and keys are called something else.

What is diagnosed must not be known by its name, and the lab's names are written in its code.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

_LETTERS = "bcdfghjklmnpqrstvwxz"

#: Names that the lab gives: keys ``medic8-lab-session:...``, clients, programs and folders ``lab-monitor``.
_KEY = re.compile(r"\bmedic8-lab-")
_CALLED = re.compile(r"(?<![\w.-])lab-(?=[a-z{])")

#: Where they are written, the rest being as it is.
_FOLDERS = (Path("medic8/local/lab"), Path("benchmarks/accuracy/variants"))


def word(rng: random.Random) -> str:
    """A word that means nothing."""
    return "".join(rng.choice(_LETTERS) for _ in range(6))


def renamed(root: Path, into: Path, rng: random.Random) -> None:
    """
    Lay the packages of *root* into the folder *into*, with other names in the lab and in its variants.

    Everything else is linked, so that it is the code itself.
    """
    key, called = f"{word(rng)}-", f"{word(rng)}-"
    into.mkdir()
    for folder in _FOLDERS:
        _lay(root, into, folder)
        for source in sorted((root / folder).rglob("*.py")):
            copy = into / source.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(_CALLED.sub(called, _KEY.sub(key, source.read_text())))


def _lay(root: Path, into: Path, folder: Path) -> None:
    """Link what is beside each part of the way to *folder*."""
    here = Path()
    for part in folder.parts:
        inner = here / part
        if here != Path():
            (into / here).mkdir(exist_ok=True)
            for each in (root / here).iterdir():
                link = into / here / each.name
                if each.name != part and not link.exists():
                    link.symlink_to(each)
        here = inner
