"""A replica's pages are believed where the primary's own checksums prove them, and nowhere else."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import valkey

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.errors import ChangedError, RefusedError
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.plan import Plan
from medic8.model.recovery import RecoveryState
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.targets.grid.actions import open_session
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.kind import KIND
from medic8.targets.grid.layout import BLOCK_CELLS, block_at
from medic8.targets.grid.manifest import create_manifest
from medic8.targets.grid.replicas import replicas_of
from medic8.targets.grid.strategies import plan_from_backup, plan_from_replica, plan_quarantine
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.address import place
from medic8.targets.valkey.client import connection
from tests.recovery.steps import take_all_steps

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAME = "lab"
GROUPS = (0, 1)

#: Does to one server what its replicas are not told of, as a flipped bit or a bug there would.
_ALONE = """
redis.set_repl(redis.REPL_NONE)
return redis.call(unpack(ARGV))
"""


@pytest.fixture
def grid(client: valkey.Valkey) -> Grid:
    """Get a grid with two whole groups."""
    grid = Grid.create(client, NAME, 32)
    rng = np.random.default_rng(1)
    grid.fill(lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=GROUPS)
    return grid


@pytest.fixture
def replica(
    grid: Grid, client: valkey.Valkey, valkey_server: ScratchValkey, tmp_path: Path
) -> Iterator[ScratchValkey]:
    """Get a replica of the shared server that has all of the grid."""
    assert grid.layout.groups
    client.config_set("repl-diskless-sync-delay", 0)
    with scratch_valkey(tmp_path, config={"replicaof": f"127.0.0.1 {valkey_server.port}"}) as replica:
        with valkey.Valkey.from_url(replica.url) as other:  # ours would ask while it loads its copy
            wait_for(lambda: other.info("replication")["master_link_status"] == "up")
        yield replica


@pytest.fixture
def target(valkey_url: str) -> Target:
    """Get the grid of the shared server as a target."""
    return Target(name=NAME, kind="grid", url=valkey_url, grid=NAME)


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """Get a folder without backups."""
    return Surroundings(backups=BackupPlace.of(tmp_path / "backups"), now=NOW)


def wait_for(holds: Callable[[], bool]) -> None:
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("it did not come to hold within 60 s")


def alone(client: valkey.Valkey, *command: str | bytes | int) -> None:
    client.eval(_ALONE, 1, str(command[1]), *command)


def harm_alone(client: valkey.Valkey) -> None:
    """Three whole blocks of group 0, and page 5 of three blocks of group 1, on the primary only."""
    for member in (3, 7, 11):
        alone(client, "DEL", role_key(NAME, 0, member))
    for member in (2, 9, 13):
        alone(client, "SETRANGE", role_key(NAME, 1, member), 5 * 4096 + 100, b"damage")


def values_of(client: valkey.Valkey) -> list[bytes | None]:
    keys = [role_key(NAME, group, role) for group in GROUPS for role in range(18)]
    return client.mget(keys + [sums_key(NAME, group) for group in GROUPS])


def diagnose(target: Target, around: Surroundings) -> DiagnosticReport:
    results = {name: look(target, around) for name, look in KIND.diagnostics.items()}
    analysis = analyze(results.values())
    issues = detect_issues(analysis, KIND.rules, target=target.name, at=NOW)
    return DiagnosticReport(
        target=target.name, kind="grid", results=results, analysis=analysis, issues=issues, taken_at=NOW
    )


def plan_for(target: Target, around: Surroundings) -> Plan:
    report = diagnose(target, around)
    return plan_from_replica(report.issues[0], report, target)


def carry_out(target: Target, around: Surroundings, plan: Plan, folder: Path) -> RecoveryState:
    folder.mkdir(exist_ok=True)
    journal = Journal(f"sqlite:///{folder}/journal.sqlite")
    with open_session(target, around) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
        recovery = contract.save_state(journal, session, recovery, folder=folder, limit_bytes=64 << 20)
        reached = take_all_steps(journal, session, recovery, clock=lambda: NOW)
        ended = contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=NOW, reached=reached)
    journal.dispose()
    return ended.state


def test_what_parity_cannot_rebuild_comes_from_a_replica_bit_for_bit(
    replica: ScratchValkey, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path
) -> None:
    """The server names its replica; the damage was done to the primary's memory and never replicated."""
    good = values_of(client)
    harm_alone(client)
    plan = plan_for(target, around)
    where = f"127.0.0.1:{replica.port}"
    assert (plan.step_count, plan.left_open) == (6, ())
    assert {step.title.rpartition(" from ")[2] for unit in plan.units for step in unit.steps} == {
        f"replica {where}"
    }
    report = diagnose(target, around)
    assert plan_from_backup(report.issues[0], report, target).units == ()
    assert plan_quarantine(report.issues[0], report, target).units == ()
    with connection(replica.url) as other:
        held = values_of(other)
        assert carry_out(target, around, plan, tmp_path) is RecoveryState.HEALTHY
        assert values_of(client) == good == held
    assert diagnose(target, around).is_healthy


