"""The target dies and comes back, or another takes its place: what it lost is lost and said."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import valkey

from medic8.errors import ClaimGoneError, FencedError, RefusedError, TransientError, VerifyError
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.plan import Plan
from medic8.model.recovery import Owner, Recovery, RecoveryState, StepState
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract, undo
from medic8.recovery.journal import Journal
from medic8.targets.grid.actions import open_session as grid_session
from medic8.targets.kind import Session
from medic8.targets.valkey.actions import open_session as server_session
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.client import connection, info, reaching, setting
from tests.recovery.forwarder import HOST, Forwarder
from tests.recovery.outage import (
    Values,
    aof_of,
    around,
    grid_on,
    harm,
    make_grid,
    now,
    plan_repair,
    plan_settings,
    server_on,
    values_of,
)
from tests.recovery.test_lease import eventually

UNDONE, COMMITTED, CONFLICT = StepState.UNDONE, StepState.COMMITTED, StepState.CONFLICT
PLANNED = StepState.PLANNED


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    yield journal
    journal.dispose()


@contextmanager
def session_on(target: Target) -> Iterator[Session]:
    opened = grid_session if target.kind == "grid" else server_session
    with opened(target, around()) as session:
        yield session


class Run:
    """A recovery as the flow carries it out, one connection for each step."""

    def __init__(
        self,
        journal: Journal,
        target: Target,
        plan: Plan,
        folder: Path,
        *,
        owner: Owner | None = None,
        opened_at: datetime | None = None,
    ) -> None:
        self.journal = journal
        self.target = target
        with session_on(target) as session:
            opened = contract.open_recovery(
                journal, session, plan, owner or this_process(), at=opened_at or now()
            )
            self.recovery = contract.save_state(
                journal, session, opened, folder=folder / "saved", limit_bytes=64 << 20
            )
        self.reached: tuple[object, ...] = ()

    def apply(self, number: int) -> None:
        with session_on(self.target) as session:
            self.reached = contract.apply_step(
                self.journal, session, self.recovery, number, clock=now, reached=self.reached
            )

    def verify(self, unit: int) -> None:
        with session_on(self.target) as session:
            self.reached += contract.verify_unit(session, self.recovery, unit)

    def end(self) -> Recovery:
        with session_on(self.target) as session:
            return undo.undo_or_hand_over(
                self.journal, session, self.recovery, clock=now, reached=self.reached
            )


def states(recovery: Recovery) -> list[StepState]:
    return [step.state for step in recovery.steps]


NONE = {"save": '""'}
EVERYSEC = {"appendonly": "yes", "appendfsync": "everysec"}
ALWAYS = {"appendonly": "yes", "appendfsync": "always"}


def come_back(server: ScratchValkey, *, keeps_bytes: int | None = None) -> None:
    """Kill the server and start it again; only *keeps_bytes* of its append-only file reached the disk."""
    server.kill()
    if keeps_bytes is not None:
        os.truncate(aof_of(server.data), keeps_bytes)
    server.start()


#: Persistence, when it comes to the disk, what has happened by then, how each step ends, what is left.
#: Steps are a page and P of the first group, then a block of the second.
RESTARTS = [
    ("none", "saved", [PLANNED, PLANNED, PLANNED], 0),
    ("none", "begun", [CONFLICT, PLANNED, PLANNED], 1),
    ("none", "applied", [CONFLICT, CONFLICT, CONFLICT], 3),
    ("snapshot before", "saved", [PLANNED, PLANNED, PLANNED], 0),
    ("snapshot before", "begun", [UNDONE, PLANNED, PLANNED], 0),
    ("snapshot before", "applied", [UNDONE, UNDONE, UNDONE], 0),
    ("snapshot before the damage", "saved", [PLANNED, PLANNED, PLANNED], 0),
    ("snapshot before the damage", "begun", [COMMITTED, PLANNED, PLANNED], 0),
    ("snapshot before the damage", "applied", [COMMITTED, COMMITTED, COMMITTED], 0),
    ("snapshot between", "begun", [UNDONE, PLANNED, PLANNED], 0),
    ("snapshot between", "applied", [COMMITTED, UNDONE, UNDONE], 0),
    ("everysec", "saved", [PLANNED, PLANNED, PLANNED], 0),
    ("everysec", "begun", [UNDONE, PLANNED, PLANNED], 0),
    ("everysec", "applied", [COMMITTED, COMMITTED, COMMITTED], 0),
    ("everysec, power cut", "begun", [UNDONE, PLANNED, PLANNED], 0),
    ("everysec, power cut", "applied", [COMMITTED, UNDONE, UNDONE], 0),
    ("always", "saved", [PLANNED, PLANNED, PLANNED], 0),
    ("always", "begun", [UNDONE, PLANNED, PLANNED], 0),
    ("always", "applied", [COMMITTED, COMMITTED, COMMITTED], 0),
]


@pytest.mark.parametrize(("persistence", "moment", "ends", "left"), RESTARTS)
def test_what_a_restart_of_a_grids_server_leaves(
    journal: Journal, tmp_path: Path, persistence: str, moment: str, ends: list[StepState], left: int
) -> None:
    """Each value is good, as found, or gone and listed; what is there is never written over unseen."""
    config = {"everysec": EVERYSEC, "always": ALWAYS}.get(persistence.split(",", maxsplit=1)[0], NONE)
    with scratch_valkey(tmp_path, config=config) as server:
        keeps_bytes = None
        with connection(server.url) as client:
            good = make_grid(client)
            if persistence == "snapshot before the damage":
                client.save()
            damaged = harm(client)
            run = Run(journal, grid_on(server.url), plan_repair(grid_on(server.url)), tmp_path)
            if persistence == "snapshot before":
                client.save()
            if moment != "saved":
                if persistence == "everysec, power cut" and moment == "begun":
                    keeps_bytes = aof_of(server.data).stat().st_size
                run.apply(0)
                if persistence == "snapshot between":
                    client.save()
                elif persistence == "everysec, power cut" and moment == "applied":
                    keeps_bytes = aof_of(server.data).stat().st_size
            if moment == "applied":
                run.apply(1)
                run.verify(0)
                run.apply(2)
        come_back(server, keeps_bytes=keeps_bytes)
        with pytest.raises(FencedError, match="moved under the recovery"):
            run.verify(1) if moment == "applied" else run.apply(1 if moment == "begun" else 0)
        ended = run.end()
        assert (ended.state, states(ended), len(ended.left)) == (RecoveryState.RESTORED, ends, left)
        with connection(server.url) as client:
            found = values_of(client)
            assert client.get(CLAIM_KEY) is None
        assert journal.holding() == ()
    if persistence == "snapshot before the damage":
        assert found == good
    else:
        assert_is_what_is_said(ended, found, good, damaged, is_gone=persistence == "none")


def assert_is_what_is_said(
    ended: Recovery, found: Values, good: Values, damaged: Values, *, is_gone: bool
) -> None:
    if is_gone:
        assert set(found.values()) == {None}
        assert all("nothing is there now" in line for line in ended.left)
        return
    harmed = [key for key in good if good[key] != damaged[key]]
    assert {key: found[key] for key in good if key not in harmed} == {
        key: good[key] for key in good if key not in harmed
    }
    repaired = [key for key in harmed if found[key] == good[key]]
    assert all(found[key] in {good[key], damaged[key]} for key in harmed)
    assert len(repaired) == states(ended).count(COMMITTED)


@pytest.mark.parametrize("config", [NONE, {"save": "3600 1"}, EVERYSEC, ALWAYS])
@pytest.mark.parametrize("moment", ["saved", "begun", "applied"])
@pytest.mark.parametrize(
    ("in_file", "at_start", "ends", "says"),
    [
        ("10", "10", UNDONE, None),
        ("10", "20", CONFLICT, "setting hz: the server has lost what it held"),
        ("30", "10", CONFLICT, "setting hz: the server came back with what was written"),
    ],
)
def test_what_a_restart_leaves_of_a_setting(
    journal: Journal,
    tmp_path: Path,
    config: dict[str, str],
    moment: str,
    in_file: str,
    at_start: str,
    ends: StepState,
    says: str | None,
) -> None:
    """What the server's file says, whatever it persists; called put back only if it is what was saved."""
    with scratch_valkey(tmp_path, config=config) as server:
        with connection(server.url) as client:
            client.config_set("hz", at_start)
        plan = plan_settings(("hz", at_start, "30"), ("slowlog-max-len", "128", "512"))
        run = Run(journal, server_on(server.url), plan, tmp_path)
        steps = {"saved": 0, "begun": 1, "applied": 2}[moment]
        for number in range(steps):
            run.apply(number)
        server.kill()
        configuration = server.data / "valkey.conf"
        configuration.write_text(f"{configuration.read_text()}\nhz {in_file}\n")
        server.start()
        with pytest.raises(FencedError, match="moved under the recovery"):
            run.verify(0) if moment == "applied" else run.apply(steps)
        ended = run.end()
        with connection(server.url) as client:
            assert (setting(client, "hz"), setting(client, "slowlog-max-len")) == (in_file, "128")
            assert client.get(CLAIM_KEY) is None
    expected = [[PLANNED, PLANNED], [ends, PLANNED], [ends, UNDONE]][steps]
    assert (ended.state, states(ended)) == (RecoveryState.RESTORED, expected)
    assert [says is not None and says in line for line in ended.left] == ([True] if says and steps else [])


