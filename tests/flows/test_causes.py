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
from medic8.model.resolution import Outcome, Treatment
from medic8.targets.valkey.client import connection
from tests.flows.server_site import Configure

pytestmark = pytest.mark.usefixtures("prefect_api")

_VALUE_BYTES = 1 << 20
_ASKED = 100

#: The cause and what follows from it.
_ABOUT = ["client output", "memory", "client buffers"]


@contextlib.contextmanager
def slow_reader(port: int, client: valkey.Valkey) -> Iterator[None]:
    """A program that asks for 100 MiB and reads nothing of it."""
    with socket.create_connection(("127.0.0.1", port)) as asker:
        asker.sendall(b"CLIENT SETNAME slow-reader\r\n" + b"LRANGE large 0 -1\r\n" * _ASKED)
        deadline = time.monotonic() + 120
        while waiting_for("slow-reader", client) < 70 * _VALUE_BYTES:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield


def waiting_for(name: str, client: valkey.Valkey) -> int:
    return max((int(each["omem"]) for each in client.client_list() if each["name"] == name), default=0)


def abouts(treatment: Treatment) -> tuple[list[str], list[str]]:
    """What was treated of the three, or would be, each once, and what waits for its cause to go."""
    treated = {each.issue.about: None for each in treatment.resolutions if each.issue is not None}
    return [each for each in treated if each in _ABOUT], [each.about for each in treatment.waiting]


def test_the_cause_is_treated_and_the_symptom_goes_with_it(configure: Configure, tmp_path: Path) -> None:
    """
    Output that nobody reads fills the memory: its reader is closed, once a person agrees.

    Where the site never allows that, the symptoms are treated by themselves, and a plan says so.
    """
    (tmp_path / "server").mkdir()
    with (
        scratch_valkey(tmp_path / "server", config={"maxmemory": "64mb"}) as server,
        connection(server.url) as client,
    ):
        client.rpush("large", *[bytes(1000)] * 1000)  # a string would be sent without being copied
        client.config_set("slowlog-max-len", "1000")
        client.config_set("tcp-keepalive", "120")
        with slow_reader(server.port, client):
            with pytest.raises(valkey.exceptions.OutOfMemoryError):
                client.set("more", bytes(8 * _VALUE_BYTES))
            configure(url=server.url, allow="")
            shown, refused = (run("heal", target="server", dry_run=each) for each in (True, False))
            assert abouts(shown) == abouts(refused) == (_ABOUT, [])
            configure(url=server.url, allow='"kill_hogging_client"')
            shown, first = (run("heal", target="server", dry_run=each) for each in (True, False))
            assert abouts(shown) == abouts(first) == (_ABOUT[:1], _ABOUT[1:])
            assert first.resolutions[0].outcome is Outcome.AWAITING_APPROVAL
            causes = {each.follows_from[0].cause for each in first.waiting}
            assert causes == {first.resolutions[0].issue.fingerprint}
            assert waiting_for("slow-reader", client) > 0
            plan = first.resolutions[0].plan
            second = run("heal", target="server", approved=[plan.digest])
            assert second.resolutions[0].outcome is Outcome.RESOLVED
            assert {each.about for each in second.gone} == set(_ABOUT[1:])
            assert waiting_for("slow-reader", client) == 0
            client.set("more", bytes(8 * _VALUE_BYTES))
