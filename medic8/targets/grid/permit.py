"""Who may write into a parity group: the holder of its lock, one who names its version, or everybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medic8.targets.grid.compare_and_write import Check

#: Of a group that was never written.
NO_VERSION = bytes(8)


def _nothing() -> tuple[Check, ...]:
    return ()


def _ignored() -> None:
    """Try again."""


@dataclass(frozen=True, slots=True)
class Permit:
    """
    What a write into one group must prove, in the act that writes.

    Attributes:
        checks: Gives what must hold at the moment of each try; raises if the write may not be tried.
        failed: Told that one of them did not hold; raises, or the write is tried again.
        version: What the group's version must be; None is any.
        outdated: Told that it is another; raises.
    """

    checks: Callable[[], Sequence[Check]] = _nothing
    failed: Callable[[], None] = _ignored
    version: bytes | None = None
    outdated: Callable[[], None] = _ignored


#: Of a grid that takes all writes, where nobody holds a lock.
ANYBODY = Permit()


def version_of(record: bytes | None) -> bytes:
    """The version of a group: the seal of its ``:m``, which every write changes."""
    return NO_VERSION if record is None else record[-8:]
