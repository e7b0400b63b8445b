"""An endpoint that serves nobody is served by its standby, through the flows and a real HAProxy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flows.run import run
from medic8.model.guard import Verdict
from medic8.model.report import Health
from medic8.model.resolution import Outcome
from medic8.targets.endpoint.haproxy import MAINT, READY, Haproxy
from tests.targets.endpoint.haproxies import haproxy, needs_haproxy
from tests.targets.endpoint.services import answers, service, status
from tests.targets.endpoint.supervised_pair import pair
from tests.targets.process.supervised import MISSING

pytestmark = pytest.mark.usefixtures("prefect_api")

CONFIGURATION = """
[[target]]
name = "api"
kind = "endpoint"
url = "{url}"
mode = "act"
allow = ["fail_over"]
timeout_s = 2

[target.request]
count = 2

[target.fail_over]
standby = "http://127.0.0.1:{standby}/"
haproxy = "{socket}"
backend = "api"
server = "first"
timeout_s = 3

[recovery]
claims = "{claims}"
"""


@needs_haproxy
@pytest.mark.parametrize("recovers", [True, False], ids=["it serves", "it does not serve behind HAProxy"])
def test_the_standby_serves_or_all_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, recovers: bool
) -> None:
    """Served well, with the first server left to be repaired; or restored, and that is in service again."""
    with (
        service(status(500)) as first,
        service(answers()) as well,
        service(status(503)) as ill,
        haproxy(tmp_path, first, well if recovers else ill) as running,
    ):
        (tmp_path / "medic8.toml").write_text(
            CONFIGURATION.format(
                url=running.url, standby=well, socket=running.socket, claims=tmp_path / "claims"
            )
        )
        monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
        (done,) = run("heal", target="api").resolutions
        state = Haproxy(running.socket, timeout_s=3).state("api", "first")
        health = run("diagnose", target="api").analysis.health
    if recovers:
        assert (done.outcome, state) == (Outcome.PARTLY_RESOLVED, MAINT), done.reason
        assert done.verdict is Verdict.BETTER
        assert health is Health.HEALTHY
        assert {change.what for change in done.changes} >= {"failed requests", "status"}
    else:
        assert (done.outcome, state) == (Outcome.RESTORED, READY), done.reason
        assert health is Health.FAILING
    assert not list((tmp_path / "claims").glob("*.claim"))


SERVICES = """
[[target]]
name = "api"
kind = "endpoint"
url = "http://127.0.0.1:{port}/"
mode = "act"
allow = ["fail_over"]
timeout_s = 5

[target.request]
count = 2

[target.fail_over]
service = "{second}"
replaces = "{first}"

[recovery]
claims = "{claims}"
"""


def test_a_service_serves_in_the_place_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of one supervisord and for one address; who served before is stopped, and left to be repaired."""
    if MISSING:
        assert not os.environ.get("CI"), MISSING
        pytest.skip(MISSING)
    with pair(tmp_path / "s") as both:
        named = {name: both.program.url_of(name) for name in ("first", "second")}
        (tmp_path / "medic8.toml").write_text(
            SERVICES.format(port=both.port, claims=tmp_path / "claims", **named)
        )
        monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
        (done,) = run("heal", target="api").resolutions
        assert (done.outcome, done.verdict) == (Outcome.PARTLY_RESOLVED, Verdict.BETTER), done.reason
        assert (both.runs("first"), both.runs("second")) == (False, True)
    assert not list((tmp_path / "claims").glob("*.claim"))
