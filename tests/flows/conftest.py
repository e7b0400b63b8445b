"""What tests of flows ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from medic8.local.lab.reset import reset
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.targets.grid.format import CELL
from medic8.targets.grid.layout import BLOCK_CELLS
from medic8.targets.valkey.client import connection
from tests.flows.lab_site import write_site
from tests.flows.server_site import CONFIGURATION, Configure, set_settings
from tests.flows.slow_site import Site
from tests.local.broken_lab import Lab
from tests.local.test_lab_faults_of_servers import client_of


@pytest.fixture
def configure(valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Get a function that configures the shared server, and set two of its settings out of range."""

    def write(
        *, mode: str = "act", allow: str = '"set_settings"', url: str = valkey_url, more: str = ""
    ) -> None:
        (tmp_path / "medic8.toml").write_text(
            CONFIGURATION.format(url=url, mode=mode, allow=allow, more=more)
        )

    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    set_settings(valkey_url, "10", "300")
    return write


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScratchValkey]:
    """Get a server of the test's own."""
    (tmp_path / "server").mkdir()
    with scratch_valkey(tmp_path / "server") as started:
        yield started


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Get the configuration of a target."""
    return Site(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchValkey]:
    """Get a server that saves, as the local stack's own does, for the lab's faults."""
    with scratch_valkey(
        tmp_path_factory.mktemp("lab"), config={"save": "3600 1 300 100 60 10000"}
    ) as started:
        yield started


@pytest.fixture
def lab(lab_server: ScratchValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Get a lab without faults on a site that allows everything; it has none at the end, either."""
    write_site(tmp_path, lab_server.url, monkeypatch)
    found = Lab(lab_server, tmp_path / "lab")
    try:
        yield found
    finally:
        found.reset()
        with client_of(lab_server.url) as client:
            client.flushall()
            client.config_resetstat()


@pytest.fixture
def grid_lab(lab: Lab) -> Lab:
    """Get a lab with a full grid of two layers."""
    with connection(lab.server.url) as client:
        reset(client, "lab", lambda _: np.ones(BLOCK_CELLS, CELL), depth=2)
    return lab
