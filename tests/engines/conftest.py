"""A server of each engine, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import valkey

from medic8.local.scratch import ScratchValkey, scratch_valkey
from tests.engines.programs import EMBEDDED, Engine, others


@pytest.fixture(scope="module", params=[EMBEDDED, *others()], ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Get the embedded engine, and each that is named."""
    found: Engine = request.param
    return found


@pytest.fixture(scope="module")
def server(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchValkey]:
    """Get a server of the engine that has keys on disk, for all tests of a module."""
    folder = tmp_path_factory.mktemp("engine")
    config = {"save": "3600 1", "appendonly": "yes", "lua-time-limit": "50"}
    with scratch_valkey(folder, config=config, engine=engine.program) as started:
        yield started
        started.kill()


@pytest.fixture
def url(server: ScratchValkey) -> str:
    """Get the address of that server, without keys, scripts and users, and with nothing counted."""
    with valkey.Valkey.from_url(server.url, decode_responses=True) as client:
        client.flushall(asynchronous=False)
        client.script_flush()
        client.acl_deluser(*(user for user in client.acl_users() if user != "default"), "nobody")
        client.config_resetstat()
        client.slowlog_reset()
        client.save()
    return server.url


@pytest.fixture
def client(url: str) -> Iterator[valkey.Valkey]:
    """Get a client of that server that is none of Medic8's."""
    with valkey.Valkey.from_url(url) as plain:
        yield plain
