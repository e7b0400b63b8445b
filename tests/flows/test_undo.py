"""A finished resolution is undone later, on real servers and a real Prefect API."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import valkey
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.settings import get_current_settings

from flows.run import run
from medic8.analysis.markdown import escape
from medic8.errors import ConfigurationError
from medic8.local.scratch import ScratchValkey
from medic8.model.recovery import Recovery, RecoveryState, StepState
from medic8.model.resolution import Outcome, Resolution
from medic8.model.saved import Pruning
from medic8.recovery import ended
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key, sums_key
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.client import connection
from tasks.track import history, resolution_of
from tests.flows import server_site
from tests.flows.server_site import set_settings, settings_of

pytestmark = pytest.mark.usefixtures("prefect_api")

CONFIGURATION = (
    server_site.CONFIGURATION.replace("{allow}", '"set_settings"').replace("{more}", "")
    + """
[[target]]
name = "lab"
kind = "grid"
url = "{url}"
grid = "lab"
mode = "{mode}"
allow = ["rebuild_from_parity", "quarantine_lost_pages", "restore_from_replica", "restore_from_backup"]
"""
)

GROUPS = (0, 1)

Configure = Callable[..., None]


@pytest.fixture
def configure(valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Get a function that configures the shared server and a grid on it; two of its settings are wrong."""

    def write(text: str = CONFIGURATION, *, mode: str = "act") -> None:
        (tmp_path / "medic8.toml").write_text(text.format(url=valkey_url, mode=mode))

    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    write()
    set_settings(valkey_url, "10", "300")
    return write


@pytest.fixture
def client(configure: Configure, valkey_server: ScratchValkey) -> Iterator[valkey.Valkey]:
    """Get a client of the server, with a grid of two whole groups."""
    del configure
    with connection(valkey_server.socket_url) as client:
        rng = np.random.default_rng(1)
        Grid.create(client, "lab", 32).fill(
            lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=GROUPS
        )
        yield client


def values_of(client: valkey.Valkey) -> dict[str, bytes | None]:
    keys = [role_key("lab", group, role) for group in GROUPS for role in range(18)]
    keys += [sums_key("lab", group) for group in GROUPS]
    return dict(zip(keys, client.mget(keys), strict=True))


def healed(target: str) -> str:
    """The run that is the resolution of a heal that did all it should."""
    assert run("heal", target=target).is_healed
    return history(target=target, outcome="resolved", limit=1)[0].run


def journal() -> Journal:
    return Journal(load_settings().journal_url)


def recovery_of(resolution: Resolution) -> Recovery:
    return journal().read(resolution.recovery)


def artifact(key: str) -> str:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
    return str(found[0].data)


def test_a_healthy_resolution_of_settings_is_undone_and_the_history_shows_it(
    configure: Configure, valkey_url: str
) -> None:
    """Another recovery, open, saved, verified and closed; found by its tags; the claim is given back."""
    del configure
    first = healed("server")
    assert settings_of(valkey_url) == ("1000", "120")
    dry = run("undo", run=first[:13], dry_run=True)
    assert (dry.outcome, settings_of(valkey_url)) == (Outcome.PLANNED, ("1000", "120"))
    undone = run("undo", run=first[:13])
    assert (undone.outcome, undone.left) == (Outcome.RESOLVED, ())
    assert settings_of(valkey_url) == ("10", "300")
    recovery = recovery_of(undone)
    assert recovery.state is RecoveryState.HEALTHY
    assert {step.state for step in recovery.steps} == {StepState.DONE}
    assert recovery.saved_items == 2
    entry = history(target="server", outcome="resolved", limit=1)[0]
    assert (entry.strategy, entry.kind, entry.issue, entry.name) == (
        "undo",
        "valkey",
        "",
        f"undo {first[:13]}",
    )
    shown, returned = resolution_of(entry.run)
    # Prefect ends a run a little after it was tracked.
    exact = {"duration_s"}
    assert shown.model_dump(exclude=exact) == entry.model_dump(exclude=exact)
    assert returned == undone
    assert recovery.resolution == entry.run
    with connection(valkey_url) as client:
        assert client.get(CLAIM_KEY) is None


def test_an_artifact_shows_what_was_saved_until_when_and_each_steps_times(configure: Configure) -> None:
    """The same as the command line, for who reads Prefect's pages; the days count from the recovery's end."""
    del configure
    resolution = resolution_of(healed("server"))[1]
    assert resolution is not None
    text = artifact("resolution-server")
    recovery = recovery_of(resolution)
    assert recovery.closed_at is not None
    assert f"2 values, 5 bytes, by recovery `{resolution.recovery}` in {escape(recovery.saved_state)}" in text
    kept_until = recovery.closed_at + timedelta(days=30)
    assert resolution.kept_until == kept_until < datetime.now(UTC) + timedelta(days=30)
    assert f"Kept until {kept_until:%Y-%m-%d %H:%M:%S %Z}" in text
    for step in recovery.steps:
        assert step.begun_at is not None
        begun = f"{step.begun_at:%Y-%m-%d %H:%M:%S}.{step.begun_at.microsecond // 1000:03} UTC"
        assert begun in text
        assert step.saved_digest[:12] in text
        assert step.written_digest[:12] in text


