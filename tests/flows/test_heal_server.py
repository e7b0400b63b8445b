"""The whole road on a real server and a real Prefect API: heal, refuse, undo, and find it in the history."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from prefect.settings import get_current_settings

from flows.run import run
from medic8.errors import ConfigurationError, RefusedError
from medic8.model.guard import Verdict
from medic8.model.recovery import StepState
from medic8.model.report import Health
from medic8.model.resolution import Outcome, Resolution, Treatment
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.client import connection
from tasks.track import history, resolution_of
from tests.flows.server_site import Configure, set_settings, settings_of

pytestmark = pytest.mark.usefixtures("prefect_api")


def only_resolution(treatment: Treatment) -> Resolution:
    assert len(treatment.resolutions) == 1
    return treatment.resolutions[0]


def test_settings_are_set_right_and_the_history_shows_it(configure: Configure, valkey_url: str) -> None:
    """Diagnosed, planned, applied, verified; found again by its tags, with its steps."""
    configure()
    treatment = run("heal", target="server")
    resolution = only_resolution(treatment)
    assert (resolution.outcome, resolution.verdict) == (Outcome.RESOLVED, Verdict.BETTER)
    assert treatment.is_healed
    assert settings_of(valkey_url) == ("1000", "120")
    assert {(each.what, each.before, each.after) for each in resolution.changes} >= {
        ("setting slowlog-max-len", "10", "1000")
    }
    entry = history(target="server", issue="slow_operations", outcome="resolved", limit=1)[0]
    assert (entry.strategy, entry.state) == ("set_settings", "Resolved")
    shown, returned = resolution_of(entry.run)
    # Prefect ends a run a little after it was tracked.
    exact = {"duration_s"}
    assert shown.model_dump(exclude=exact) == entry.model_dump(exclude=exact)
    assert returned == resolution
    assert resolution_of(entry.run[:13])[1] == resolution
    with connection(valkey_url) as client:
        assert client.get(CLAIM_KEY) is None


def test_every_diagnosis_of_a_treatment_watches_if_that_is_asked_for(
    configure: Configure, valkey_url: str
) -> None:
    """What a watch found is gone only if as long a watch does not find it; moments tell no growth."""
    configure()
    treatment = run("heal", target="server", watch_s=3.0)
    assert treatment.is_healed
    assert treatment.after is not None
    assert {each.watched_s for each in treatment.before.issues} == {3.0}
    for report in (treatment.before, treatment.after):
        assert report.results["growth"].reading("growth.watched.shape")
    set_settings(valkey_url, "10", "5")
    dry = run("heal", target="server", dry_run=True)
    assert not dry.before.results["growth"].reading("growth.watched.shape")


def test_a_healthy_server_is_left_alone(configure: Configure, valkey_url: str) -> None:
    """Nothing to do is nothing done."""
    configure()
    set_settings(valkey_url, "1000", "100")
    treatment = run("heal", target="server")
    assert (treatment.resolutions, treatment.is_healed) == ((), True)


@contextlib.contextmanager
def controller(url: str) -> Iterator[None]:
    """A process that owns ``slowlog-max-len`` and sets it back, as a configuration manager does."""
    script = f"""
import time, valkey
client = valkey.Valkey.from_url({url!r})
print(flush=True)
while True:
    client.config_set("slowlog-max-len", "10")
    time.sleep(0.02)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield
    finally:
        child.kill()
        child.communicate()


def test_a_recovery_whose_verification_fails_is_undone(configure: Configure, valkey_url: str) -> None:
    """One setting is owned by somebody else; the other one, already set, is put back."""
    configure()
    with controller(valkey_url):
        treatment = run("heal", target="server")
    resolution = only_resolution(treatment)
    assert resolution.outcome is Outcome.RESTORED
    assert "something else sets it back" in resolution.reason
    assert [step.state for step in resolution.steps] == [StepState.UNDONE, StepState.UNDONE]
    assert settings_of(valkey_url) == ("10", "300")
    assert not treatment.is_healed


@pytest.mark.parametrize(
    ("mode", "allow", "reason"), [("observe", '"set_settings"', "observe"), ("act", "", "allow-list")]
)
def test_what_the_configuration_does_not_allow_is_refused_and_tracked(
    configure: Configure, valkey_url: str, mode: str, allow: str, reason: str
) -> None:
    """The refusal is a resolution with its reason; the target is as it was."""
    configure(mode=mode, allow=allow)
    resolution = only_resolution(run("heal", target="server"))
    assert resolution.outcome is Outcome.REFUSED
    assert reason in resolution.reason
    assert settings_of(valkey_url) == ("10", "300")
    assert history(target="server", outcome="refused", limit=1)[0].strategy == "set_settings"


def test_a_dry_run_walks_the_same_road_and_changes_nothing(configure: Configure, valkey_url: str) -> None:
    """It ends with the plan that would be carried out."""
    configure()
    resolution = only_resolution(run("heal", target="server", dry_run=True))
    assert resolution.outcome is Outcome.PLANNED
    assert resolution.plan is not None
    assert resolution.plan.step_count == 2
    assert settings_of(valkey_url) == ("10", "300")


