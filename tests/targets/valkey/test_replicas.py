"""The data of replicas are compared on real servers; what is said is held against an oracle of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

from medic8.local.scratch import ScratchValkey
from medic8.model.issue import Severity
from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.targets.facts import Facts
from medic8.targets.valkey.comparing import Compared, Differing, Following
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.looks.peers import peers_of
from medic8.targets.valkey.looks.replicas import judge_comparison, judge_replica_state, look_at_replicas
from tests.crash.scenes import around
from tests.replicas import contents, is_in_step, pair, until, writing, written_to


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ScratchValkey, ScratchValkey]]:
    """Get a primary and its replica, for all tests of this module."""
    with pair(tmp_path_factory.mktemp("pair")) as servers:
        yield servers


@pytest.fixture
def servers(two: tuple[ScratchValkey, ScratchValkey]) -> tuple[str, str]:
    """Get the addresses of both, with five hundred keys of all types, equal on both."""
    primary, replica = (each.url for each in two)
    with valkey.Valkey.from_url(replica) as client:
        client.replicaof("127.0.0.1", str(two[0].port))
    with valkey.Valkey.from_url(primary) as client:
        client.flushall(asynchronous=False)
        client.mset({f"key:{n}": n for n in range(400)})
        client.set("large", b"x" * 200_000)
        for n in range(20):
            client.hset(f"hash:{n}", mapping={str(m): m for m in range(20)})
            client.sadd(f"set:{n}", *range(20))
            client.rpush(f"list:{n}", *range(20))
            client.zadd(f"zset:{n}", {str(m): m for m in range(20)})
            client.set(f"later:{n}", n, px=10_000_000)
    until(lambda: is_in_step(primary, replica))
    return primary, replica


def look(primary: str, *replicas: str) -> DiagnosticResult:
    target = Target(name="server", kind="valkey", url=primary, replicas=replicas)
    return look_at_replicas(target, around(Path("unused")))


def differ(primary: str, replica: str) -> int:
    """How many keys are not the same, by plain clients."""
    one, other = contents(primary), contents(replica)
    return sum(one.get(name) != other.get(name) for name in one.keys() | other.keys())


def test_a_replica_that_was_written_to_is_found_though_its_offset_is_equal(servers: tuple[str, str]) -> None:
    """Changed, lost, added, of another type, and with another expiry: as many as the oracle counts."""
    primary, replica = servers
    assert look(primary, replica).findings == ()
    with written_to(replica) as client:
        client.set("key:1", "other")
        client.delete("key:2")
        client.set("theirs", "1")
        client.delete("set:3")
        client.rpush("set:3", "1")
        client.hset("hash:4", "4", "other")
        client.persist("later:5")
    assert is_in_step(primary, replica)
    (finding,) = look(primary, replica).findings
    assert (finding.code, finding.severity) == ("replication.diverged", Severity.ERROR)
    assert differ(primary, replica) == 6
    assert "of 501 keys sampled 6 differ" in finding.text


def test_writers_never_make_a_replica_that_is_behind_look_diverged(servers: tuple[str, str]) -> None:
    """Every key that is read changes hundreds of times a second; none of it counts."""
    primary, replica = servers
    with writing(primary, size=100, per_s=3000), writing(primary, size=2000, per_s=1000):
        for _ in range(15):
            assert look(primary, replica).findings == ()


def test_a_replica_that_nobody_named_is_compared_from_either_side(servers: tuple[str, str]) -> None:
    """Both are of one machine, and no password goes anywhere; a plan needs the site's own word."""
    primary, replica = servers
    assert look(primary).findings == look(replica).findings == ()
    with written_to(replica) as client:
        client.delete("key:7")
    for side in servers:
        (finding,) = look(side).findings
        assert (finding.code, finding.objects) == ("replication.diverged", ())
        assert "key:7" in {each.seen for each in finding.evidence}


def test_one_key_too_many_in_another_database_is_found_by_their_number(servers: tuple[str, str]) -> None:
    """A sample of the address's database would never meet it."""
    primary, replica = servers
    with written_to(replica) as client:
        client.execute_command("SELECT", 3)
        client.set("theirs", 1)
    (finding,) = look(primary, replica).findings
    assert "database 3 has 1 keys there, and 0 here" in finding.text
    with written_to(replica) as client:
        client.execute_command("SELECT", 3)
        client.delete("theirs")
    assert look(primary, replica).findings == ()


