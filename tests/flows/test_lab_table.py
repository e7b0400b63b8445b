"""What the lab says of each fault of a server is true: healed by what it names, or left with advice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flows.run import run
from medic8.cli.lab_configuration import COMMAND, write_lab_configuration
from medic8.errors import RefusedError
from medic8.local.lab.faults import FAULTS
from medic8.local.lab.reset import reset
from medic8.local.lab.scaling import GIVEN, MOST, STEP_BYTES, give
from medic8.local.lab.states import STATES
from medic8.local.records import StackRecord, write_record
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.issue import IssueType
from medic8.model.report import Health
from medic8.model.resolution import Outcome, Resolution
from medic8.targets.grid.format import CELL
from medic8.targets.grid.layout import BLOCK_CELLS
from medic8.targets.registry import kind_named
from medic8.targets.valkey.client import connection
from tests.local.broken_lab import Lab
from tests.local.test_lab_faults_of_servers import (
    EXPECTED,
    WATCHED_S,
    client_of,
    refusal,
    skip_where_it_cannot_be,
)

pytestmark = pytest.mark.usefixtures("prefect_api")

STRATEGIES = kind_named("valkey").strategies
#: A damaged snapshot goes the same road as a damaged append-only file, which takes seconds.
HEALED = [name for name in EXPECTED if FAULTS[name].healed_by in STRATEGIES and name != "damaged_snapshot"]
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

[[target]]
name = "lab"
kind = "grid"
url = "{url}"
mode = "act"
allow = [{of_grids}]
"""


SCALE = """
[[target]]
name = "scaled"
kind = "valkey"
url = "{url}"
mode = "act"
allow = ["raise_memory_limit", "scale_out"]

[target.scale]
command = [{command}]
dry_run = [{command}]
"""


@pytest.fixture(scope="module")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchValkey]:
    with scratch_valkey(tmp_path_factory.mktemp("lab"), config={"save": "3600 1 300 100 60 10000"}) as server:
        yield server


@pytest.fixture
def lab(lab_server: ScratchValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    allow = ", ".join(f'"{name}"' for name in STRATEGIES)
    of_grids = ", ".join(f'"{name}"' for name in kind_named("grid").strategies)
    (tmp_path / "medic8.toml").write_text(SITE.format(url=lab_server.url, allow=allow, of_grids=of_grids))
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


@pytest.fixture
def grid_lab(lab: Lab) -> Lab:
    """Get a lab with a full grid of two layers."""
    with connection(lab.server.url) as client:
        reset(client, "lab", lambda _: np.ones(BLOCK_CELLS, CELL), depth=2)
    return lab


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


def test_what_the_lab_has_for_scaling_gives_the_server_more(lab: Lab) -> None:
    """Called once, after a yes; four times at most, where memory is short; and a reset takes it back."""
    lab.home.mkdir()
    write_lab_configuration(lab.home, lab.server.url)
    write_record(lab.home, StackRecord(valkey=lab.server.server, notes={}))
    command = json.dumps(str(lab.home / COMMAND))
    with Path(os.environ["MEDIC8_CONFIG"]).open("a") as site:
        site.write(SCALE.format(url=lab.server.url, command=command))
    lab.make("memory_full")
    with client_of(lab.server.url) as client:
        limit = int(client.config_get("maxmemory")["maxmemory"])
        assert "OutOfMemory" in refusal(client, "SET", "mine", "x" * 65_536)
        # The cheaper one waits, and a person may agree to the other one all the same.
        planned = [each.plan for each in run("heal", target="scaled", dry_run=True).resolutions if each.plan]
        assert [plan.strategy for plan in planned] == ["raise_memory_limit", "scale_out"]
        treatment = run("heal", target="scaled", approved=[planned[-1].digest])
        (resolution,) = [each for each in treatment.resolutions if each.plan is not None]
        assert resolution.plan.strategy == "scale_out"
        assert resolution.outcome in {Outcome.RESOLVED, Outcome.PARTLY_RESOLVED}, resolution.reason
        assert int(client.config_get("maxmemory")["maxmemory"]) == limit + STEP_BYTES
        assert refusal(client, "SET", "mine", "x" * 65_536) == ""
        with pytest.raises(RefusedError, match="are used of"):
            give(lab.home, is_trial=False)
        client.set(GIVEN, MOST)
        client.config_set("maxmemory", limit)
        with pytest.raises(RefusedError, match="were given 4 times"):
            give(lab.home, is_trial=False)
        lab.reset()
        assert client.config_get("maxmemory")["maxmemory"] == "0"
        assert not client.exists(GIVEN)


def test_healthy_states_of_a_grid_give_a_heal_nothing_to_do(grid_lab: Lab) -> None:
    """All of them at once, while three processes write."""
    for state in (state for state in STATES.values() if state.part == "grid"):
        grid_lab.make(state.name)
    treatment = run("heal", target="lab")
    assert treatment.resolutions == ()
    assert treatment.before.analysis.health is Health.HEALTHY


def test_what_a_primary_alone_has_lost_comes_back_from_its_replica(grid_lab: Lab) -> None:
    """Nobody is asked, since the replica's bytes prove themselves."""
    with connection(grid_lab.server.url) as client:
        reset(client, "lab", lambda _: np.ones(BLOCK_CELLS, CELL), depth=6)
        before = {key: client.get(key) for key in client.keys("m8:{lab/*")}
        grid_lab.make("damage_primary_alone")
        treatment = run("heal", target="lab")
        tried = [(each.plan.strategy, each.outcome) for each in treatment.resolutions if each.plan]
        assert tried[-1] == (FAULTS["damage_primary_alone"].healed_by, Outcome.RESOLVED), tried
        assert {key: client.get(key) for key in before} == before


def test_updates_that_are_lost_are_left_with_advice(grid_lab: Lab) -> None:
    """Nothing brings them back; what a person can do against more is in the resolution."""
    grid_lab.make("lost_updates")
    (resolution,) = run("heal", target="lab").resolutions
    assert (resolution.issue.issue_type, resolution.outcome) == (
        IssueType.SYNCHRONIZATION,
        Outcome.UNSUPPORTED,
    )
    assert "grid.lock" in str(resolution.left)
