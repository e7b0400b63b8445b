"""What can be wrong with a backup."""

from __future__ import annotations

from medic8.errors import RefusedError


class NothingThereError(RefusedError):
    """The target has nothing that could be backed up."""


class BackupDamagedError(RefusedError):
    """A backup is not what was written; nothing was taken from it, and no target was changed."""
