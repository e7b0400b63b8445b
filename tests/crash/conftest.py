"""What the laboratory's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medic8.errors import ConfigurationError
from medic8.local.account import server_account
from medic8.local.programs import find_valkey


@pytest.fixture(autouse=True)
def _valkey_is_there(tmp_path: Path) -> None:
    """Skip where no server can be had; in CI that is a failure."""
    try:
        find_valkey(tmp_path, server_account())
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
