"""A run that was killed is ended by another, and the history tells one story of both."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.settings import get_current_settings

from flows.run import run
from medic8.model.recovery import RecoveryState, StepState
from medic8.model.resolution import Outcome
from medic8.recovery.journal import Journal
from tasks.track import history, resolution_of, run_url
from tests.flows.server_site import Configure, settings_of

pytestmark = pytest.mark.usefixtures("prefect_api")

MEDIC8 = [sys.executable, "-c", "from medic8.cli import main; main()"]


@contextmanager
def healing() -> Iterator[subprocess.Popen[str]]:
    """A heal of the server in a process of its own."""
    environment = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
    child = subprocess.Popen(
        [*MEDIC8, "heal", "server"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def kill_half_way(url: str) -> None:
    """SIGKILL while it looks whether the settings stay."""
    with healing() as child:
        deadline = time.monotonic() + 120
        while settings_of(url) != ("1000", "120"):
            assert time.monotonic() < deadline
            assert child.poll() is None, child.communicate()
            time.sleep(0.02)  # the settings are watched for two seconds
        child.send_signal(signal.SIGKILL)


def runs_about_the_server() -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=["target:server"]))
        return client.read_flow_runs(flow_run_filter=tagged)


@pytest.fixture
def journal(configure: Configure, tmp_path: Path) -> Journal:
    configure()
    (tmp_path / "home").mkdir()
    return Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")


def test_a_killed_run_is_ended_marked_as_crashed_and_shown_as_one_resolution(
    journal: Journal, valkey_url: str
) -> None:
    """Put back; no run goes on for ever; the resolution says how it ended, why, and which run did that."""
    before = {each.id for each in runs_about_the_server()}
    kill_half_way(valkey_url)
    sweep = run("restore_interrupted")
    assert settings_of(valkey_url) == ("10", "300")
    (ended,) = sweep.ended
    assert (ended.state, sweep.left_open) == (RecoveryState.RESTORED, ())
    assert sweep.told == (ended.id,)
    dead = [each for each in runs_about_the_server() if each.id not in before]
    with get_client(sync_client=True) as client:
        dead.append(client.read_flow_run(UUID(ended.run)))
        crashed = {each.name for each in dead if each.state_name == "Crashed"}
        assert crashed >= {
            "heal server",
            "resolve slow_operations of server",
            "recover server by set_settings",
        }
        assert [each.name for each in dead if not (each.state and each.state.is_final())] == []
        within = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[each.id for each in dead]))
        going_on = [
            task.name
            for task in client.read_task_runs(task_run_filter=within)
            if not (task.state and task.state.is_final())
        ]
        assert going_on == []
        shown = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[ended.resolution]))
        )
    entry, resolution = resolution_of(ended.resolution)
    assert (entry.state, entry.outcome, entry.strategy) == ("Crashed", "restored", "set_settings")
    assert resolution is not None
    assert (resolution.outcome, resolution.recovery) == (Outcome.RESTORED, ended.id)
    assert [step.state for step in resolution.steps] == [StepState.UNDONE, StepState.UNDONE]
    assert any(run_url(ended.ended_by) in str(each.data) for each in shown)
    assert [each.outcome for each in history(target="server", limit=1)] == ["restored"]
    assert journal.untold() == journal.holding() == ()


def test_any_number_may_look_at_once_and_one_of_them_ends_it(journal: Journal, valkey_url: str) -> None:
    """Three processes; each is well, one says that it ended the recovery, and it is ended once."""
    kill_half_way(valkey_url)
    environment = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
    children = [
        subprocess.Popen(
            [*MEDIC8, "recover-interrupted"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0] * 3, said
    assert sum("had died half way" in out for out, _ in said) == 1
    assert sum("no recovery is interrupted" in out for out, _ in said) == 2
    assert settings_of(valkey_url) == ("10", "300")
    assert journal.holding() == ()


def test_without_prefect_the_target_is_made_safe_and_the_history_completed_later(
    journal: Journal, valkey_url: str
) -> None:
    """The server of the history is away: what was begun is put back, and told when it is there again."""
    kill_half_way(valkey_url)
    alone = subprocess.run(
        [*MEDIC8, "recover-interrupted"],
        env={**os.environ, "PREFECT_API_URL": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.returncode == 0, alone.stderr
    assert "the next run completes the history" in alone.stderr
    assert settings_of(valkey_url) == ("10", "300")
    (untold,) = journal.untold()
    assert run("restore_interrupted").told == (untold.id,)
    assert resolution_of(untold.resolution)[0].outcome == "restored"
    assert journal.untold() == ()


def test_a_run_that_died_without_a_recovery_is_marked_as_well(journal: Journal, valkey_url: str) -> None:
    """Killed while it looked: nothing is to be put back, and it does not show as running for ever."""
    before = {each.id for each in runs_about_the_server()}
    with healing() as child:
        deadline = time.monotonic() + 120
        while not any(
            "medic8.owner" in each.labels for each in runs_about_the_server() if each.id not in before
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)  # the looks take seconds
        child.send_signal(signal.SIGKILL)
    assert settings_of(valkey_url) == ("10", "300")
    assert journal.holding() == ()
    dead: set[str | None] = set()
    while dead != {"Crashed"}:
        assert time.monotonic() < deadline, dead
        time.sleep(0.5)  # a run that has only just begun is left alone
        run("restore_interrupted")
        dead = {each.state_name for each in runs_about_the_server() if each.id not in before}


def test_what_cannot_be_ended_is_named_and_does_not_keep_others_from_being_ended(
    journal: Journal, configure: Configure, valkey_url: str, tmp_path: Path
) -> None:
    """A target that is no longer configured: nothing is touched, nothing is forgotten."""
    kill_half_way(valkey_url)
    text = (tmp_path / "medic8.toml").read_text()
    (tmp_path / "medic8.toml").write_text(text.replace('"server"', '"renamed"'))
    sweep = run("restore_interrupted")
    (left,) = sweep.left_open
    assert '"server" is not known' in left.reason
    assert "configure the target under that name again" in left.reason
    assert settings_of(valkey_url) == ("1000", "120")
    assert [each.id for each in journal.holding()] == [left.recovery.id]
    configure()
    assert [each.state for each in run("restore_interrupted").ended] == [RecoveryState.RESTORED]
    assert settings_of(valkey_url) == ("10", "300")
    assert journal.holding() == ()


def test_a_service_that_goes_on_looking_ends_it_within_seconds(
    journal: Journal, valkey_url: str, tmp_path: Path
) -> None:
    """As the unit for systemd calls it; nothing to do makes no run, and it goes on until it is stopped."""
    unit = (Path(__file__).parents[2] / "deployments/systemd/medic8-recover-interrupted.service").read_text()
    (call,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(call.removeprefix("ExecStart="))[3:]
    assert words == ["recover-interrupted", "--every", "10"]
    environment = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
    environment["PYTHONUNBUFFERED"] = "1"
    said = tmp_path / "said"
    with (
        said.open("w") as out,
        subprocess.Popen([*MEDIC8, *words[:-1], "1"], env=environment, stdout=out) as service,
    ):
        try:
            for times in (1, 2):
                kill_half_way(valkey_url)
                deadline = time.monotonic() + 120
                while said.read_text().count("had died half way") < times:
                    assert time.monotonic() < deadline
                    assert service.poll() is None
                    time.sleep(0.1)
                assert settings_of(valkey_url) == ("10", "300")
            service.send_signal(signal.SIGINT)
            assert service.wait(timeout=120) == 130
        finally:
            service.kill()
    assert journal.holding() == journal.untold() == ()
