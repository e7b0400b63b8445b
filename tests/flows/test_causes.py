"""One fault that shows as several issues, on a real server."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

from flows.run import run
from medic8.local.scratch import scratch_valkey
from medic8.model.resolution import Outcome
from medic8.targets.valkey.client import connection
from tests.flows.server_site import Configure

pytestmark = pytest.mark.usefixtures("prefect_api")

_VALUE_BYTES = 1 << 20
_ASKED = 100


@contextlib.contextmanager
def slow_reader(port: int, client: valkey.Valkey) -> Iterator[None]:
    """A program that asks for 100 MiB and reads nothing of it."""
    with socket.create_connection(("127.0.0.1", port)) as asker:
        asker.sendall(b"CLIENT SETNAME slow-reader\r\n" + b"LRANGE large 0 -1\r\n" * _ASKED)
        deadline = time.monotonic() + 30
        while waiting_for("slow-reader", client) < 70 * _VALUE_BYTES:
            assert time.monotonic() < deadline
        yield


def waiting_for(name: str, client: valkey.Valkey) -> int:
    return max((int(each["omem"]) for each in client.client_list() if each["name"] == name), default=0)


def test_the_cause_is_treated_and_the_symptom_goes_with_it(configure: Configure, tmp_path: Path) -> None:
    """Output that nobody reads fills the memory: its reader is closed, once a person agrees."""
    (tmp_path / "server").mkdir()
    with (
        scratch_valkey(tmp_path / "server", config={"maxmemory": "64mb"}) as server,
        connection(server.url) as client,
    ):
        client.rpush("large", *[bytes(1000)] * 1000)  # a string would be sent without being copied
        configure(url=server.url, allow='"kill_hogging_client"')
        client.config_set("slowlog-max-len", "1000")
        client.config_set("tcp-keepalive", "120")
        with slow_reader(server.port, client):
            with pytest.raises(valkey.exceptions.OutOfMemoryError):
                client.set("more", bytes(8 * _VALUE_BYTES))
            first = run("heal", target="server")
            assert [each.outcome for each in first.resolutions] == [Outcome.AWAITING_APPROVAL]
            assert {each.about for each in first.waiting} == {"memory", "client buffers"}
            causes = {each.follows_from[0].cause for each in first.waiting}
            assert causes == {first.resolutions[0].issue.fingerprint}
            assert waiting_for("slow-reader", client) > 0
            plan = first.resolutions[0].plan
            second = run("heal", target="server", approved=[plan.digest])
            assert [each.outcome for each in second.resolutions] == [Outcome.RESOLVED]
            assert {each.about for each in second.gone} == {"memory", "client buffers"}
            assert waiting_for("slow-reader", client) == 0
            client.set("more", bytes(8 * _VALUE_BYTES))
