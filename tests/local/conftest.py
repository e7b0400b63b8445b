"""A server that tests break one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

from medic8.local.scratch import ScratchValkey, scratch_valkey
from tests.local.broken_lab import Lab


@pytest.fixture(scope="module")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchValkey]:
    """Get a server that saves, as the local stack's own does."""
    config = {"save": "3600 1 300 100 60 10000"}
    with scratch_valkey(tmp_path_factory.mktemp("lab"), config=config) as server:
        yield server


@pytest.fixture
def lab(lab_server: ScratchValkey, tmp_path: Path) -> Iterator[Lab]:
    """Get a lab without faults; it has none at the end, either."""
    found = Lab(lab_server, tmp_path / "home")
    try:
        yield found
    finally:
        found.reset()
        with valkey.Valkey.from_url(lab_server.url) as client:
            client.flushall()
            client.config_resetstat()