def test_who_the_server_names_gets_no_password_and_no_call_on_another_machine() -> None:
    """Whoever may write to a server can have it name anybody."""
    of_primary = Facts({"role": "master", "slave0": "ip=127.0.0.1,port=7001,state=online,offset=1,lag=0"})
    assert peers_of("valkey://127.0.0.1:7000/2", of_primary) == (["valkey://127.0.0.1:7001/2"], [])
    for address in (
        "valkey://user:secret@127.0.0.1:7000/0",
        "valkey://:secret@127.0.0.1:7000/0",
        "valkey://127.0.0.1:7000/0?password=secret",
        "valkey://10.0.0.1:7000/0",
        "unix:///run/valkey.sock",
    ):
        assert peers_of(address, of_primary) == ([], ["127.0.0.1:7001"])
    of_replica = Facts({"role": "slave", "master_host": "localhost", "master_port": "7000"})
    assert peers_of("valkeys://127.0.0.1:7001/0", of_replica)[0] == ["valkeys://127.0.0.1:7000/0"]


def test_a_replica_that_takes_less_than_is_written_is_behind_long_before_the_backlog_is_full(
    two: tuple[ScratchValkey, ScratchValkey], servers: tuple[str, str]
) -> None:
    """One that keeps up is not, however much is written, nor one that has fallen behind and catches up."""
    primary = servers[0]

    def lags() -> list[str]:
        result = DIAGNOSTICS["replication"](
            Target(name="server", kind="valkey", url=primary), around(Path("x"))
        )
        return [each.text for each in result.findings if each.code == "replication.lag"]

    with writing(primary, size=100_000, per_s=12), valkey.Valkey.from_url(primary) as client:
        assert lags() == []
        offset = client.info("replication")["master_repl_offset"]
        os.kill(two[1].pid, signal.SIGSTOP)
        try:
            until(lambda: client.info("replication")["master_repl_offset"] > offset + 5_000_000)
            (text,) = lags()
        finally:
            os.kill(two[1].pid, signal.SIGCONT)
        assert "falls back" in text
        until(lambda: lags() == [])


def test_a_second_primary_is_found_and_a_replica_of_another_server_too(
    servers: tuple[str, str], valkey_url: str
) -> None:
    """Whoever is named as a replica and is none."""
    primary, replica = servers
    with valkey.Valkey.from_url(replica) as client:
        client.replicaof("NO", "ONE")
        (finding,) = look(primary, replica).findings
        assert finding.code == "replication.two_primaries"
        other = valkey.Valkey.from_url(valkey_url).get_connection_kwargs()
        client.replicaof("127.0.0.1", str(other["port"]))
    until(lambda: is_in_step(valkey_url, replica))
    (finding,) = look(primary, replica).findings
    assert finding.code == "replication.foreign_primary"


def test_a_replica_that_is_away_is_said_to_be_unseen(servers: tuple[str, str]) -> None:
    """Nothing is known of its data."""
    result = look(servers[0], "valkey://127.0.0.1:1/0")
    assert result.findings == ()
    assert any("127.0.0.1:1" in line for line in result.unseen)


def seen(**changed: object) -> Following:
    usual: dict[str, object] = {
        "place": "10.0.0.2:6379",
        "run_id": "a" * 40,
        "role": "slave",
        "host": "10.0.0.1",
        "port": 6379,
        "is_up": True,
        "history": "b" * 40,
        "offset": 5,
    }
    return Following.model_validate(usual | changed)


def test_stale_reads_are_those_of_a_replica_that_lost_its_primary_and_answers_all_the_same() -> None:
    """Not of one that refuses, and not of a link that was down for a second."""
    (finding,) = judge_replica_state(seen(is_up=False, down_s=60), "b" * 40)
    assert finding.code == "replication.stale_reads"
    assert judge_replica_state(seen(is_up=False, down_s=60, serves_stale=False), "b" * 40) == ()
    assert judge_replica_state(seen(is_up=False, down_s=1), "b" * 40) == ()
    assert judge_replica_state(seen(), "b" * 40) == ()


def test_hostile_names_of_keys_are_shown_escaped() -> None:
    """Whatever a key is called."""
    compared = Compared(keys=10)
    name = b"\x1b[31m\xff" + b"x" * (1 << 20)
    compared.differing[name] = Differing(name=name, expires_at_ms=-1)
    (finding,) = judge_comparison(seen(), compared, 1)
    assert all(each.seen.isprintable() for each in finding.evidence)
    assert sum(len(each.seen) for each in finding.evidence) < 400