@contextmanager
def replicated(tmp_path: Path) -> Iterator[tuple[ScratchValkey, ScratchValkey, Forwarder]]:
    """Get a primary, its replica in step, and the way by which it replicates."""
    for name in ("primary", "replica"):
        (tmp_path / name).mkdir()
    with (
        scratch_valkey(tmp_path / "primary", config={"repl-diskless-sync-delay": "0"}) as primary,
        Forwarder(primary.port) as way,
        scratch_valkey(tmp_path / "replica", config={"replicaof": f"{HOST} {way.port}"}) as replica,
    ):
        yield primary, replica, way


def wait_until_in_step(primary: ScratchValkey, replica: ScratchValkey) -> None:
    with connection(primary.url) as client, connection(replica.url) as theirs:

        def is_in_step() -> bool:
            behind = info(theirs, "replication")
            written = info(client, "replication")["master_repl_offset"]
            return behind["master_link_status"] == "up" and behind["slave_repl_offset"] == written

        assert eventually(is_in_step)


def fail_over(primary: ScratchValkey, replica: ScratchValkey) -> None:
    primary.kill()
    with connection(replica.url) as client:
        client.replicaof("NO", "ONE")


@pytest.mark.parametrize(
    ("by", "lags_from", "moment", "ends"),
    [
        ("configuration", "saved", "begun", [UNDONE, PLANNED, PLANNED]),
        ("address", "begun", "begun", [UNDONE, PLANNED, PLANNED]),
        ("address", "saved", "applied", [UNDONE, UNDONE, UNDONE]),
        ("configuration", "begun", "applied", [COMMITTED, UNDONE, UNDONE]),
        ("configuration", "never", "applied", [COMMITTED, COMMITTED, COMMITTED]),
    ],
)
def test_what_a_fail_over_to_a_lagging_replica_leaves_of_a_grid(
    journal: Journal, tmp_path: Path, by: str, lags_from: str, moment: str, ends: list[StepState]
) -> None:
    """The undo is done where the data are now, by what is there: it is known by the id of its primary."""
    with replicated(tmp_path) as (primary, replica, way), Forwarder(primary.port) as address:
        with connection(primary.url) as client:
            good, damaged = make_grid(client), harm(client)
        target = grid_on(address.url)
        run = Run(journal, target, plan_repair(target), tmp_path)
        wait_until_in_step(primary, replica)
        if lags_from == "saved":
            way.stall()
        run.apply(0)
        if lags_from == "begun":
            wait_until_in_step(primary, replica)
            way.stall()
        if moment == "applied":
            run.apply(1)
            run.verify(0)
            run.apply(2)
        if lags_from == "never":
            wait_until_in_step(primary, replica)
        fail_over(primary, replica)
        address.leads_to = replica.port
        if by == "configuration":
            run.target = grid_on(replica.url)
        with pytest.raises(FencedError, match="moved under the recovery"):
            run.verify(1) if moment == "applied" else run.apply(1)
        ended = run.end()
        assert (ended.state, states(ended), ended.left) == (RecoveryState.RESTORED, ends, ())
        with connection(replica.url) as client:
            assert_is_what_is_said(ended, values_of(client), good, damaged, is_gone=False)
            assert client.get(CLAIM_KEY) is None


