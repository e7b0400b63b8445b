"""What may be wrong with the journal's database, told in our errors."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from medic8.errors import ConfigurationError, RefusedError, TransientError

#: Left on the disk of an SQLite journal for all that a recovery still has to note once it was granted.
_ROOM_BYTES = 16 << 20

#: What SQLite says when its file cannot be written. Source: sqlite3ErrStr in SQLite's main.c.
_UNWRITABLE = (
    "database or disk is full",
    "attempt to write a readonly database",
    "disk I/O error",
    "unable to open database file",
)


class SilentError(TransientError):
    """The journal's database did not answer; whether the entry is in it is not known."""


class UnwritableError(SilentError):
    """The journal's disk is full or read-only; the entry is not in it."""


def require_room(url: sa.URL) -> None:
    """
    See that the disk of an SQLite journal has room for all that a recovery notes.

    Raises:
        RefusedError: it has not; nothing was begun.
    """
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    free = shutil.disk_usage(Path(url.database).parent).free
    if free < _ROOM_BYTES:
        raise RefusedError(
            f"no room for the journal at {url.database}: {free / 2**20:.1f} MiB free, "
            f"{_ROOM_BYTES / 2**20:.0f} MiB needed; nothing was begun"
        )


@contextlib.contextmanager
def translated(url: sa.URL) -> Iterator[None]:
    """
    Translate the database's errors into ours.

    Raises:
        ConfigurationError: it is no database.
        UnwritableError: its disk is full or read-only.
        SilentError: it did not answer.
        TransientError: somebody else was granted the same at the same moment.
    """
    where = url.render_as_string(hide_password=True)
    try:
        yield
    except sa.exc.IntegrityError as exc:
        # Two journals' clients on PostgreSQL inserted the same grant at once.
        raise TransientError("another recovery was granted the resource at the same moment") from exc
    except sa.exc.DBAPIError as exc:
        if "not a database" in str(exc.orig):
            raise ConfigurationError(f"the journal at {where} is no database: {exc.orig}") from exc
        if any(text in str(exc.orig) for text in _UNWRITABLE):
            raise UnwritableError(f"the journal at {where} cannot be written: {exc.orig}") from exc
        raise SilentError(f"the journal at {where} did not answer: {exc.orig}") from exc
