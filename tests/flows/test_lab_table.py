"""What the lab says of each fault of a server is true: healed by what it names, or left with advice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.run import run
from medic8.local.lab.faults import FAULTS
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.resolution import Outcome, Resolution
from medic8.targets.registry import kind_named
from tests.local.broken_lab import Lab
from tests.local.test_lab_faults_of_servers import EXPECTED, WATCHED_S, client_of, skip_where_it_cannot_be

pytestmark = pytest.mark.usefixtures("prefect_api")

STRATEGIES = kind_named("valkey").strategies
HEALED = [name for name in EXPECTED if FAULTS[name].healed_by in STRATEGIES]
ADVISED = [name for name in EXPECTED if not FAULTS[name].healed_by and name not in WATCHED_S]

SITE = """
[[target]]
name = "server"
kind = "valkey"
url = "{url}"
mode = "act"
allow = [{allow}]
idle_client_age_s = 1

[[target.expiry]]
prefix = "medic8-lab-session:"
after = 3600
"""


@pytest.fixture(scope="module")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchValkey]:
    with scratch_valkey(tmp_path_factory.mktemp("lab"), config={"save": "3600 1 300 100 60 10000"}) as server:
        yield server


@pytest.fixture
def lab(lab_server: ScratchValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    allow = ", ".join(f'"{name}"' for name in STRATEGIES)
    (tmp_path / "medic8.toml").write_text(SITE.format(url=lab_server.url, allow=allow))
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    found = Lab(lab_server, tmp_path / "lab")
    try:
        yield found
    finally:
        found.reset()
        with client_of(lab_server.url) as client:
            client.flushall()
            client.config_resetstat()


def resolutions_by(strategy: str) -> list[Resolution]:
    """Heal, saying yes to every plan of *strategy* and to no other; what came of it."""
    agreed: list[str] = []
    for _ in range(3):
        treatment = run("heal", target="server", approved=agreed)
        asked = [
            each.plan.digest
            for each in treatment.resolutions
            if each.outcome is Outcome.AWAITING_APPROVAL and each.plan.strategy == strategy
        ]
        if not asked:
            break
        agreed += asked
    return [
        each for each in treatment.resolutions if each.plan is not None and each.plan.strategy == strategy
    ]


@pytest.mark.parametrize("fault", HEALED)
def test_a_fault_is_healed_by_what_the_table_names(lab: Lab, fault: str) -> None:
    """Under load, end to end, after a yes to exactly that plan where it needs one."""
    skip_where_it_cannot_be(fault)
    is_there, issue_type, _ = EXPECTED[fault]
    lab.make("background_load")
    lab.make(fault)
    with client_of(lab.server.url) as client:
        assert is_there(client)
        (resolution,) = resolutions_by(FAULTS[fault].healed_by)
        assert resolution.issue.issue_type is issue_type
        assert resolution.outcome in {Outcome.RESOLVED, Outcome.PARTLY_RESOLVED}, resolution.reason


@pytest.mark.parametrize("fault", ADVISED)
def test_a_fault_that_is_for_a_person_is_left_as_found_with_advice(lab: Lab, fault: str) -> None:
    """Nothing is changed, and what a person can do is in the resolution."""
    is_there, issue_type, about = EXPECTED[fault]
    lab.make(fault)
    with client_of(lab.server.url) as client:
        assert is_there(client)
        treatment = run("heal", target="server")
        of_fault = [each for each in treatment.resolutions if each.issue.about == about]
        assert [(each.issue.issue_type, each.outcome) for each in of_fault] == [
            (issue_type, Outcome.UNSUPPORTED)
        ]
        assert of_fault[0].left
        assert is_there(client)


@pytest.mark.parametrize("fault", WATCHED_S)
def test_a_fault_that_shows_while_one_watches_comes_with_advice(lab: Lab, fault: str) -> None:
    """As the table says; nothing that heals would be started by a watch."""
    is_there, issue_type, about = EXPECTED[fault]
    lab.make(fault)
    report = run("diagnose", target="server", watch_s=WATCHED_S[fault])
    (issue,) = [each for each in report.issues if each.about == about]
    assert issue.issue_type is issue_type
    assert any("XADD medic8-lab-events:all MAXLEN" in line for line in issue.advice)
    with client_of(lab.server.url) as client:
        assert is_there(client)