def test_a_promoted_replica_at_the_same_address_is_not_the_process_whose_setting_was_set(
    journal: Journal, tmp_path: Path
) -> None:
    """It ran before the recovery began: nothing is set on it, nothing called put back, a person is told."""
    with replicated(tmp_path) as (primary, replica, _), Forwarder(primary.port) as address:
        wait_until_in_step(primary, replica)
        # As if the replica had been running for two minutes, and the recovery been opened elsewhere.
        opened_at, owner = now() + timedelta(minutes=2), this_process().model_copy(update={"boot": "another"})
        plan = plan_settings(("hz", "10", "30"))
        run = Run(journal, server_on(address.url), plan, tmp_path, owner=owner, opened_at=opened_at)
        run.apply(0)
        with connection(replica.url) as client:
            client.replicaof("NO", "ONE")
            client.config_set("hz", "30")
        address.leads_to = replica.port
        ended = run.end()
        assert ended.state is RecoveryState.NEEDS_PERSON
        assert "leads to something else than what was changed" in ended.left[0]
        assert any("set hz" in line for line in ended.left)
        with connection(replica.url) as client:
            assert setting(client, "hz") == "30"


def test_a_stranger_of_another_history_at_the_address_is_left_alone(journal: Journal, tmp_path: Path) -> None:
    """A copy of the grid that was made by hand is no heir: what is there is not touched."""
    for name in ("server", "stranger"):
        (tmp_path / name).mkdir()
    with (
        scratch_valkey(tmp_path / "server") as server,
        scratch_valkey(tmp_path / "stranger") as stranger,
        connection(server.url) as client,
        connection(stranger.url) as theirs,
    ):
        make_grid(client)
        harm(client)
        run = Run(journal, grid_on(server.url), plan_repair(grid_on(server.url)), tmp_path)
        run.apply(0)
        copy = {key: value for key, value in values_of(client).items() if value is not None}
        theirs.mset(copy)
        run.target = grid_on(stranger.url)
        ended = run.end()
        assert ended.state is RecoveryState.NEEDS_PERSON
        assert {key: theirs.get(key) for key in copy} == copy


