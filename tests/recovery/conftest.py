"""A journal on each kind of database that it may have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from medic8.errors import ConfigurationError
from medic8.recovery import tables
from medic8.recovery.journal import Journal
from tests.local.place import Place


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Get the address of a real PostgreSQL, as a site that shares its journal would configure it."""
    try:
        place = Place(tmp_path_factory.mktemp("postgres") / "home")
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    try:
        server = place.start()
        yield f"postgresql+pg8000://postgres@/postgres?unix_sock={server.sockets}/.s.PGSQL.5432"
    finally:
        place.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Get the address of an empty database, of SQLite and of PostgreSQL in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/journal.sqlite"
        return
    url = request.getfixturevalue("postgres_url")
    tables.metadata.drop_all(tables.engine_for(url))
    yield url
    tables.engine_for(url).dispose()


@pytest.fixture
def journal(journal_url: str) -> Iterator[Journal]:
    """Get an empty journal."""
    journal = Journal(journal_url)
    yield journal
    journal.dispose()
