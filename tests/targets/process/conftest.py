"""One supervisord for all tests of processes, with a few programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from medic8.backups.place import BackupPlace
from medic8.recovery.journal import Journal
from medic8.targets.kind import Surroundings
from tests.recovery.memory import AT
from tests.targets.process.supervised import MISSING, Program, supervised


@pytest.fixture(scope="session")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Get a real supervisord; skipped where there is none, which in CI is a failure."""
    if MISSING:
        assert not os.environ.get("CI"), MISSING
        pytest.skip(MISSING)
    with supervised(tmp_path_factory.mktemp("s")) as program:
        yield program


@pytest.fixture
def program(supervisor: Program) -> Program:
    """Get the program, running and untouched."""
    supervisor.anew()
    return supervisor


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """Get folders of the test's own."""
    return Surroundings(backups=BackupPlace.of(tmp_path / "backups"), now=AT, claims=tmp_path / "claims")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(f"sqlite:///{tmp_path}/journal.sqlite")