def test_an_unreachable_server_is_a_finding(configure: Configure) -> None:
    """The report is whole, says that nobody answers, and nothing is planned."""
    configure(url="valkey://127.0.0.1:1/0")
    report = run("diagnose", target="server")
    assert report.analysis.health is Health.UNREACHABLE
    assert list(report.results) == ["reachability"]
    resolution = only_resolution(run("heal", target="server"))
    assert resolution.outcome is Outcome.UNSUPPORTED


def test_an_unknown_target_names_the_known_ones(configure: Configure) -> None:
    """Nothing is read or changed for a name that is a slip of the pen."""
    configure()
    with pytest.raises(ConfigurationError, match=r'"servr".*"server"'):
        run("diagnose", target="servr")


INTERRUPTED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from medic8.model.plan import Plan, Step, Unit
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.owner import this_process
from medic8.settings import load_settings
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named

site = load_settings()
target = site.target("server")
now = datetime.now(UTC)
steps = tuple(
    Step(
        title=f"set {name}",
        action="set_setting",
        arguments={"name": name, "found": found, "value": value},
        touches=name,
    )
    for name, found, value in (("slowlog-max-len", "10", "2000"), ("tcp-keepalive", "300", "90"))
)
plan = Plan(target="server", strategy="set_settings", issue_fingerprint="f", summary="Set.",
            units=(Unit(title="settings", steps=steps),))
journal = Journal(site.journal_url)
with kind_named("valkey").open_session(target, Surroundings(backups=site.backups, now=now)) as session:
    recovery = contract.open_recovery(journal, session, plan, this_process(), at=now)
    recovery = contract.save_state(journal, session, recovery, folder=site.saved_state, limit_bytes=1000)
    contract.apply_step(journal, session, recovery, 0, clock=lambda: now)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_heal_ends_what_a_killed_one_left_half_done(configure: Configure, valkey_url: str) -> None:
    """SIGKILL between two steps: the next run on the server undoes the first, then does its own work."""
    configure()
    killed = subprocess.run([sys.executable, "-c", INTERRUPTED], check=False)
    assert killed.returncode == -9
    assert settings_of(valkey_url) == ("2000", "300")
    treatment = run("heal", target="server")
    assert treatment.is_healed
    assert ("setting slowlog-max-len", "10", "1000") in {
        (each.what, each.before, each.after) for each in treatment.resolutions[0].changes
    }
    assert settings_of(valkey_url) == ("1000", "120")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_heal_that_is_interrupted_undoes_what_it_had_begun(
    configure: Configure, valkey_url: str, number: signal.Signals
) -> None:
    """Ctrl-C or kill while it verifies: the settings are put back before the process ends."""
    configure()
    environment = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
    command = [sys.executable, "-c", "from medic8.cli import main; main()", "heal", "server"]
    child = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while settings_of(valkey_url) != ("1000", "120"):
            assert time.monotonic() < deadline
            assert child.poll() is None, child.communicate()
            time.sleep(0.02)  # the settings are watched for two seconds
        child.send_signal(number)
        output, errors = child.communicate(timeout=120)
    finally:
        child.kill()
    assert child.returncode in {128 + number, -number}, (output, errors)
    assert settings_of(valkey_url) == ("10", "300"), (output, errors)
    assert "Traceback" not in errors
    with connection(valkey_url) as client:
        assert client.get(CLAIM_KEY) is None


def test_what_may_not_be_seen_is_never_healthy(configure: Configure, valkey_url: str) -> None:
    """A user without CONFIG and INFO: the report says what was refused, and is not healthy."""
    with connection(valkey_url) as admin:
        admin.acl_setuser("blind", enabled=True, nopass=True, keys=["*"], commands=["+ping", "+client"])
    configure(url=valkey_url.replace("valkey://", "valkey://blind:any@"))
    report = run("diagnose", target="server")
    assert report.analysis.health is Health.DEGRADED
    assert not report.is_healthy
    refused = [finding for finding in report.analysis.findings if finding.code == "diagnostic.refused"]
    assert {finding.about for finding in refused} == set(report.results) - {"certificate", "expiry"}
    assert all("permissions" in text for text in report.analysis.unseen)
    assert "ACL SETUSER blind +info" in {line for finding in refused for line in finding.advice}


def test_a_refused_undo_is_not_called_a_refusal(configure: Configure, valkey_url: str) -> None:
    """The server becomes a read-only replica in mid-recovery: a person is told what was begun."""
    configure()

    def demote() -> None:
        deadline = time.monotonic() + 120
        with connection(valkey_url) as client:
            while settings_of(valkey_url) != ("1000", "120") and time.monotonic() < deadline:
                time.sleep(0.02)
            client.replicaof("127.0.0.1", "1")
            client.config_set("tcp-keepalive", "299")

    demotion = threading.Thread(target=demote)
    demotion.start()
    treatment = run("heal", target="server")
    demotion.join(timeout=60)
    resolution = only_resolution(treatment)
    assert resolution.outcome is Outcome.NEEDS_PERSON
    assert any("slowlog-max-len" in line for line in resolution.left)
    with pytest.raises(RefusedError, match="medic8 acknowledge"):
        run_again(valkey_url)


def run_again(url: str) -> None:
    with connection(url) as client:
        client.replicaof("NO", "ONE")
        client.config_set("tcp-keepalive", "300")
    resolution = only_resolution(run("heal", target="server"))
    assert resolution.outcome is Outcome.REFUSED
    raise RefusedError(resolution.reason)
