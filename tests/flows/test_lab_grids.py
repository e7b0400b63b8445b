"""What the lab has for grids, and for scaling a server, is healed or left alone as it says."""

from __future__ import annotations

import json
import os
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
from medic8.model.issue import IssueType
from medic8.model.report import Health
from medic8.model.resolution import Outcome
from medic8.targets.grid.format import CELL
from medic8.targets.grid.layout import BLOCK_CELLS
from medic8.targets.valkey.client import connection
from tests.local.broken_lab import Lab
from tests.local.test_lab_faults_of_servers import client_of, refusal

pytestmark = pytest.mark.usefixtures("prefect_api")

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
