"""Nodes of a real cluster, and what real Sentinels watch: looked at, and left to who runs them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

from medic8.backups.place import BackupPlace
from medic8.errors import RefusedError
from medic8.local.loopback import free_port
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.report import Health
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.safety.admission import admit
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.kind import KIND as GRID_KIND
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.backups import ValkeyBackups
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from tests.raw_clients import RawClient
from tests.replicas import until
from tests.targets.valkey.looking_at import AROUND, NOW, a_target, look, report_on
from tests.targets.valkey.recovering import planned

SLOTS = ((0, 5460), (5461, 10_922), (10_923, 16_383))
RULE = {"name": "slowlog-max-len", "minimum": 1000}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ScratchValkey]]:
    """Get the three primaries of a cluster, each with a third of the slots."""
    with contextlib.ExitStack() as stack:
        started = []
        for _ in SLOTS:
            config = {"cluster-enabled": "yes", "cluster-port": str(free_port(())), "save": "3600 1"}
            folder = tmp_path_factory.mktemp("node")
            started.append(stack.enter_context(scratch_valkey(folder, config=config)))
        clients = [stack.enter_context(valkey.Valkey.from_url(node.url)) for node in started]
        for client, slots in zip(clients, SLOTS, strict=True):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
            bus = client.config_get("cluster-port")["cluster-port"]
            port = client.config_get("port")["port"]
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
        until(lambda: all(b"cluster_size:3" in told(client) for client in clients))
        yield started


def told(client: valkey.Valkey) -> bytes:
    answer = client.execute_command("CLUSTER", "INFO")
    return answer if b"cluster_state:ok" in answer else b""


def test_a_node_is_looked_at_from_every_side(nodes: list[ScratchValkey]) -> None:
    """Nothing is wrong with it, nothing fails, and the keys that are looked at are its own."""
    with valkey.Valkey.from_url(nodes[0].url) as client:
        client.mset({"{b}1": "1", "{b}2": "2"})
    report = report_on(nodes[0].url, expiry=[{"prefix": "session:", "after": 3600}])
    assert report.analysis.health is Health.HEALTHY
    assert [each.about for each in report.analysis.findings] == ["Valkey Cluster"]
    assert set(report.results) == set(DIAGNOSTICS)
    counted = [look(node.url, "keys").reading("keys.count") for node in nodes]
    assert [each and each.value for each in counted] == [2, 0, 0]


@pytest.mark.parametrize(
    ("strategy", "diagnostic"), [("set_settings", "settings"), ("kill_hogging_client", "clients")]
)
def test_nothing_is_changed_on_a_node(nodes: list[ScratchValkey], strategy: str, diagnostic: str) -> None:
    """Whatever is allowed, whichever node: the reason says who runs it, before anything was touched."""
    for node in nodes:
        target = a_target(node.url, mode="act", allow=[strategy], setting=[RULE])
        with RawClient(node.url) as watcher:
            watcher.ask("MONITOR")
            plan = planned(strategy, target, diagnostic)
        assert plan.units
        admission = admit(plan, target, [plan.digest])
        assert (admission.is_granted, admission.rule) == (False, "managed")
        assert "run by Valkey Cluster" in admission.reason


def test_a_repair_that_was_let_through_is_refused_by_the_node(
    nodes: list[ScratchValkey], tmp_path: Path
) -> None:
    """Its claim lies on another node, and the message says that."""
    plan = planned("set_settings", a_target(nodes[0].url, setting=[RULE]), "settings")
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    with (
        open_session(a_target(nodes[0].url), AROUND) as session,
        pytest.raises(RefusedError, match=r"one node of a cluster and has not all of the keys \(MOVED"),
    ):
        contract.open_recovery(journal, session, plan, this_process(), at=NOW)
    journal.dispose()


def test_a_grid_that_is_spread_over_nodes_is_refused_with_its_reason(nodes: list[ScratchValkey]) -> None:
    """Neither made, nor called healthy, nor taken for one that is gone."""
    for node in nodes:
        with pytest.raises(RefusedError, match="neither a grid"), connection(node.url) as client:
            Grid.create(client, "lab", 32)
        target = Target(name="lab", kind="grid", url=node.url, grid="lab")
        for name in ("grid", "locks"):
            with pytest.raises(RefusedError, match="one node of a cluster"):
                GRID_KIND.diagnostics[name](target, AROUND)


def test_the_keys_of_a_node_are_backed_up_and_those_of_others_are_not(
    nodes: list[ScratchValkey], tmp_path: Path
) -> None:
    """Reading is all that it takes."""
    with valkey.Valkey.from_url(nodes[0].url) as client:
        client.mset({"{b}1": "1", "{b}2": "2"})
    around = Surroundings(backups=BackupPlace(url=str(tmp_path)), now=NOW)
    backups = [ValkeyBackups().create(a_target(node.url), around, prefix="", names=()) for node in nodes]
    counts = [backup.keyspace and backup.keyspace.count for backup in backups]
    assert counts == [2, 0, 0]


@contextlib.contextmanager
def sentinel(folder: Path, program: str, watched: ScratchValkey) -> Iterator[str]:
    """The address of a real Sentinel that watches one server."""
    port = free_port(())
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor cache 127.0.0.1 {watched.port} 1\n"
    )
    process = subprocess.Popen(
        [program, str(configuration), "--sentinel"], stdout=subprocess.DEVNULL, cwd=folder
    )
    try:
        with valkey.Valkey.from_url(watched.url) as client:
            until(lambda: client.pubsub_numsub("__sentinel__:hello")[0][1] > 0)
        yield f"valkey://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait(60)


def test_a_real_sentinel_owns_the_roles_and_is_no_server_that_somebody_crippled(tmp_path: Path) -> None:
    """Of the server that it watches; looked at itself it is a Sentinel, and all that it lacks is said."""
    (tmp_path / "server").mkdir()
    with scratch_valkey(tmp_path / "server") as server:
        program = Path(f"/proc/{server.pid}/exe").resolve()
        with sentinel(tmp_path, str(program), server) as url:
            watched, itself = look(server.url, "controller"), look(url, "controller")
            report = report_on(url)
    assert [each.about for each in watched.findings] == ["Sentinel"]
    assert watched.reading("controller.owns.roles") is not None
    assert watched.reading("controller.owns.settings") is None
    assert [each.about for each in itself.findings] == ["a Sentinel itself"]
    assert itself.reading("controller.owns.settings") is not None
    assert report.issues == ()
