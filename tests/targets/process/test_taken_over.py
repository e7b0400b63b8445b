"""A data server is restarted once a promoted replica has taken over, and not before; two real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey
from pydantic import ValidationError

from medic8.errors import RefusedError
from medic8.local.account import server_account
from medic8.local.loopback import free_port
from medic8.local.programs import find_valkey
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.plan import Plan
from medic8.model.recovery import RecoveryState
from medic8.model.target import ProcessCare, Target
from medic8.recovery.journal import Journal
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.process.looks.taken_over import judge_taking_over
from medic8.targets.valkey.client import connection
from tests.replicas import contents, is_in_step
from tests.targets.process.diagnosed import KIND, carried_out, leaking, plan_of, report_on
from tests.targets.process.supervised import MISSING, Program, supervised, until

_STORE = """
[program:store]
command = {program} --port {port} --bind 127.0.0.1 --dir {folder} --save "" --repl-diskless-sync-delay 0
autostart = true
startsecs = 0
autorestart = true
"""


class Servers:
    """A primary that supervisord keeps, and its replica."""

    def __init__(self, program: Program, port: int, replica: ScratchValkey) -> None:
        self.program, self.url, self.replica = program, f"valkey://127.0.0.1:{port}", replica
        self.primary_port = port

    def target(self, **care: object) -> Target:
        return self.program.target(
            "restart_process",
            program="store",
            timeout_s=20,
            **{"data_at": self.url, "promoted": self.replica.url, **care},
        )

    def plan(self, around: Surroundings, **care: object) -> Plan:
        target = self.target(**care)
        report = report_on(target, around, leaking(), looks=("presence", "data"))
        return plan_of("restart_process", target, report, "growth.memory")

    def told(self, url: str, *words: str) -> None:
        with valkey.Valkey.from_url(url) as client:
            client.execute_command(*words)

    def in_step(self) -> None:
        """Have the replica follow the primary, with something in both."""
        until(lambda: answers(self.url), "the server answers, which another test may have restarted", 60)
        self.told(self.url, "REPLICAOF", "NO", "ONE")
        self.told(self.replica.url, "REPLICAOF", "127.0.0.1", str(self.primary_port))
        with valkey.Valkey.from_url(self.url) as client:
            client.mset({f"key:{number}": "x" * 100 for number in range(100)})
        until(lambda: is_in_step(self.url, self.replica.url), "the replica is in step", 60)


def answers(url: str) -> bool:
    try:
        with valkey.Valkey.from_url(url) as client:
            return bool(client.ping())
    except valkey.exceptions.ConnectionError:
        return False


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Get two real servers, of which a real supervisord keeps one."""
    if MISSING:
        pytest.skip(MISSING)
    folder, port = tmp_path_factory.mktemp("s"), free_port(())
    program = find_valkey(folder, server_account())
    (folder / "replica").mkdir()
    also = _STORE.format(program=program, port=port, folder=folder)
    with supervised(folder / "p", also=also) as kept:
        until(lambda: answers(f"valkey://127.0.0.1:{port}"), "the server answers", 60)
        with scratch_valkey(folder / "replica") as replica:
            yield Servers(kept, port, replica)


def test_a_replica_that_only_follows_is_not_enough(both: Servers, around: Surroundings) -> None:
    """What clients write last may not have arrived; neither planned nor done."""
    both.in_step()
    plan = both.plan(around)
    assert plan.units == ()
    assert plan.summary.endswith("and the other server is still a replica: it was not promoted.")


