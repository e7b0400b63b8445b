"""The whole road with owners in processes of their own: one really killed, two really deadlocked."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import valkey

from flows.run import run
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import make
from medic8.local.lab.faults import FAULTS
from medic8.local.scratch import ScratchValkey
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Outcome, Resolution
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import lock_key
from medic8.targets.grid.lock_look import survey_locks
from medic8.targets.grid.lock_reading import read_lock
from medic8.targets.grid.lock_record import Lock, LockState
from medic8.targets.valkey.client import connection

sys.path.insert(0, str(Path(__file__).parents[1] / "targets" / "grid"))
import lock_owners

pytestmark = pytest.mark.usefixtures("prefect_api")

FIRST, SECOND, THIRD = 0, 2048, 4096
CONFIGURATION = """
[[target]]
name = "lab"
kind = "grid"
url = "{url}"
grid = "lab"
mode = "act"
allow = [{allow}]
"""


@pytest.fixture
def grid(valkey_url: str, valkey_server: ScratchValkey) -> Iterator[Grid]:
    """Get an empty grid of 64 groups."""
    assert valkey_url
    with connection(valkey_server.socket_url) as client:
        yield Grid.create(client, "lab", 8, owner="the test")


@pytest.fixture
def configured(valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Get a function that configures the grid as a target with an allow-list."""
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))

    def configure(*allow: str) -> None:
        listed = ", ".join(f'"{each}"' for each in allow)
        (tmp_path / "medic8.toml").write_text(CONFIGURATION.format(url=valkey_url, allow=listed))

    return configure


@contextlib.contextmanager
def owner(server: ScratchValkey, name: str, *indices: int, lease_s: float) -> Iterator[subprocess.Popen[str]]:
    process = lock_owners.started(server.socket_url, name, *indices, lease_s=lease_s)
    try:
        assert lock_owners.told(process) == "held"
        yield process
    finally:
        process.kill()
        process.communicate()


def client_of(server: ScratchValkey) -> contextlib.AbstractContextManager[valkey.Valkey]:
    return connection(server.socket_url)


def until(what: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def values_of(server: ScratchValkey) -> list[bytes]:
    """What the keys of the killed process's locks hold."""
    with client_of(server) as client:
        return list(client.mget([lock_key("lab", 0), lock_key("lab", 1)]))


def lock_of(server: ScratchValkey, grid: Grid, group: int) -> Lock:
    with client_of(server) as client:
        value, _ = read_lock(client, grid.manifest, group)
    assert isinstance(value, Lock)
    return value


def test_the_locks_of_a_killed_process_are_broken_and_those_of_a_living_one_stay(
    grid: Grid, valkey_server: ScratchValkey, configured: Callable[..., None]
) -> None:
    """Without the allow-list it is a plan; with it, others are let in and the issue is gone."""
    configured()
    with owner(valkey_server, "slow", THIRD, lease_s=1) as slow:
        with owner(valkey_server, "dead", FIRST, SECOND, lease_s=1) as dead:
            dead.kill()
            with client_of(valkey_server) as client:
                until(lambda: len(survey_locks(client, grid.manifest)[0].stale) == 2)
        report = run("diagnose", target="lab")
        assert isinstance(report, DiagnosticReport)
        (issue,) = report.issues
        assert (issue.issue_type, issue.extent) == ("synchronization", 2)
        assert "dead" in str(issue.evidence)
        refused = run("heal", target="lab").resolutions
        assert {each.outcome for each in refused} == {Outcome.REFUSED}
        assert lock_of(valkey_server, grid, 0).state is LockState.HELD
        configured("break_stale_lock")
        as_found = values_of(valkey_server)
        (healed,) = run("heal", target="lab").resolutions
        assert isinstance(healed, Resolution)
        assert healed.outcome is Outcome.RESOLVED, healed
        for group in (0, 1):
            broken = lock_of(valkey_server, grid, group)
            assert (broken.state, str(broken.broken_by)) == (LockState.BROKEN, healed.recovery)
        undone = run("undo", run=healed.recovery)
        assert undone.outcome is Outcome.RESOLVED, undone
        assert values_of(valkey_server) == as_found
        assert run("undo", run=undone.recovery).outcome is Outcome.RESOLVED
        assert lock_of(valkey_server, grid, 2).name == b"slow"
        assert lock_of(valkey_server, grid, 2).is_held
        assert lock_owners.told(slow, f"write {THIRD}") == "written"
    with grid.lock([FIRST, SECOND], timeout_s=0):
        assert run("diagnose", target="lab").issues == ()


def test_of_two_deadlocked_processes_the_cheapest_is_released_with_approval(
    grid: Grid, valkey_server: ScratchValkey, configured: Callable[..., None]
) -> None:
    """The other goes on with its work, and the victim is told."""
    configured("release_deadlock_victim", "break_stale_lock")
    with (
        owner(valkey_server, "left", FIRST, THIRD, lease_s=30) as left,
        owner(valkey_server, "right", SECOND, lease_s=30) as right,
    ):
        assert lock_owners.told(left, f"lock {SECOND}") == "waits"
        assert lock_owners.told(right, f"lock {FIRST}") == "waits"
        with client_of(valkey_server) as client:
            until(lambda: bool(survey_locks(client, grid.manifest)[0].deadlocks))
        (waiting,) = run("heal", target="lab").resolutions
        assert waiting.outcome is Outcome.AWAITING_APPROVAL, waiting
        assert waiting.plan.needs_approval
        assert "right" in waiting.plan.summary
        assert lock_of(valkey_server, grid, 1).name == b"right"
        (healed,) = run("heal", target="lab", approved=[waiting.plan.digest]).resolutions
        assert healed.outcome is Outcome.RESOLVED, healed
        assert lock_owners.told(left) == "held"
        assert lock_owners.told(right) == "LockLostError"
        assert str(lock_of(valkey_server, grid, 1).broken_by) == healed.recovery
        assert run("diagnose", target="lab").issues == ()


@pytest.mark.parametrize("fault", ["stale_lock", "deadlock"])
def test_what_the_lab_does_to_locks_is_healed_by_what_it_says(
    grid: Grid, valkey_server: ScratchValkey, configured: Callable[..., None], fault: str
) -> None:
    """And only that, and the cells are untouched."""
    configured(FAULTS[fault].healed_by)
    before = grid.versions([FIRST, SECOND, THIRD])
    with client_of(valkey_server) as client:
        make(FAULTS[fault], Bench(client, "lab"), target="lab", seed=5)
    planned = run("heal", target="lab", dry_run=True).resolutions
    (plan,) = [each.plan for each in planned if each.plan is not None and each.plan.units]
    treated = run("heal", target="lab", approved=[plan.digest] if plan.needs_approval else None)
    assert [(each.plan.strategy, each.outcome) for each in treated.resolutions] == [
        (FAULTS[fault].healed_by, Outcome.RESOLVED)
    ]
    assert run("diagnose", target="lab").issues == ()
    assert grid.versions([FIRST, SECOND, THIRD]) == before