def test_a_grid_repair_is_undone_to_the_damage_byte_for_byte_and_back(client: valkey.Valkey) -> None:
    """Blocks that had proven themselves too; and undoing the undo heals again."""
    for member in (3, 7):
        client.delete(role_key("lab", 0, member))
    client.setrange(role_key("lab", 1, 5), 5000, b"\xff" * 100)
    client.setrange(role_key("lab", 1, 16), 9000, b"\x00" * 100)
    damaged = values_of(client)
    first = healed("lab")
    whole = values_of(client)
    assert damaged != whole
    undone = run("undo", run=first)
    assert undone.outcome is Outcome.RESOLVED
    assert values_of(client) == damaged
    assert "what it healed comes back as well" in undone.plan.summary
    assert run("undo", run=undone.recovery).outcome is Outcome.RESOLVED
    assert values_of(client) == whole
    assert run("diagnose", target="lab").is_healthy


def test_a_block_that_was_written_since_stays_and_is_listed(client: valkey.Valkey) -> None:
    """Its undo would be the loss of an acknowledged write; the other one is put back."""
    missing = [role_key("lab", 0, member) for member in (3, 7)]
    client.delete(*missing)
    first = healed("lab")
    client.setrange(missing[0], 100, b"theirs")
    theirs = client.get(missing[0])
    undone = run("undo", run=first)
    assert undone.outcome is Outcome.PARTLY_RESOLVED
    assert client.mget(missing) == [theirs, None]
    (line,) = undone.left
    assert "changed by somebody else since and left alone; saved absent, written" in line


def test_a_setting_that_was_changed_since_stays_and_is_listed(configure: Configure, valkey_url: str) -> None:
    """Both digests and what is found are said; the other setting is put back."""
    del configure
    first = healed("server")
    with connection(valkey_url) as client:
        client.config_set("tcp-keepalive", "77")
    undone = run("undo", run=first)
    assert (undone.outcome, settings_of(valkey_url)) == (Outcome.PARTLY_RESOLVED, ("10", "77"))
    (line,) = undone.left
    assert "tcp-keepalive" in line
    assert "changed by somebody else since and left alone; saved " in line
    again = run("undo", run=first)
    assert (again.outcome, again.recovery) == (Outcome.UNSUPPORTED, "")


def test_a_quarantine_is_refused_by_name_or_left_out(client: valkey.Valkey) -> None:
    """It cannot be taken back; nothing else is in that recovery, so that nothing is done either way."""
    for member in (3, 7, 11):
        client.delete(role_key("lab", 1, member))
    planned = run("heal", target="lab")
    digest = next(each.plan.digest for each in planned.resolutions if each.plan.needs_approval)
    assert run("heal", target="lab", approved=[digest]).is_healed
    entry = history(target="lab", outcome="resolved", limit=1)[0]
    assert entry.strategy == "quarantine_lost_pages"
    found = values_of(client)
    refused = run("undo", run=entry.run)
    assert refused.outcome is Outcome.REFUSED
    assert "cannot be taken back" in refused.reason
    left_out = run("undo", run=entry.run, restorable_only=True)
    assert (left_out.outcome, len(left_out.left)) == (Outcome.UNSUPPORTED, 1)
    assert values_of(client) == found


def test_undo_asks_for_the_mode_and_not_for_the_allow_list(configure: Configure, valkey_url: str) -> None:
    """A person asks for it; but where nothing may be changed, nothing is."""
    first = healed("server")
    configure(mode="observe")
    dry = run("undo", run=first, dry_run=True)
    assert "it would be refused" in dry.reason
    refused = run("undo", run=first)
    assert refused.outcome is Outcome.REFUSED
    assert "observe" in refused.reason
    assert settings_of(valkey_url) == ("1000", "120")
    configure(CONFIGURATION.replace('allow = ["set_settings"]', "allow = []"))
    assert run("undo", run=first).outcome is Outcome.RESOLVED
    assert settings_of(valkey_url) == ("10", "300")


def test_a_target_that_is_no_longer_configured_is_named_and_nothing_is_touched(
    configure: Configure, valkey_url: str
) -> None:
    """Under its old name again, the same undo works."""
    first = healed("server")
    configure(CONFIGURATION.replace('name = "server"', 'name = "renamed"'))
    with pytest.raises(ConfigurationError, match=r'worked on a target.*"server" is not known.*"renamed"'):
        run("undo", run=first)
    assert settings_of(valkey_url) == ("1000", "120")
    assert ended.find(journal(), first).pruned_at is None
    configure()
    assert run("undo", run=first).outcome is Outcome.RESOLVED


