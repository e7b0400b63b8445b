"""What tests of flows ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.server_site import CONFIGURATION, Configure, set_settings


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
