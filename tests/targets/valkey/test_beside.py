"""What a server keeps for clients that cache and for replicas that do not come is found where it is much."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import valkey

from medic8.local.scratch import scratch_valkey
from medic8.model.issue import IssueType
from medic8.model.sample import Sample
from medic8.samples import SampleStore
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.beside import REPLICAS, judge_idle_backlog, judge_tracking, tracking_bytes
from medic8.targets.valkey.looks.growth import look_at_growth
from tests.replicas import until
from tests.targets.valkey.looking_at import AROUND, NOW, a_target, found, look, report_of

MIB = 1 << 20
HOUR = timedelta(hours=1)

#: Has a client read many keys, which need not be there to be tracked.
READ = """
for first = ARGV[1], ARGV[2] - 1, 4000 do
    local names = {}
    for number = 1, 4000 do names[number] = 'page:' .. (1000000 + first + number) end
    redis.call('EXISTS', unpack(names))
end
"""


@pytest.fixture
def own_url(tmp_path: Path) -> Iterator[str]:
    """Get the address of a server for one test: what was filled once keeps pages that nothing uses."""
    with scratch_valkey(tmp_path) as server:
        yield server.url


@contextlib.contextmanager
def caching(url: str, keys: int, *, mode: tuple[str, ...] = ()) -> Iterator[None]:
    """Somebody has read so many *keys*, by the thousand four, and wants to be told when they change."""
    with valkey.Valkey.from_url(url, protocol=3) as client:
        client.execute_command("CLIENT", "TRACKING", "on", *mode)
        for first in range(0, keys, 100_000):
            client.eval(READ, 0, first, min(keys, first + 100_000))
        yield


def test_of_what_the_table_takes_most_is_told_and_never_more(valkey_url: str) -> None:
    """The server does not tell it; two clients have read the same keys."""
    with valkey.Valkey.from_url(valkey_url) as client:
        before = client.info("memory")["used_memory"]
        with caching(valkey_url, 100_000), caching(valkey_url, 100_000):
            grown = client.info("memory")["used_memory"] - before
            taken = look(valkey_url, "memory").reading("memory.tracking")
    assert taken is not None
    assert 0.7 * grown < int(taken.value) <= grown


def test_a_table_that_takes_much_is_a_leak_also_when_nobody_tracks_any_more(own_url: str) -> None:
    """Keys that were read once and are never written stay in it, whoever has gone."""
    with valkey.Valkey.from_url(own_url) as client:
        client.config_set("tracking-table-max-keys", "0")  # it has no limit
        with caching(own_url, 1_100_000):
            result = look(own_url, "memory")
            assert "used memory: 1,100,000 keys" in found(result, "memory.tracking").text
            client.config_set("maxmemory", "1gb")  # of which it is little
            assert look(own_url, "memory").findings == ()
            client.config_set("maxmemory", "0")
        until(lambda: client.info("clients")["tracking_clients"] == 0)
        result = look(own_url, "memory")
        (issue,) = report_of(result).issues
        assert (issue.issue_type, issue.about) == (IssueType.MEMORY_LEAK, "tracking table")
        assert "no client tracks any more" in found(result, "memory.tracking").text
        assert not any("CLIENT LIST" in line for line in issue.advice)


def test_a_full_table_is_found_and_one_by_prefixes_keeps_nothing(valkey_url: str) -> None:
    """At its limit the server forgets keys, and clients are told of changes that were none."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.config_set("tracking-table-max-keys", "12000")
        with caching(valkey_url, 4000):
            assert look(valkey_url, "memory").findings == ()
        client.flushall()
        with caching(valkey_url, 60_000):
            until(lambda: client.info("stats")["tracking_total_keys"] <= 12_000)
            (finding,) = look(valkey_url, "memory").findings
        assert finding.code == "memory.tracking_full"
        assert any("CONFIG SET tracking-table-max-keys 24000" in line for line in finding.advice)
        client.flushall()
        with caching(valkey_url, 60_000, mode=("BCAST", "PREFIX", "page:")):
            assert client.info("stats")["tracking_total_keys"] == 0
            assert look(valkey_url, "memory").findings == ()


