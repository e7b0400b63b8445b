"""Which runs have a process here, on disk: the next responder looks after those of one that died."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from medic8.durable import replacing
from medic8.errors import RefusedError
from medic8.model.frozen import Frozen
from medic8.model.recovery import Owner

_LOCK = "lock"
_ENDING = ".json"


class Living(Frozen):
    """
    A run that was begun and is not known to have ended.

    Attributes:
        run: Its id.
        process: Who carries it out.
    """

    run: str
    process: Owner


def note(path: Path, living: Living) -> None:
    """Remember a run; whole or not at all."""
    with replacing(path, outlasts_power=False) as file:
        file.write(living.model_dump_json().encode())


class Records:
    """
    What one responder has on disk, in a folder that nobody else has.

    Attributes:
        runs: Where folders of runs are made.
    """

    def __init__(self, folder: Path) -> None:
        self.runs = folder / "runs"
        self._living = folder / "living"
        self._lock = folder / _LOCK

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[None]:
        """
        Have the folder to ourselves.

        Raises:
            RefusedError: a responder called *name* has it already.
        """
        for each in (self.runs, self._living):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise RefusedError(
                    f"a responder called {name} works here already ({self._lock.parent}); give this one "
                    "another name: medic8 worker --name"
                ) from exc
            yield
        finally:
            os.close(file)

    def of(self, run: str) -> Path:
        """Where *run* is remembered."""
        return self._living / f"{run}{_ENDING}"

    def forget(self, run: str) -> None:
        """Its end was told."""
        self.of(run).unlink(missing_ok=True)

    def read(self) -> tuple[Living, ...]:
        """Those that earlier responders have left; what cannot be read is removed."""
        found = []
        for path in sorted(self._living.glob(f"*{_ENDING}")):
            try:
                found.append(Living.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError):
                path.unlink(missing_ok=True)
        return tuple(found)
