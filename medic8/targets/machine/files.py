"""Read the kernel's files about this machine, any of which may be missing or refused, or hold nonsense."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

#: A file of the kernel that is longer is read up to here: nothing that is judged lies beyond.
_MOST_BYTES = 1 << 20


class Machine:
    """
    This machine, by its files.

    Attributes:
        root: Where ``/proc``, ``/sys`` and ``/etc`` are; another one than ``/`` holds a copy.
        unseen: What could not be looked at and why, one sentence each.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.unseen: list[str] = []

    def path(self, name: str) -> Path:
        """Where the file *name*, such as ``proc/stat``, is."""
        return self.root / name

    def text(self, name: str, *, what: str = "") -> str | None:
        """
        What stands in a file; None if it cannot be read.

        Args:
            name: Without the leading slash.
            what: What it would tell, for people; empty if nobody misses it.
        """
        try:
            with self.path(name).open("rb") as file:
                return file.read(_MOST_BYTES).decode("utf-8", "backslashreplace")
        except OSError as exc:
            if what:
                self.unseen.append(f"{what}: /{name}: {exc.strerror or exc}")
            return None

    def lines(self, name: str, *, what: str = "") -> list[str]:
        """The lines of a file; none if it cannot be read."""
        return (self.text(name, what=what) or "").splitlines()

    def number(self, name: str, *, what: str = "") -> int | None:
        """The first word of a file as a number; None if there is none."""
        text = self.text(name, what=what)
        return whole(text.split()[0]) if text and text.split() else None

    def decimal(self, name: str, at: int = 0) -> float | None:
        """The word *at* of a file as a number with a point; None if there is none."""
        words = (self.text(name) or "").split()
        try:
            return float(words[at])
        except (IndexError, ValueError):
            return None

    def numbers(self, name: str, *, what: str = "") -> dict[str, int]:
        """A file of names and numbers, such as ``/proc/vmstat``; what is no number is left out."""
        found = {}
        for line in self.lines(name, what=what):
            words = line.replace(":", " ").split()
            if len(words) > 1 and (value := whole(words[1])) is not None:
                found[words[0]] = value
        return found

    def pairs(self, name: str, *, what: str = "") -> dict[str, int]:
        """
        A file of rows of names, each followed by one of numbers, such as ``/proc/net/snmp``.

        Returns:
            By row and name: ``Tcp.RetransSegs``.
        """
        found, lines = dict[str, int](), self.lines(name, what=what)
        for names, values in zip(lines[::2], lines[1::2], strict=False):
            row, _, rest = names.partition(":")
            other, _, numbers = values.partition(":")
            if row != other:
                continue
            for each, number in zip(rest.split(), numbers.split(), strict=False):
                if (value := whole(number)) is not None:
                    found[f"{row}.{each}"] = value
        return found

    def chosen(self, name: str) -> str | None:
        """What is chosen among the words of a file, such as ``always [madvise] never``; None if nothing."""
        words = (self.text(name) or "").split()
        return next((word.strip("[]") for word in words if word.startswith("[")), None)

    def names(self, folder: str) -> Iterator[str]:
        """The names in a folder; none if it cannot be read."""
        try:
            with os.scandir(self.path(folder)) as entries:
                for entry in entries:
                    yield entry.name
        except OSError:
            return

    def folders(self, folder: str) -> Iterator[str]:
        """The names of the folders in a folder, without links; none if it cannot be read."""
        try:
            with os.scandir(self.path(folder)) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        yield entry.name
        except OSError:
            return


def whole(text: str) -> int | None:
    """*text* as a whole number; None if it is none."""
    try:
        return int(text)
    except ValueError:
        return None