def test_a_table_is_judged_by_what_the_server_tells() -> None:
    """No table, no limit, nobody who tracks, a server that does not know it."""
    full = {"tracking_total_keys": "1000", "tracking_total_items": "1000", "used_memory": "1000000"}
    limit = Facts({"tracking-table-max-keys": "1000"})
    for clients, settings, is_full in (("1", limit, True), ("0", limit, False), ("1", Facts({}), False)):
        facts = Facts({**full, "tracking_clients": clients})
        assert bool(judge_tracking(facts, settings)) is is_full
    assert (
        judge_tracking(Facts({**full, "tracking_clients": "1"}), Facts({"tracking-table-max-keys": "0"}))
        == ()
    )
    assert judge_tracking(Facts({"tracking_total_keys": "0", "tracking_total_items": "0"}), limit) == ()
    assert judge_tracking(Facts({}), limit) == ()
    assert tracking_bytes(Facts({})) is None


def alone(hours: float, *, run: str = "a", replicas: float | None = 0.0, count: int = 5) -> list[Sample]:
    """Samples of so many hours before now, of which the first has one replica."""
    values = [1.0] + [replicas] * count
    return [
        Sample(
            at=NOW - HOUR * hours * (count - number) / (count - 1) if number else NOW - HOUR * (hours + 1),
            run=run,
            values={} if value is None else {REPLICAS: value},
        )
        for number, value in enumerate(values)
    ]


KEPT = {"role": "master", "mem_replication_backlog": str(200 * MIB), "used_memory": str(400 * MIB)}


@pytest.mark.parametrize(
    ("hours", "changed", "is_found"),
    [
        (2.0, {}, True),
        (0.9, {}, False),  # a replica that is just away needs it
        (2.0, {"role": "slave"}, False),  # it may be promoted
        (2.0, {"mem_replication_backlog": str(20 * MIB)}, False),  # little
        (2.0, {"maxmemory": str(4096 * MIB)}, False),  # little of what there is
        (2.0, {"maxmemory": str(1024 * MIB)}, True),
    ],
)
def test_a_backlog_is_idle_where_no_replica_has_come_for_an_hour(
    hours: float, changed: dict[str, str], is_found: bool
) -> None:
    """And takes a tenth of the memory or more."""
    findings = judge_idle_backlog(alone(hours), Facts({**KEPT, **changed}))
    assert [each.code for each in findings] == ["memory.idle_backlog"] * is_found
    assert all("no replica for" in each.text for each in findings)


def test_where_nobody_knows_of_replicas_nothing_is_said() -> None:
    """Samples of an earlier Medic8, none at all, or one replica that was seen."""
    for samples in (alone(5, replicas=None), [], alone(5, replicas=1.0), alone(5)[:1]):
        assert judge_idle_backlog(samples, Facts(KEPT)) == ()


def test_a_backlog_that_nobody_needs_is_found_and_given_back_as_advised(own_url: str, tmp_path: Path) -> None:
    """A replica came once, and has been gone for two hours by what was kept of them."""
    store = SampleStore(tmp_path / "samples")
    with valkey.Valkey.from_url(own_url) as client:
        client.config_set("repl-backlog-size", "160mb")
        client.config_set("repl-backlog-ttl", "7200")
        with valkey.Valkey.from_url(own_url) as replica:
            replica.execute_command("SYNC")
        for number in range(14):
            client.set(f"page:{number % 2}", "x" * (8 * MIB))
        run = str(client.info("server")["run_id"])
        around = Surroundings(backups=AROUND.backups, now=NOW, samples=store)
        assert look_at_growth(a_target(own_url), around).findings == ()  # nobody knows for how long
        client.config_set("repl-backlog-ttl", "0")  # it would be kept for ever
        assert "though there is no replica" in found(look(own_url, "growth"), "memory.idle_backlog").text
        client.config_set("repl-backlog-ttl", "7200")
        for each in alone(2, run=run)[:-1]:
            store.add("server", each)
        result = look_at_growth(a_target(own_url), around)
        (issue,) = report_of(result).issues
        assert (issue.issue_type, issue.about) == (IssueType.MEMORY_LEAK, "idle replication backlog")
        assert any("CONFIG SET repl-backlog-ttl 3600" in line for line in issue.advice)
        client.config_set("repl-backlog-ttl", "1")
        until(lambda: client.info("memory")["mem_replication_backlog"] < MIB)
        assert look_at_growth(a_target(own_url), around).findings == ()
