"""What a grid's reader or writer may be told, on top of the errors of the whole project."""

from __future__ import annotations

from medic8.errors import ChangedError, FencedError, RefusedError


class NotAGridError(RefusedError):
    """No grid of that name is there, or what is there is no grid of a format we know; nothing was changed."""


class GridExistsError(RefusedError):
    """A grid of that name is there already; nothing was changed."""


class GridDamagedError(RefusedError):
    """
    A page that had to be read, or folded into parity, is not what its checksums say; nothing was changed.

    Attributes:
        group: Parity group of the damage.
        where: Which block and which page, for a person.
    """

    def __init__(self, message: str, group: int, where: str) -> None:
        super().__init__(message, group, where)
        self.group = group
        self.where = where

    def __str__(self) -> str:
        return str(self.args[0])


class LockBusyError(RefusedError):
    """Somebody else holds the lock of a parity group; nothing was changed."""


class LockLostError(FencedError):
    """The lock was broken or taken by somebody else, or could not be renewed; nothing was changed."""


class OutdatedError(ChangedError):
    """What was read has been written by somebody else since; nothing was changed."""
