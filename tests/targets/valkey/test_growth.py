"""Memory that grows without end is found within seconds or over days, and told from what looks like it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import valkey

from medic8.local.scratch import scratch_valkey
from medic8.model.issue import Severity
from medic8.model.report import DiagnosticResult
from medic8.model.sample import Sample
from medic8.samples import SampleStore
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.growth import (
    BYTES_OF,
    EXPIRING,
    SCRIPTS,
    STAYING,
    USED,
    heavier,
    is_to_look_on,
    judge_growth,
    judge_kept,
    look_at_growth,
    sample_of,
)
from medic8.targets.valkey.looks.queues import never_taken
from tests.targets.valkey.looking_at import AROUND, NOW, a_target

WATCH_S = 6.0
MIB = 1 << 20

Writer = Callable[[valkey.Valkey, int], object]
Looks = dict[str, "Future[DiagnosticResult]"]


@contextlib.contextmanager
def writing(url: str, write: Writer) -> Iterator[None]:
    """Have somebody call *write* fifty times a second."""
    is_over = threading.Event()

    def go() -> None:
        with valkey.Valkey.from_url(url) as client:
            number = 0
            while not is_over.wait(0.02):
                write(client, number)
                number += 1

    writer = threading.Thread(target=go)
    writer.start()
    try:
        yield
    finally:
        is_over.set()
        writer.join(60)


def watched(url: str) -> DiagnosticResult:
    return look_at_growth(a_target(url), Surroundings(backups=AROUND.backups, now=NOW, watch_s=WATCH_S))


def codes(result: DiagnosticResult) -> list[str]:
    return [each.code for each in result.findings]


def leaking(client: valkey.Valkey, number: int) -> None:
    """A session of 40 KiB that never expires; other keys stand still beside it."""
    if number == 0:
        client.mset({f"page:{each}": "x" * 1000 for each in range(200)})
    client.set(f"session:{number}", "x" * 40_000)


def queueing(client: valkey.Valkey, _: int) -> None:
    """No key comes, one becomes larger."""
    client.rpush("jobs:waiting", "x" * 40_000)


def saw_tooth(client: valkey.Valkey, number: int) -> None:
    if number % 50 == 49:
        client.delete(*client.keys("batch:*"))
    client.set(f"batch:{number}", "x" * 40_000)


def cache(client: valkey.Valkey, number: int) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", "100mb")
    client.set(f"page:{number}", "x" * 40_000)


def warm_up(client: valkey.Valkey, number: int) -> None:
    client.set(f"session:{number}", "x" * 40_000, ex=3600)


def snapshots(client: valkey.Valkey, number: int) -> None:
    client.set(f"key:{number % 50}", "x" * 40_000)
    if number % 60 == 30:
        client.bgsave()


def bulk_import(client: valkey.Valkey, number: int) -> None:
    if number == 100:
        for each in range(500):
            client.set(f"import:{each}", "x" * 40_000)


HARMLESS: list[Writer] = [saw_tooth, cache, warm_up, snapshots, bulk_import]


def seen_while(writer: Writer, folder: Path) -> DiagnosticResult:
    """What is seen on a server of its own, to which *writer* writes fifty times a second."""
    folder.mkdir()
    with scratch_valkey(folder) as server, writing(server.url, writer):
        return watched(server.url)


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looks]:
    """Get a look at each writer, all of them in the same seconds: nearly all of the time is waiting."""
    folder = tmp_path_factory.mktemp("writers")
    writers = [leaking, queueing, *HARMLESS]
    with ThreadPoolExecutor(len(writers)) as pool:
        yield {each.__name__: pool.submit(seen_while, each, folder / each.__name__) for each in writers}


def test_a_watch_goes_on_until_a_trend_can_be_told() -> None:
    """Of a server that is held up, no ten looks fit into four seconds."""
    assert is_to_look_on(3.9, 4.0, 2)
    assert is_to_look_on(9.0, 4.0, 9)
    assert not is_to_look_on(9.0, 4.0, 12)
    assert not is_to_look_on(17.0, 4.0, 9)
    assert not is_to_look_on(2.1, 2.0, 8), "it was asked for too short a one"
    assert not is_to_look_on(0.25, 0.0, 1), "nothing is watched unless somebody asks"


def test_what_grows_is_told_within_seconds_with_its_rate_and_its_prefix(looks: Looks) -> None:
    """A session of 40 KiB fifty times a second that never expires; an import would look the same."""
    result = looks["leaking"].result()
    (finding,) = result.findings
    assert (finding.code, finding.severity) == ("memory.grows", Severity.INFO)
    assert "an import does so as well" in finding.text
    assert "keys session… that never expire" in finding.text
    rate = result.reading("growth.watched.rate")
    assert rate is not None
    assert 200_000 < int(rate.value) < 4_000_000
    assert any("session:" in each.seen and "unused for" in each.seen for each in finding.evidence)


def test_a_list_that_nobody_takes_from_is_found(looks: Looks) -> None:
    """No key comes, one becomes larger, and nobody has ever taken from it: that is an issue at once."""
    (finding,) = looks["queueing"].result().findings
    assert (finding.code, finding.severity) == ("memory.leak", Severity.WARNING)
    assert "values of the keys jobs… that become larger" in finding.text


@pytest.mark.parametrize("busy", HARMLESS)
def test_what_only_looks_like_a_leak_is_none(looks: Looks, busy: Writer) -> None:
    """Batches that are deleted, a cache on its way to its limit, keys that expire, snapshots, an import."""
    assert codes(looks[busy.__name__].result()) == []


def test_output_that_waits_is_no_leak_of_data() -> None:
    """It is found as what it is, by who it waits for: buffers are no part of what is kept."""
    facts = Facts({"used_memory": "1000", "mem_clients_normal": "300", "mem_clients_slaves": "200"})
    sample = sample_of(facts, (), NOW)
    assert sample is not None
    assert sample.values[USED] == 500


def slow(used: Callable[[int], float], *, count: int = 48, run: str = "a", **also: float) -> list[Sample]:
    """An hourly sample for two days before now."""
    return [
        Sample(
            at=NOW - timedelta(hours=count - number),
            run=run,
            values={USED: used(number), STAYING: 1000.0, EXPIRING: 0.0, SCRIPTS: 0.0, **also},
        )
        for number in range(count)
    ]


def minutes(count: int, **also: float) -> list[Sample]:
    """1 MiB more every minute."""
    return [
        Sample(
            at=NOW - timedelta(minutes=count - number),
            run="a",
            values={USED: (10 + number) * MIB, STAYING: 1.0, EXPIRING: 0.0, SCRIPTS: 0.0, **also},
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("samples", "queues", "code"),
    [
        (minutes(59), (), "memory.grows"),
        (minutes(62), (), "memory.leak"),
        (minutes(59, **{f"{BYTES_OF}jobs": 9.0}), ("jobs",), "memory.leak"),
        (minutes(59, **{f"{BYTES_OF}jobs": 9.0}), ("news",), "memory.grows"),
    ],
)
def test_what_grows_is_a_leak_after_an_hour_or_if_nobody_ever_took_from_it(
    samples: list[Sample], queues: tuple[str, ...], code: str
) -> None:
    """An import grows as evenly, and ends."""
    (finding,) = judge_growth(samples, NO_LIMIT, queues=queues)
    assert finding.code == code
    assert (finding.severity is Severity.INFO) is (code == "memory.grows")


def test_a_leak_of_days_is_not_hidden_by_what_grows_now() -> None:
    """Of both judgements the worse one is told."""
    (now,), (days,) = judge_growth(minutes(30), NO_LIMIT), judge_growth(minutes(90), NO_LIMIT)
    assert heavier((now,), (days,)) == heavier((days,), (now,)) == (days,)
    assert heavier((now,), ()) == heavier((), (now,)) == (now,)


@pytest.mark.parametrize(
    ("calls", "is_so"),
    [({"rpush": 5}, True), ({"rpush": 5, "blpop": 1}, False), ({"lpush": 5, "del": 1}, False), ({}, False)],
)
def test_who_has_ever_taken_from_a_list_is_told_by_the_servers_own_count(
    calls: dict[str, int], is_so: bool
) -> None:
    """One element taken, of whichever list, and a list that grows may just have a busy hour."""
    counts = Facts({f"cmdstat_{name}": f"calls={count},usec=1" for name, count in calls.items()})
    assert never_taken(counts) is is_so


NO_LIMIT = Facts({"maxmemory": "0", "maxmemory_policy": "noeviction"})


def test_a_slow_leak_shows_across_diagnoses(valkey_url: str, tmp_path: Path) -> None:
    """1 MiB an hour, which no watch of a minute would see: since when, how fast, of how many samples."""
    store = SampleStore(tmp_path / "samples")
    with valkey.Valkey.from_url(valkey_url) as client:
        client.setrange("large", 60 * MIB, "x")
        memory, run = client.info("memory"), str(client.info("server")["run_id"])
    now_used = float(memory["used_memory"])
    for each in slow(lambda number: now_used - (48 - number) * MIB, run=run):
        store.add("server", each)
    around = Surroundings(backups=AROUND.backups, now=NOW, samples=store)
    (finding,) = look_at_growth(a_target(valkey_url), around).findings
    assert finding.code == "memory.leak"
    assert "an hour, steadily for 48 h" in finding.text
    assert {each.what for each in finding.evidence} >= {"grows since", "samples", "growth an hour"}
    assert len(store.read("server")) == 49


def test_samples_of_an_earlier_run_of_the_server_are_not_compared() -> None:
    """A restart begins anew; what was there before tells nothing of now."""
    grows = slow(lambda number: 100 * MIB + number * MIB)
    assert judge_kept(grows, NO_LIMIT) != ()
    restarted = [each.model_copy(update={"run": "b"}) for each in grows[-5:]]
    assert judge_kept([*grows[:-5], *restarted], NO_LIMIT) == ()


def test_growth_that_has_an_end_is_no_leak() -> None:
    """A cache that may evict; keys that expire, until a few of their lifetimes have passed."""
    grows = slow(lambda number: 100 * MIB + number * MIB)
    evicts = Facts({"maxmemory": str(1 << 30), "maxmemory_policy": "allkeys-lfu"})
    assert judge_growth(grows, evicts) == ()
    sessions = [
        each.model_copy(update={"values": {**each.values, EXPIRING: 1000.0 * number}})
        for number, each in enumerate(grows)
    ]
    for days, is_leak in ((1, False), (0.5, True)):
        lives = Facts({**NO_LIMIT, "db0": f"keys=9,expires=9,avg_ttl={int(days * 86_400_000)}"})
        assert bool(judge_growth(sessions, lives)) is is_leak


def test_a_sample_that_cannot_be_kept_is_said(valkey_url: str, tmp_path: Path) -> None:
    """The diagnosis goes on."""
    (tmp_path / "file").write_text("")
    around = Surroundings(backups=AROUND.backups, now=NOW, samples=SampleStore(tmp_path / "file"))
    with pytest.raises(OSError, match="file"):
        around.samples.add("server", slow(lambda _: 1.0)[0])
    assert any("could not be kept" in each for each in look_at_growth(a_target(valkey_url), around).unseen)