def test_a_replica_that_got_the_damage_does_not_help(
    replica: ScratchValkey, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """Deleted by a command, so deleted there as well: the next source is asked."""
    client.delete(*(role_key(NAME, 0, member) for member in (3, 7, 11)))
    with connection(replica.url) as other:
        wait_for(lambda: not other.exists(role_key(NAME, 0, 11)))
    plan = plan_for(target, around)
    assert plan.units == ()
    report = diagnose(target, around)
    assert len(plan_quarantine(report.issues[0], report, target).units) == 1


def test_what_a_replica_has_is_not_given_up_and_the_yes_is_the_same_before_and_after_it_helped(
    replica: ScratchValkey, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path
) -> None:
    """Page 5 of three blocks is lost everywhere, page 6 on the primary alone, in one group."""
    for member in (2, 9, 13):
        client.setrange(role_key(NAME, 0, member), 5 * 4096, b"damage")
    with connection(replica.url) as other:
        wait_for(lambda: other.getrange(role_key(NAME, 0, 13), 5 * 4096, 5 * 4096 + 5) == b"damage")
    for member in (2, 9, 13):
        alone(client, "SETRANGE", role_key(NAME, 0, member), 6 * 4096, b"damage")
    report = diagnose(target, around)
    assert report.grid is not None
    (item,) = report.grid.consistency.beyond_proof
    assert item.data == ((2, 5), (9, 5), (13, 5))
    # Where the replica may not be used, its pages are not given up in its stead.
    refused = plan_quarantine(report.issues[0], report, target)
    assert refused.units == ()
    assert "not given up before restore_from_replica" in refused.left_open[0]
    allowed = target.model_copy(update={"allow": ("restore_from_replica", "quarantine_lost_pages")})
    plan = plan_quarantine(report.issues[0], report, allowed)
    damaged = values_of(client)
    with pytest.raises(ChangedError, match="other pages than the 3 of the plan"):
        carry_out(allowed, around, plan, tmp_path / "early")
    assert values_of(client) == damaged
    client.delete("medic8:claim")
    carry_out(allowed, around, plan_for(allowed, around), tmp_path / "replica")
    report = diagnose(allowed, around)
    again = plan_quarantine(report.issues[0], report, allowed)
    assert again.digest == plan.digest
    carry_out(allowed, around, again, tmp_path / "quarantine")
    assert diagnose(allowed, around).is_healthy


def test_a_stale_replica_proves_nothing_and_is_said_to_be_stale(
    grid: Grid, replica: ScratchValkey, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """Its link is down and the pages were written since: to take them would turn the grid back."""
    with connection(replica.url) as other:
        other.replicaof("127.0.0.1", "1")
        cells = [block_at(0, member) * BLOCK_CELLS for member in (3, 7, 11)]
        grid.write_cells(cells, np.ones(3, dtype=CELL))
        for member in (3, 7, 11):
            client.setrange(role_key(NAME, 0, member), 100, b"damage")
        named = target.model_copy(update={"replicas": Target(**url_of(replica)).replicas})
        report = diagnose(named, around)
        assert report.grid is not None
        assert plan_from_replica(report.issues[0], report, named).units == ()
        (said,) = report.grid.consistency.unusable_replicas
        assert said == (
            f"replica 127.0.0.1:{replica.port}: its link to the primary is down, so it holds an older state"
        )
        assert said in report.analysis.unseen


def test_a_replica_that_holds_another_grid_is_not_read(
    grid: Grid, replica: ScratchValkey, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """The UUID tells, whatever the name."""
    with connection(replica.url) as other:
        other.replicaof("NO", "ONE")
        other.delete(*manifest_keys(NAME))
        create_manifest(other, replace(grid.manifest, uuid=replace_uuid(grid)))
        other.replicaof("127.0.0.1", "1")
        harm_alone(client)
        named = target.model_copy(update={"replicas": Target(**url_of(replica)).replicas})
        report = diagnose(named, around)
    assert report.grid is not None
    (said,) = report.grid.consistency.unusable_replicas
    assert "not " + str(grid.manifest.uuid) in said
    assert plan_from_replica(report.issues[0], report, named).units == ()


def test_a_replica_that_is_gone_is_a_sentence_and_a_plan_that_needs_it_is_refused(
    replica: ScratchValkey, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path
) -> None:
    """Nothing is half done: what was begun is refused before the first write."""
    harm_alone(client)
    damaged = values_of(client)
    plan = plan_for(target, around)
    replica.stop()
    wait_for(lambda: client.info("replication")["connected_slaves"] == 0)
    with pytest.raises(RefusedError, match="is no replica of its server any more"):
        carry_out(target, around, plan, tmp_path)
    assert values_of(client) == damaged
    named = target.model_copy(update={"replicas": Target(**url_of(replica)).replicas})
    report = diagnose(named, around)
    assert report.grid is not None
    assert "does not answer" in report.grid.consistency.unusable_replicas[0]


def test_credentials_go_to_named_replicas_only(
    replica: ScratchValkey, client: valkey.Valkey, valkey_url: str, around: Surroundings
) -> None:
    """An address that a server was told of may be anybody's; and no message shows a password."""
    harm_alone(client)
    client.acl_setuser("ann", enabled=True, passwords=["+hunter2"], keys=["*"], categories=["+@all"])
    with connection(replica.url) as other:
        other.acl_setuser("ann", enabled=True, passwords=["+hunter2"], keys=["*"], categories=["+@all"])
        other.acl_setuser("default", enabled=False)
    url = valkey_url.replace("valkey://", "valkey://ann:hunter2@")
    found = Target(name=NAME, kind="grid", url=url, grid=NAME)
    report = diagnose(found, around)
    assert report.grid is not None
    (said,) = report.grid.consistency.unusable_replicas
    assert 'name it under "replicas"' in said
    assert "hunter2" not in report.model_dump_json()
    named = found.model_copy(
        update={
            "replicas": Target(**url_of(replica, "ann:hunter2@")).replicas,
        }
    )
    plan = plan_for(named, around)
    assert plan.step_count == 6
    assert "hunter2" not in plan.model_dump_json()


@pytest.mark.parametrize(
    ("host", "port"),
    [
        (b"127.0.0.1", b"99999"),
        (b"127.0.0.1", b"-1"),
        (b"a:b", b"7000"),
        (b"x]y", b"7000"),
        (b"fe80::1%[", b"7000"),
        (b"ann:hunter2@host", b"7000"),
        (b"host/path?db=1", b"7000"),
        (b"host\x1b[31m", b"7000"),
    ],
)
def test_what_somebody_announces_as_a_replica_and_is_none_is_passed_over(
    grid: Grid, client: valkey.Valkey, valkey_url: str, target: Target, host: bytes, port: bytes
) -> None:
    """Whoever may replicate says where he is; what is no place must not end the diagnosis of the grid."""
    del grid
    client.config_set("repl-diskless-sync-delay", 0)
    with socket.create_connection(("127.0.0.1", int(place(valkey_url).partition(":")[2]))) as other:
        for command in (
            (b"REPLCONF", b"ip-address", host),
            (b"REPLCONF", b"listening-port", port),
            (b"PSYNC", b"?", b"-1"),
        ):
            packed = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command)
            other.sendall(b"*%d\r\n%s" % (len(command), packed))
            assert other.recv(100).startswith(b"+")
        wait_for(lambda: client.info("replication")["connected_slaves"] == 1)
        wait_for(lambda: "slave0" in client.info("replication"))
        assert replicas_of(client, target) == ()
    wait_for(lambda: client.info("replication")["connected_slaves"] == 0)


def url_of(replica: ScratchValkey, credentials: str = "") -> dict[str, object]:
    address = f"valkey://{credentials}{place(replica.url)}/0"
    return {"name": NAME, "kind": "grid", "url": address, "replicas": (address,)}


def replace_uuid(grid: Grid) -> uuid.UUID:
    return uuid.UUID(int=grid.manifest.uuid.int ^ 1)
