"""What tests of flows ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medic8.local.scratch import ScratchValkey, scratch_valkey
from tests.flows.server_site import CONFIGURATION, Configure, set_settings
from tests.flows.slow_site import Site


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