def test_a_server_is_restarted_once_its_promoted_replica_has_all_that_it_has(
    both: Servers, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """No backup is there. What is written or connected after the promotion keeps the process running."""
    both.in_step()
    both.told(both.replica.url, "REPLICAOF", "NO", "ONE")
    plan = both.plan(around)
    assert len(plan.units) == 2
    # By our own function, as programs that write grids do: it is nobody's look.
    with connection(both.url) as client:
        client.ping()
        assert "1 clients are still connected to the process" in both.plan(around).summary
        client.set("late", "x")
    assert "bytes since the other server was promoted" in both.plan(around).summary
    step = plan.units[1].steps[0]
    with (
        KIND.open_session(both.target(), around) as session,
        pytest.raises(RefusedError, match="since the other server was promoted"),
    ):
        session.prepare(step)
    both.in_step()
    both.told(both.replica.url, "REPLICAOF", "NO", "ONE")
    before, kept = both.program.keeper("store").look().pid, contents(both.replica.url)
    assert len(kept) == 101
    ended = carried_out(journal, both.target(), around, both.plan(around), tmp_path / "saved")
    assert ended.state is RecoveryState.HEALTHY
    assert both.program.keeper("store").look().pid != before
    assert contents(both.replica.url) == kept


def test_a_server_that_follows_the_promoted_one_by_now_is_restarted(
    both: Servers, around: Surroundings
) -> None:
    """It holds nothing that the other one does not; but for a number that is not the process's."""
    both.in_step()
    both.told(both.replica.url, "REPLICAOF", "NO", "ONE")
    both.told(both.url, "REPLICAOF", "127.0.0.1", str(both.replica.port))
    until(lambda: is_in_step(both.replica.url, both.url), "the process follows", 60)
    assert len(both.plan(around).units) == 2
    other = both.plan(around, data_at=both.replica.url)
    assert 'the server at "data_at" is process' in other.summary


_OURS = {
    "run_id": "a",
    "role": "slave",
    "connected_slaves": "0",
    "master_replid": "r",
    "master_link_status": "up",
    "slave_read_only": "1",
    "slave_repl_offset": "1000",
    "master_repl_offset": "1000",
}
_THEIRS = {
    "run_id": "b",
    "role": "master",
    "master_replid": "r",
    "master_repl_offset": "1000",
    "master_replid2": "r",
    "second_repl_offset": "1001",
}


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        ({}, {}, ""),
        ({"role": "master"}, {}, ""),
        ({"role": "master", "master_repl_offset": "1001"}, {}, "process took 1"),
        ({"role": "master", "master_replid": "q"}, {}, "never a replica"),
        ({"role": "master", "master_repl_offset": "?"}, {}, "do not tell"),
        ({"slave_repl_offset": "?"}, {}, "do not tell"),
        ({"slave_repl_offset": "1001"}, {}, "away from the promoted server"),
        ({}, {"master_repl_offset": "1049577"}, "away from the promoted server"),
        ({}, {"master_repl_offset": "1049576"}, ""),
        ({"master_link_status": "down"}, {}, "the link is down"),
        ({"slave_read_only": "0"}, {}, "writes of its own"),
        ({"connected_slaves": "2"}, {}, "2 replicas still follow"),
        ({"run_id": "b"}, {}, "the same server"),
        ({}, {"master_replid": "q"}, "follows another server"),
        ({}, {"role": "slave"}, "still a replica"),
        ({"role": ""}, {"master_replid2": ""}, "never a replica"),
    ],
)
def test_each_way_of_not_having_taken_over_is_told(
    ours: dict[str, str], theirs: dict[str, str], why: str
) -> None:
    """Whatever is not told is no proof."""
    found = judge_taking_over(Facts({**_OURS, **ours}), Facts({**_THEIRS, **theirs}), [])
    assert (bool(found), why in found) == (bool(why), True)


def test_both_servers_are_named_or_none() -> None:
    """One alone proves nothing; credentials are not repeated."""
    with pytest.raises(ValidationError, match="go together"):
        ProcessCare(data_at="valkey://127.0.0.1:1")
    care = {"data_at": "ftp://u:hush@h:1/x", "promoted": "valkey://h:port"}
    target = Target(
        name="a", kind="process", url="pidfile:/run/a.pid", process=ProcessCare.model_validate(care)
    )
    problems = KIND.requires(target)
    assert problems
    assert "hush" not in "".join(problems)
