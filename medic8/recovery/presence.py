"""Whether there is a journal, found out without making one."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from medic8.errors import ConfigurationError
from medic8.recovery import faults, tables
from medic8.recovery.journal import Journal


def journal_at(url: str) -> Journal | None:
    """
    The journal at *url*; None if there is none yet.

    Raises:
        ConfigurationError: the URL does not parse, or what is there is no journal of ours.
        SilentError: its database does not answer.
    """
    return Journal(url) if _is_there(url) else None


def place_of(url: str) -> str:
    """Where the journal at *url* is or would be, for people: a file, or an address without its password."""
    parsed = _parsed(url)
    return parsed.database if _is_file(parsed) and parsed.database else parsed.render_as_string()


def _is_there(url: str) -> bool:
    parsed = _parsed(url)
    if _is_file(parsed) and parsed.database:
        # Opening it would make it, and its folder.
        file = Path(parsed.database)
        return file.exists() and file.stat().st_size > 0
    engine = tables.engine_for(url)
    with faults.translated(engine.url), engine.connect() as connection:
        return sa.inspect(connection).has_table(tables.about.name)


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except sa.exc.ArgumentError as exc:
        raise ConfigurationError("the journal's URL does not parse as an SQLAlchemy URL") from exc


def _is_file(url: sa.URL) -> bool:
    return url.get_backend_name() == "sqlite"
