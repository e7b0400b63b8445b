"""A journal on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medic8.recovery.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Get a journal on SQLite."""
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    yield journal
    journal.dispose()
