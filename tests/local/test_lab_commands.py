"""``medic8 lab`` from the command line, on a server that stands on the record of a home."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import valkey

from medic8.cli.complete import fault_names, state_names
from medic8.cli.lab_configuration import write_lab_configuration
from medic8.cli.run import run
from medic8.local.lab.actors import recorded
from medic8.local.lab.faults import FAULTS
from medic8.local.lab.states import STATES
from medic8.local.records import Note, StackRecord, write_record
from medic8.settings import load_settings
from medic8.targets.registry import kind_named
from tests.local.broken_lab import Lab

Medic8 = Callable[..., int]

CONFIGURATION = """
[[target]]
name = "lab"
kind = "grid"
url = "{url}"

[[target]]
name = "lab-server"
kind = "valkey"
url = "{url}"

[[target.setting]]
name = "hz"
minimum = 10
"""


@pytest.fixture
def medic8(lab: Lab) -> Medic8:
    """Get the command line of a home whose lab is the tests' server."""
    lab.home.mkdir()
    (lab.home / "medic8.toml").write_text(CONFIGURATION.format(url=lab.server.url))
    note = Note(since=datetime(2026, 1, 1, tzinfo=UTC), version="9")
    write_record(lab.home, StackRecord(valkey=lab.server.server, notes={"valkey": note}))
    return lambda *words: run(list(words), environ={"MEDIC8_HOME": str(lab.home)})


def test_a_fault_of_the_server_is_made_listed_and_reset(
    lab: Lab, medic8: Medic8, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is broken, who keeps it going, what to do next, and that it is over."""
    assert medic8("lab", "reset", "--depth", "1") == 0
    assert medic8("lab", "break", "slow_reader", "--strength", "9", "--seed", "5") == 0
    told = capsys.readouterr().out
    assert "of output wait" in told
    assert "medic8 diagnose lab-server" in told
    assert "medic8 heal lab-server" in told
    (actor,) = recorded(lab.home)
    assert medic8("lab", "list") == 0
    assert actor.shown in capsys.readouterr().out
    assert medic8("lab", "break", "proxy_delays", "--json") == 0
    url = json.loads(capsys.readouterr().out)["url"]
    with valkey.Valkey.from_url(url) as client:
        assert client.ping()
    assert medic8("lab", "reset", "--depth", "1") == 0
    told = capsys.readouterr().out
    assert f"actor {actor.shown} has ended" in told
    assert recorded(lab.home) == ()


def test_a_state_is_shown_and_said_to_be_well(medic8: Medic8, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is told to heal it."""
    assert medic8("lab", "stage", "waiting_clients", "--strength", "2") == 0
    told = capsys.readouterr().out
    assert "nothing is to be healed" in told
    assert "medic8 heal" not in told
    assert medic8("lab", "stage", "waiting_client") == 2
    assert 'did you mean "waiting_clients"?' in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["busy_script", "failed_save", "too_many_clients", "memory_full"])
def test_a_lab_that_answers_nobody_is_reset(
    lab: Lab, medic8: Medic8, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the actor is gone, and only what it left keeps the server from answering."""
    assert medic8("lab", "break", fault) == 0
    capsys.readouterr()
    assert medic8("lab", "reset", "--depth", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["taken_back"]
    assert lab.issues() == []


def test_a_script_whose_actor_was_killed_is_ended(lab: Lab, medic8: Medic8) -> None:
    """The server runs it on; nobody but a reset ends it."""
    lab.make("busy_script")
    (actor,) = recorded(lab.home)
    os.kill(actor.identity.pid, signal.SIGKILL)
    assert medic8("lab", "reset", "--depth", "1") == 0
    with valkey.Valkey.from_url(lab.server.url) as client:
        assert client.ping()


@pytest.mark.parametrize("strength", ["0", "-1", "1000000"])
def test_a_strength_out_of_range_starts_nobody(
    lab: Lab, medic8: Medic8, strength: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the fault, the value and the range, and what is counted."""
    assert medic8("lab", "break", "slow_reader", "--strength", strength) == 1
    assert f"strength {strength}: slow_reader takes from 1 to 256 (MiB)" in capsys.readouterr().err
    assert medic8("lab", "stage", "doubled_traffic", "--strength", strength) == 1
    assert recorded(lab.home) == ()


def test_actors_end_where_the_server_is_gone(lab: Lab, medic8: Medic8) -> None:
    """A reset does what it can before it says that the lab does not run."""
    lab.make("background_load")
    (actor,) = recorded(lab.home)
    write_record(lab.home, StackRecord())
    assert medic8("lab", "reset") == 1
    assert not actor.is_alive


def test_the_list_names_every_fault_and_state(medic8: Medic8, capsys: pytest.CaptureFixture[str]) -> None:
    """By the part that is broken; for programs as for people, and at the tab key."""
    assert medic8("lab", "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed["faults"]] == list(FAULTS)
    assert [each["name"] for each in listed["states"]] == list(STATES)
    assert medic8("lab", "list") == 0
    told = capsys.readouterr().out
    assert [name for name in (*FAULTS, *STATES) if name not in told] == []
    assert fault_names("proxy") == ["proxy_delays", "proxy_drops", "proxy_resets"]
    assert state_names("b") == ["bulk_import", "business_growth", "batch_load"]


def test_the_document_lists_the_faults_and_states_of_the_code() -> None:
    """With what their strength counts, and what heals them."""
    document = (Path(__file__).parents[2] / "docs" / "lab.md").read_text()
    lines = [line for line in document.splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    cells = {row[0].strip("`"): row[1:] for row in rows}
    assert set(cells) == {*FAULTS, *STATES}
    for name, each in (FAULTS | STATES).items():
        size = "always 1" if each.strength == "1" else f"{each.strength} ({each.default:,})"
        assert cells[name][0] == size
    for name, fault in FAULTS.items():
        assert cells[name][2].startswith(f"`{fault.healed_by}`" if fault.healed_by else fault.advice)
    for name, state in STATES.items():
        assert cells[name][1:] == [state.summary, state.looks_like]


def test_what_heals_a_fault_is_a_strategy() -> None:
    """No fault names one that is not there."""
    known = {name for kind in ("grid", "valkey", "process", "host") for name in kind_named(kind).strategies}
    assert {fault.healed_by for fault in FAULTS.values() if fault.healed_by} <= known


def test_every_strategy_has_a_fault_or_a_reason() -> None:
    """Whoever wants to see one at work finds out how, or why the lab cannot show it."""
    document = (Path(__file__).parents[2] / "docs" / "lab.md").read_text()
    reasons = set(
        re.findall(r"^- `(\w+)`: ", document.split("no fault names")[1].split("###")[0], re.MULTILINE)
    )
    known = {name for kind in ("grid", "valkey", "process") for name in kind_named(kind).strategies}
    shown = {fault.healed_by for fault in FAULTS.values()}
    assert known - shown - reasons == set()
    assert reasons - known == set()


def test_the_labs_targets_allow_what_its_faults_are_healed_by(lab: Lab) -> None:
    """And what is called for scaling."""
    lab.home.mkdir()
    write_lab_configuration(lab.home, lab.server.url)
    targets = load_settings(environ={"MEDIC8_HOME": str(lab.home)}, cwd=Path("/")).targets
    allowed = {name for target in targets for name in target.allow}
    assert {fault.healed_by for fault in FAULTS.values() if fault.healed_by} - allowed == set()
    assert "scale_out" in allowed
