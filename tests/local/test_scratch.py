"""Throw-away servers: they run, they survive a crash on the same data, and they are gone afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
import valkey

from medic8.local.scratch import ScratchValkey, scratch_valkey


def test_a_scratch_server_answers_on_both_addresses(valkey_server: ScratchValkey) -> None:
    """TCP and the Unix socket lead to the same server."""
    for url in (valkey_server.url, valkey_server.socket_url):
        with valkey.Valkey.from_url(url, decode_responses=True) as client:
            assert client.info("server")["process_id"] == valkey_server.pid


def test_root_runs_it_as_somebody_else(valkey_server: ScratchValkey) -> None:
    """The server has no right that its job does not need."""
    if os.geteuid() != 0:
        pytest.skip("only root drops rights")
    uids = psutil.Process(valkey_server.pid).uids()
    assert 0 not in (uids.real, uids.effective, uids.saved)
    assert psutil.Process(valkey_server.pid).gids().effective != 0


def test_it_keeps_its_data_when_told_to_and_is_gone_after_the_block(tmp_path: Path) -> None:
    """An append-only server that is killed comes back with its keys on the same port."""
    config = {"appendonly": "yes", "appendfsync": "always"}
    with scratch_valkey(tmp_path, config=config) as server:
        port, first_pid = server.port, server.pid
        with valkey.Valkey.from_url(server.url, decode_responses=True) as client:
            client.set("wave", "kept")
        server.kill()
        server.start()
        assert server.port == port
        assert server.pid != first_pid
        with valkey.Valkey.from_url(server.socket_url, decode_responses=True) as client:
            assert client.get("wave") == "kept"
        last_pid = server.pid
        rooms = (server.data, server.server.socket.parent)
    assert not psutil.pid_exists(first_pid)
    assert not psutil.pid_exists(last_pid)
    assert not any(room.exists() for room in rooms if not room.is_relative_to(tmp_path))


def test_it_is_gone_when_the_block_fails(tmp_path: Path) -> None:
    """An error in the block does not leave the server behind."""
    with pytest.raises(ZeroDivisionError), scratch_valkey(tmp_path) as server:
        raise ZeroDivisionError
    assert not psutil.pid_exists(server.pid)


def test_a_long_path_does_not_matter(tmp_path: Path) -> None:
    """A Unix socket's address holds 107 bytes; the folder's path may hold more."""
    deep = tmp_path.joinpath(*["a-folder-with-quite-a-long-name"] * 4)
    deep.mkdir(parents=True)
    with scratch_valkey(deep) as server, valkey.Valkey.from_url(server.socket_url) as client:
        assert client.ping()


def test_the_shared_server_is_handed_out_clean(valkey_url: str, valkey_server: ScratchValkey) -> None:
    """What this test leaves behind is not there when the fixture is asked for again."""
    with valkey.Valkey.from_url(valkey_url, decode_responses=True) as client:
        assert client.dbsize() == 0
        assert client.config_get("maxmemory") == {"maxmemory": "0"}
    assert valkey_url == valkey_server.url