@pytest.mark.parametrize("steps", [0, 2, 3])
def test_a_grid_that_is_flushed_away_is_said_to_be_gone(journal: Journal, tmp_path: Path, steps: int) -> None:
    """The claim is put there again, as the journal says ours; the next step finds nothing and is refused."""
    with scratch_valkey(tmp_path) as server, connection(server.url) as client:
        make_grid(client)
        harm(client)
        run = Run(journal, grid_on(server.url), plan_repair(grid_on(server.url)), tmp_path)
        for number in range(steps):
            run.apply(number)
            if number:
                run.verify(number - 1)
        client.flushall()
        with pytest.raises((RefusedError, VerifyError)):
            run.verify(1) if steps == 3 else run.apply(steps)
        if steps < 3:
            assert client.get(CLAIM_KEY) == run.recovery.claim.content
        ended = run.end()
        assert (ended.state, states(ended)) == (
            RecoveryState.RESTORED,
            [CONFLICT] * steps + [PLANNED] * (3 - steps),
        )
        assert ["nothing is there now" in line for line in ended.left] == [True] * steps
        assert client.dbsize() == 0


def evict_the_claim(client: valkey.Valkey) -> None:
    """Press the server's memory until it has let go of the claim, as its policy says."""
    for number in range(20_000):
        with suppress(TransientError), reaching("valkey://"):
            client.set(f"pressure:{number}", b"x" * 4096, px=100_000_000)
        if client.get(CLAIM_KEY) is None:
            return
    raise AssertionError("the claim was never evicted")


