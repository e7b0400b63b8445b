"""Makes this folder importable, also for the processes that tests start; and lends a client of the server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

from medic8.local.scratch import ScratchValkey
from medic8.targets.valkey.client import connection

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def client(valkey_url: str, valkey_server: ScratchValkey) -> Iterator[valkey.Valkey]:
    """Get a client of the empty shared server, over its Unix socket."""
    assert valkey_url
    with connection(valkey_server.socket_url) as found:
        yield found
