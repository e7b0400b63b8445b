"""An endpoint that fails because of the server beneath it: one cause, treated once, where it lies."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import valkey

from flows.run import run
from medic8.local.scratch import ScratchValkey
from medic8.model.report import Health
from medic8.model.resolution import Outcome
from tests.flows.slow_site import fill, plain
from tests.targets.endpoint.services import Behaviour, answers, service, status

pytestmark = pytest.mark.usefixtures("prefect_api")

CONFIGURATION = """
[[target]]
name = "api"
kind = "endpoint"
url = "http://127.0.0.1:{port}/"
mode = "act"
allow = ["fail_over"]
depends_on = ["cache"]

[target.request]
count = 2

[target.fail_over]
standby = "http://127.0.0.1:{standby}/"
file = "{file}"
active = "first"
spare = "second"

[[target]]
name = "cache"
kind = "valkey"
url = "{url}"
mode = "act"
allow = ["raise_memory_limit"]

[recovery]
claims = "{claims}"
"""


def writing_to(url: str) -> Behaviour:
    """A service that writes to a server for each request, and passes on what that says."""

    def serve(near: socket.socket) -> None:
        with plain(url) as client:
            try:
                # More than the buffers of whoever filled it, which are free again, have left it.
                client.set("visits", bytes(300_000))
            except valkey.exceptions.ValkeyError:
                status(500)(near)
            else:
                answers()(near)

    return serve


def test_the_cause_is_treated_on_its_own_target_and_the_endpoint_is_not_moved(
    server: ScratchValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is at its limit; the endpoint waits until a person agreed, and is well then."""
    upstream = tmp_path / "upstream"
    upstream.write_text("first")
    fill(server)
    with service(writing_to(server.url)) as port, service(answers()) as standby:
        (tmp_path / "medic8.toml").write_text(
            CONFIGURATION.format(
                port=port, standby=standby, file=upstream, url=server.url, claims=tmp_path / "claims"
            )
        )
        monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
        first = run("heal", target="api")
        assert first.resolutions == (), first.resolutions[0].reason
        assert [each.about for each in first.waiting] == ["answer"]
        assert first.waiting[0].follows_from[0].target == "cache"
        (below,) = first.beneath
        (asked,) = [each for each in below.resolutions if each.outcome is Outcome.AWAITING_APPROVAL]
        assert asked.plan is not None
        second = run("heal", target="api", approved=[asked.plan.digest])
        assert [each.outcome for each in second.beneath[0].resolutions] == [Outcome.RESOLVED]
        assert second.resolutions == ()
        assert [each.about for each in second.gone] == ["answer"]
        assert second.after is not None
        assert second.after.analysis.health is Health.HEALTHY
    assert upstream.read_text() == "first"
    (entry,) = run_history("cache")
    assert entry.target == "cache"


def run_history(target: str) -> list[object]:
    """What the history has of resolved issues of *target*."""
    from tasks.track import history

    return list(history(target, outcome="resolved"))