def test_pruned_and_altered_saved_state_is_refused(configure: Configure, valkey_url: str) -> None:
    """Each says why, with the folder; the server is as it was."""
    first = healed("server")
    earlier = ended.find(journal(), first)
    values = Path(earlier.saved_state) / "values.bin"
    values.write_bytes(values.read_bytes()[:-1])
    refused = run("undo", run=first)
    assert refused.outcome is Outcome.REFUSED
    assert f"{earlier.saved_state} is not what was saved: step 2 should have digest" in refused.reason
    configure("[recovery]\nkeep_days = 0\n" + CONFIGURATION)
    report = run("prune_saved_state")
    assert isinstance(report, Pruning)
    assert earlier.id in {each.saved.recovery for each in report.decisions if each.goes_since}
    assert not values.parent.exists()
    refused = run("undo", run=first)
    assert refused.outcome is Outcome.REFUSED
    assert f"{earlier.saved_state} was removed by retention" in refused.reason
    assert settings_of(valkey_url) == ("1000", "120")


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from medic8.owner import this_process
from medic8.recovery import contract, ended, later
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named

site = load_settings()
journal = Journal(site.journal_url)
earlier = ended.find(journal, sys.argv[1])
target = site.target(earlier.plan.target)
now = datetime.now(UTC)
around = Surroundings(backups=site.backups, now=now)
with kind_named(target.kind).open_session(target, around) as session:
    plan = later.plan_undo(session, earlier, restorable_only=False)
    recovery = contract.open_recovery(journal, session, plan, this_process(), at=now)
    recovery = contract.save_state(journal, session, recovery, folder=site.saved_state, limit_bytes=1 << 30)
    carrying = later.carried_out_by(session, journal, recovery)
    contract.apply_step(journal, carrying, recovery, 0, clock=lambda: now)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_half_way(first: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, first], env={**os.environ}, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_an_undo_of_settings_that_is_killed_half_way_is_ended_by_the_next_run(
    configure: Configure, valkey_url: str
) -> None:
    """SIGKILL after its first step: what it had put back is healed again, then everything else goes on."""
    del configure
    first = healed("server")
    killed_half_way(first)
    assert settings_of(valkey_url) == ("1000", "300")
    treatment = run("heal", target="server")
    (interrupted,) = treatment.interrupted
    assert (interrupted.plan.strategy, interrupted.state) == ("undo", RecoveryState.RESTORED)
    assert settings_of(valkey_url) == ("1000", "120")
    assert treatment.is_healed


def test_an_undo_of_a_grid_repair_that_is_killed_half_way_is_ended_by_the_next_undo(
    client: valkey.Valkey,
) -> None:
    """It finds the server held by a dead one, ends that, plans anew, and does its work."""
    for member in (3, 7):
        client.delete(role_key("lab", 0, member))
    damaged = values_of(client)
    first = healed("lab")
    whole = values_of(client)
    killed_half_way(first)
    assert values_of(client) not in (damaged, whole)
    undone = run("undo", run=first)
    assert undone.outcome is Outcome.RESOLVED
    assert values_of(client) == damaged
    dead, done = ended.taken_back_by(journal(), ended.find(journal(), first).id)
    assert (dead.state, done.id) == (RecoveryState.RESTORED, undone.recovery)


def test_an_undo_that_is_interrupted_heals_again_what_it_had_put_back(client: valkey.Valkey) -> None:
    """Killed among sixty steps, as by Ctrl-C: before the process ends, the grid is whole again."""
    client.flushall()
    rng = np.random.default_rng(2)
    Grid.create(client, "lab", 8).fill(
        lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=range(30)
    )
    keys = [role_key("lab", group, role) for group in range(30) for role in (1, 17)]
    whole = client.mget(keys)
    client.delete(*keys)
    first = healed("lab")
    assert client.mget(keys) == whole
    environment = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
    child = subprocess.Popen(
        [sys.executable, "-c", "from medic8.cli import main; main()", "undo", first],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline_s = time.monotonic() + 120
        while client.exists(*keys) == len(keys):
            assert time.monotonic() < deadline_s
            assert child.poll() is None, child.communicate()
            time.sleep(0.005)
        child.send_signal(signal.SIGTERM)
        output, errors = child.communicate(timeout=120)
    finally:
        child.kill()
    assert child.returncode in {128 + signal.SIGTERM, -signal.SIGTERM}, (output, errors)
    assert client.mget(keys) == whole
    assert "Traceback" not in errors
    assert client.get(CLAIM_KEY) is None


def test_an_undo_that_the_server_refuses_leaves_it_as_it_was(configure: Configure, valkey_url: str) -> None:
    """It fails in mid-recovery, is ended as every recovery, and says what the server said."""
    del configure
    first = healed("server")
    with connection(valkey_url) as admin:
        admin.acl_setuser("default", enabled=True, nopass=True, commands=["-config|set"])
    try:
        undone = run("undo", run=first)
    finally:
        with connection(valkey_url) as admin:
            admin.acl_setuser("default", enabled=True, nopass=True, commands=["+@all"])
    assert undone.outcome is Outcome.RESTORED
    assert "no permissions" in undone.reason
    assert "The target is as it was before the undo" in undone.reason
    assert settings_of(valkey_url) == ("1000", "120")
    assert journal().holding() == ()