@pytest.mark.parametrize("policy", ["allkeys-random", "volatile-ttl"])
@pytest.mark.parametrize("is_ours", [True, False])
def test_an_evicted_fence_lets_nothing_in_until_the_journal_says_ours(
    journal: Journal, tmp_path: Path, policy: str, is_ours: bool
) -> None:
    """Evicted under real pressure: the write alone is refused; the step asks the journal first."""
    with scratch_valkey(tmp_path) as server, connection(server.url) as client:
        run = Run(journal, server_on(server.url), plan_settings(("hz", "10", "20")), tmp_path)
        used = info(client, "memory")["used_memory"]
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", used + (2 << 20))
        evict_the_claim(client)
        assert client.get(CLAIM_KEY) is None
        step = run.recovery.plan.units[0].steps[0]
        with session_on(run.target) as session, pytest.raises(ClaimGoneError):
            session.swap(step, expected=b"10", new=b"20", claim=run.recovery.claim)
        assert setting(client, "hz") == "10"
        client.config_set("maxmemory", 0)
        if is_ours:
            run.apply(0)
            assert (setting(client, "hz"), client.get(CLAIM_KEY)) == ("20", run.recovery.claim.content)
        else:
            journal.close(run.recovery, RecoveryState.RESTORED, at=now())
            with pytest.raises(FencedError, match="ended or taken over"):
                run.apply(0)
            assert (setting(client, "hz"), client.get(CLAIM_KEY)) == ("10", None)


def test_a_recovery_on_a_server_that_goes_on_evicting_ends(journal: Journal, tmp_path: Path) -> None:
    """Writers press all the time: each step is in or refused, never half, and the undo comes through."""
    with scratch_valkey(tmp_path) as server, connection(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", info(client, "memory")["used_memory"] + (2 << 20))
        stop = threading.Event()

        def press() -> None:
            with connection(server.url) as own:
                while not stop.is_set():
                    own.mset({f"pressure:{os.urandom(4).hex()}": b"x" * 4096 for _ in range(50)})

        changes = (("hz", "10", "20"), ("tcp-keepalive", "300", "60"), ("slowlog-max-len", "128", "512"))
        # To open it is refused if the claim goes at that moment: nothing is begun, and nothing is seen here.
        run = Run(journal, server_on(server.url), plan_settings(*changes), tmp_path)
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", info(client, "memory")["used_memory"] + (2 << 20))
        writer = threading.Thread(target=press)
        writer.start()
        try:
            assert eventually(lambda: info(client, "stats")["evicted_keys"] > 0)
            for number in range(len(changes)):
                for _ in range(20):
                    with suppress(FencedError, TransientError):
                        run.apply(number)
                        break
            assert [setting(client, name) for name, _, _ in changes] == [value for _, _, value in changes]
            refused = list[str]()
            while journal.holding() and len(refused) < 200:
                try:
                    run.end()
                except (FencedError, TransientError) as exc:
                    refused.append(str(exc))
            assert journal.holding() == (), refused
        finally:
            stop.set()
            writer.join(60)
        ended = journal.read(run.recovery.id)
        assert ended.state is RecoveryState.RESTORED
        assert [setting(client, name) for name, _, _ in changes] == [found for _, found, _ in changes]
