"""Every source of a right page in its order, and then a person's yes to giving up the rest."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import valkey
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.sorting import FlowRunSort

from flows.resolve import resolve
from flows.returned import returned
from flows.run import run
from medic8.errors import ConfigurationError, TransientError, UnreachableError
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.plan import Plan
from medic8.model.recovery import StepState
from medic8.model.resolution import Outcome, Resolution, Treatment
from medic8.notifying.message import title_of
from medic8.recovery import outbox
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key, sums_key
from medic8.targets.grid.lost import read_lost
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.conversation import conversation
from tasks.track import history

pytestmark = pytest.mark.usefixtures("prefect_api")

NAME = "lab"
#: One group for each source; the last one was written after the backup.
BY_PARITY, BY_REPLICA, BY_BACKUP, BY_NOTHING = GROUPS = (0, 1, 2, 3)

STRATEGIES = ["rebuild_from_parity", "restore_from_replica", "restore_from_backup", "quarantine_lost_pages"]

CONFIGURATION = """
[[target]]
name = "lab"
kind = "grid"
url = "{url}"
grid = "lab"
mode = "act"
allow = ["rebuild_from_parity", "restore_from_replica", "restore_from_backup", "quarantine_lost_pages"]
"""

#: Not replicated: damage to the memory of one server.
_ALONE = "redis.set_repl(redis.REPL_NONE) return redis.call('DEL', unpack(KEYS))"


@pytest.fixture
def client(
    valkey_url: str, valkey_server: ScratchValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[valkey.Valkey]:
    """Get a client of a server with a grid of four whole groups, a replica, and a backup of three of them."""
    (tmp_path / "medic8.toml").write_text(CONFIGURATION.format(url=valkey_url))
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    rng = np.random.default_rng(1)

    def content(_: int) -> np.ndarray:
        return rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL)

    with connection(valkey_server.socket_url) as client:
        client.config_set("repl-diskless-sync-delay", 0)
        grid = Grid.create(client, NAME, 32)
        grid.fill(content, groups=GROUPS[:3])
        run("back_up", target="lab")
        grid.fill(content, groups=GROUPS[3:])
        with scratch_valkey(tmp_path, config={"replicaof": f"127.0.0.1 {valkey_server.port}"}) as replica:
            _wait_until_linked(replica.url)
            yield client


def _wait_until_linked(replica: str) -> None:
    deadline_s = time.monotonic() + 60
    while True:
        # While it loads its copy it lets nobody in.
        with contextlib.suppress(UnreachableError, TransientError), connection(replica) as other:
            if other.info("replication")["master_link_status"] == "up":
                return
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def values_of(client: valkey.Valkey, groups: tuple[int, ...]) -> list[bytes | None]:
    keys = [role_key(NAME, group, role) for group in groups for role in range(18)]
    return client.mget(keys + [sums_key(NAME, group) for group in groups])


def harm(client: valkey.Valkey) -> None:
    client.setrange(role_key(NAME, BY_PARITY, 4), 70, b"flipped")
    three = [role_key(NAME, BY_REPLICA, member) for member in (1, 5, 9)]
    client.eval(_ALONE, 3, *three)
    client.delete(*(role_key(NAME, BY_BACKUP, member) for member in (3, 7, 11)))
    client.delete(*(role_key(NAME, BY_NOTHING, member) for member in (0, 2)))
    client.setrange(role_key(NAME, BY_NOTHING, 8), 9 * 4096, b"damage")
    assert client.wait(1, 60_000) == 1


def tried(treatment: Treatment) -> list[tuple[str, Outcome]]:
    return [(each.plan.strategy, each.outcome) for each in treatment.resolutions if each.plan is not None]


def quarantine_of(treatment: Treatment) -> Plan:
    (plan,) = [
        each.plan
        for each in treatment.resolutions
        if each.plan is not None and each.plan.strategy == "quarantine_lost_pages"
    ]
    return plan


def test_every_source_in_its_order_and_then_a_person(client: valkey.Valkey) -> None:
    """The plan shows all four; heal does three and asks; with the yes, the rest is given up and listed."""
    good = values_of(client, GROUPS[:3])
    harm(client)
    planned = run("heal", target="lab", dry_run=True)
    assert tried(planned) == [(strategy, Outcome.PLANNED) for strategy in STRATEGIES]
    digest = quarantine_of(planned).digest[:12]
    assert f"--approve {digest}" in planned.resolutions[3].reason

    asked = run("heal", target="lab")
    assert tried(asked) == [
        ("rebuild_from_parity", Outcome.PARTLY_RESOLVED),
        ("restore_from_replica", Outcome.PARTLY_RESOLVED),
        ("restore_from_backup", Outcome.PARTLY_RESOLVED),
        ("quarantine_lost_pages", Outcome.AWAITING_APPROVAL),
    ]
    assert values_of(client, GROUPS[:3]) == good
    # Healing the rest has not changed what is asked for.
    assert quarantine_of(asked).digest[:12] == digest
    left = values_of(client, GROUPS[3:])

    refused = run("heal", target="lab", approved=["0" * 12])
    assert tried(refused) == [("quarantine_lost_pages", Outcome.AWAITING_APPROVAL)]
    assert f"--approve {digest}" in refused.resolutions[0].reason
    assert values_of(client, GROUPS[3:]) == left

    healed = run("heal", target="lab", approved=[digest])
    assert tried(healed) == [("quarantine_lost_pages", Outcome.RESOLVED)]
    assert healed.is_healed
    # A target that lacks data is not just healed, on a lock screen and in Prefect.
    assert (healed.lost, asked.lost) == ("3 pages given up", "")
    (newest, *_) = outbox.newest(Journal(load_settings().journal_url), 1)
    assert title_of(newest.notice).startswith("lab: healed, 3 pages given up: ")
    with get_client(sync_client=True) as prefect:
        named = FlowRunFilter(name=FlowRunFilterName(any_=["heal lab"]))
        (last,) = prefect.read_flow_runs(flow_run_filter=named, sort=FlowRunSort.START_TIME_DESC, limit=1)
    assert last.state_name == "Healthy, 3 pages given up"
    (resolution,) = healed.resolutions
    assert resolution.approval is not None
    assert (resolution.approval.digest, resolution.approval.by) == (digest, "holder of the command line")
    assert {step.state for step in resolution.steps} == {StepState.COMMITTED}
    (entry, *_) = history(target="lab", outcome="resolved", limit=1)
    assert entry.strategy == "quarantine_lost_pages"
    assert values_of(client, GROUPS[:3]) == good
    grid = Grid.open(client, NAME)
    report = scrub(client, grid.manifest, ScrubOptions(is_deep=True)).report
    assert report.is_clean
    with conversation(client) as talk:
        listed = read_lost(talk, grid.manifest)
    # Of the two whole blocks, parity proves every page but the one at the offset of the third damage.
    assert {(page.group, page.block % 1024 // 64, page.page) for page in listed.pages} == {
        (BY_NOTHING, member, 9) for member in (0, 2, 8)
    }
    assert {page.recovery for page in listed.pages} == {resolution.recovery}


def test_a_yes_to_a_plan_is_none_to_the_plan_that_had_to_be_made_instead(client: valkey.Valkey) -> None:
    """One more page is lost by the time it is carried out: the new plan waits for a yes of its own."""
    client.delete(*(role_key(NAME, BY_NOTHING, member) for member in (0, 2, 8)))
    # Until it has done the same, the replica is a source of them.
    assert client.wait(1, 60_000) == 1
    planned = run("heal", target="lab", dry_run=True)
    plan = quarantine_of(planned)
    client.delete(role_key(NAME, BY_NOTHING, 9))
    damaged = values_of(client, GROUPS)
    state = resolve(
        "lab",
        planned.before.issues[0],
        plan,
        planned.before,
        approved=[plan.digest[:12]],
        return_state=True,
    )
    resolution = returned(state, Resolution)
    assert resolution.outcome is Outcome.RESTORED
    assert "other pages than the 48 of the plan" in resolution.reason
    assert "is another plan than this one" in resolution.reason
    assert values_of(client, GROUPS) == damaged


def test_an_approval_that_is_none_is_a_mistake_of_the_call(client: valkey.Valkey) -> None:
    """Before anything is looked at."""
    harm(client)
    with pytest.raises(ConfigurationError, match="12 to 64 hexadecimal digits"):
        run("heal", target="lab", approved=["yes"])
