"""A stream that grows for ever is told from one that is trimmed, that swings, and that stands still."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import valkey
from hypothesis import given
from hypothesis import strategies as st

from medic8.analysis.trends import FALSE_ALARM
from medic8.model.issue import IssueType
from medic8.model.sample import Sample
from medic8.samples import SampleStore
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.looks.growth import look_at_growth
from medic8.targets.valkey.looks.streams import (
    Counts,
    Details,
    Number,
    is_endless,
    judged,
    rising,
    values_of,
)
from tests.targets.valkey.looking_at import AROUND, NOW, a_target, found, report_of

HOUR_S = 3600.0
NO_LIMIT = Facts({"maxmemory": "0", "maxmemory_policy": "noeviction"})

#: Of a stream that nobody has ever trimmed, with entries of a KiB.
UNTRIMMED = Details(entry_bytes=1024.0, expires=False, is_trimmed=False)


def a_number(counts: Counts = Counts.ENTRIES, stream: bytes = b"events") -> Number:
    return Number(counts, stream, b"" if counts is Counts.ENTRIES else b"readers", 1.0)


def samples_of(series: dict[Number, Sequence[float]], *, step_s: float) -> list[Sample]:
    count = len(next(iter(series.values())))
    return [
        Sample(
            at=NOW - timedelta(seconds=(count - 1 - at) * step_s),
            run="a",
            values=values_of(each._replace(value=float(values[at])) for each, values in series.items()),
        )
        for at in range(count)
    ]


def endless(
    values: Sequence[float],
    *,
    step_s: float = 1.0,
    counts: Counts = Counts.ENTRIES,
    known: Details = UNTRIMMED,
    facts: Facts = NO_LIMIT,
) -> bool:
    """Whether a stream that had so many entries is said to grow for ever."""
    number = a_number(counts)
    grows = rising(samples_of({number: values}, step_s=step_s), [number])
    return any(is_endless(each, known, facts) for each in grows)


@given(
    cap=st.integers(100, 10**7),
    node=st.integers(1, 4096),
    teeth=st.floats(2, 40),
    phase=st.floats(0, 1),
    count=st.integers(24, 200),
)
def test_a_stream_that_is_trimmed_to_a_length_never_grows(
    cap: int, node: int, teeth: float, phase: float, count: int
) -> None:
    """MAXLEN ~ N takes whole nodes: a saw-tooth of their size, at whatever moment one looks."""
    position = np.arange(count) / count * teeth + phase
    assert not endless(cap + np.floor(node * (position % 1)))


@given(level=st.integers(0, 10**12), count=st.integers(10, 200))
def test_a_stream_to_which_nobody_adds_never_grows(level: int, count: int) -> None:
    """However long it is."""
    assert not endless([level] * count)


@given(hours=st.integers(40, 100), start=st.integers(0, 23), deep=st.floats(1, 100), noise=st.integers(0, 99))
def test_what_follows_the_traffic_of_a_day_never_grows(
    hours: int, start: int, deep: float, noise: int
) -> None:
    """Entries that are kept for an hour, or that wait for a group: many by day and few by night."""
    at = np.arange(hours) + start
    swing = (1 - np.cos(at / 24 * 2 * np.pi)) / 2
    values = 10_000 * (1 + deep * swing) + np.random.default_rng(noise).normal(0, 100, hours)
    for counts in Counts:
        known = UNTRIMMED._replace(is_trimmed=True)
        assert not endless(values, step_s=HOUR_S, counts=counts, known=known)


def test_noise_is_called_growth_as_seldom_as_is_stated_for_all_streams_together() -> None:
    """Of 100 servers with eight streams and their groups none, where one in a thousand may be."""
    numbers = [a_number(each, b"%d" % stream) for stream in range(8) for each in Counts]
    rng, called = np.random.default_rng(3), 0
    for _ in range(100):
        series = {each: list(rng.poisson(1e6, 12)) for each in numbers}
        called += bool(rising(samples_of(series, step_s=1.0), numbers))
    assert called <= 100 * FALSE_ALARM


def test_the_more_streams_are_looked_at_the_surer_each_has_to_be() -> None:
    """What is beyond chance for one of one is not for one of twenty-four."""
    values = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]
    numbers = [a_number(each, b"%d" % stream) for stream in range(8) for each in Counts]
    series = {each: [5.0] * len(values) for each in numbers}
    (first, *_) = numbers
    series[first] = [float(each) for each in values]
    samples = samples_of(series, step_s=1.0)
    assert [each.number for each in rising(samples, [first])] == [first]
    assert rising(samples, numbers) == ()


@given(
    start=st.integers(0, 10**6),
    share=st.floats(0.2, 10),
    count=st.integers(30, 200),
    seed=st.integers(0, 99),
)
def test_a_stream_to_which_all_add_and_nobody_trims_is_found(
    start: int, share: float, count: int, seed: int
) -> None:
    """With its rate, whatever it began with."""
    rise = max(start * share, 5000.0)
    number, rng = a_number(), np.random.default_rng(seed)
    values = start + np.linspace(0, rise, count) + rng.uniform(0, 0.05, count) * rise
    ((_, growth),) = rising(samples_of({number: values}, step_s=1.0), [number])
    assert growth.per_s * (count - 1) == pytest.approx(rise, rel=0.2)
    assert endless(values)


LINE = [10_000 + 1000 * at for at in range(30)]


@pytest.mark.parametrize(
    ("known", "facts", "is_found"),
    [
        (UNTRIMMED, NO_LIMIT, True),
        (UNTRIMMED._replace(expires=True), NO_LIMIT, False),
        (UNTRIMMED._replace(entry_bytes=16.0), NO_LIMIT, False),  # less than a MiB in all
        (UNTRIMMED._replace(entry_bytes=0.0), NO_LIMIT, False),  # nobody may ask what it takes
        (UNTRIMMED, Facts({"maxmemory": "9", "maxmemory_policy": "allkeys-lru"}), False),
        (UNTRIMMED, Facts({"maxmemory": "9", "maxmemory_policy": "volatile-lru"}), True),
    ],
)
def test_growth_that_has_an_end_is_none(known: Details, facts: Facts, is_found: bool) -> None:
    """One that expires or may be evicted, or that is small."""
    assert endless(LINE, known=known, facts=facts) is is_found


@pytest.mark.parametrize("is_trimmed", [True, None])
@pytest.mark.parametrize(("step_s", "is_found"), [(1.0, False), (HOUR_S / 2, False), (HOUR_S, True)])
def test_what_is_trimmed_or_taken_has_to_grow_for_a_day(
    step_s: float, is_trimmed: bool | None, is_found: bool
) -> None:
    """Thirty seconds and fifteen hours may be a busy time; thirty hours are not."""
    known = UNTRIMMED._replace(is_trimmed=is_trimmed)
    assert endless(LINE, step_s=step_s, known=known) is is_found
    for counts in (Counts.PENDING, Counts.LAG):
        assert endless(LINE, step_s=step_s, counts=counts) is is_found


def test_a_group_that_is_a_few_behind_is_no_finding() -> None:
    """A thousand entries at least."""
    few = [at * 30 for at in range(30)]
    assert not endless(few, step_s=HOUR_S, counts=Counts.PENDING)
    assert endless([each * 2 for each in few], step_s=HOUR_S, counts=Counts.PENDING)


@pytest.mark.parametrize(
    ("label", "left"),
    [("", 3), ("events", 2), ("audit e*s", 2), ("Events", 3), ("vents", 3), ("*", 2), ("[", 3)],
)
def test_who_names_streams_to_keep_hears_of_their_groups_only(label: str, left: int) -> None:
    """By the whole name."""
    assert len(judged([a_number(each) for each in Counts], label)) == left


def events(client: valkey.Valkey, _: int) -> None:
    client.xadd("events", {"what": "x" * 8000})


def capped(client: valkey.Valkey, _: int) -> None:
    client.xadd("capped", {"what": "x" * 8000}, maxlen=200, approximate=True)


def exact(client: valkey.Valkey, _: int) -> None:
    client.xadd("capped", {"what": "x"}, maxlen=10_000, approximate=False)


def queue(client: valkey.Valkey, number: int) -> None:
    """Done as fast as it comes, but for a while."""
    added = client.xadd("queue", {"what": "x" * 500})
    if number < 20:
        client.xdel("queue", cast("bytes", added))


@contextmanager
def adding(url: str, *adders: Callable[[valkey.Valkey, int], object]) -> Iterator[None]:
    """Have somebody call each of *adders* a hundred times a second."""
    is_over = threading.Event()

    def go() -> None:
        with valkey.Valkey.from_url(url) as client:
            number = 0
            while not is_over.wait(0.01):
                for add in adders:
                    add(client, number)
                number += 1

    adder = threading.Thread(target=go)
    adder.start()
    try:
        yield
    finally:
        is_over.set()
        adder.join(60)


def test_of_streams_that_grow_now_the_one_that_nobody_trims_is_found(valkey_url: str) -> None:
    """Within seconds, by the user that the document describes, and as what makes memory grow."""
    rules = next(
        line.split(">PASSWORD ")[1].split()
        for line in (Path(__file__).parents[3] / "docs" / "diagnosis-of-servers.md").read_text().splitlines()
        if line.startswith("ACL SETUSER medic8 on >PASSWORD ")
    )
    with connection(valkey_url) as admin:
        admin.execute_command("ACL", "SETUSER", "medic8", "on", "nopass", *rules)
        for number in range(250):
            capped(admin, number)
        events(admin, 0)
    url = valkey_url.replace("valkey://", "valkey://medic8:any@")
    around = Surroundings(backups=AROUND.backups, now=NOW, watch_s=3.5)
    with adding(valkey_url, events, capped, queue):
        result = look_at_growth(a_target(url), around)
    finding = found(result, "keys.growing_stream")
    assert finding.text.startswith("stream events grows by")
    assert "nobody has ever trimmed it" in finding.text
    assert any("has not come to yet" in each.what for each in finding.evidence)
    assert any("XADD events MAXLEN '~' N" in line for line in finding.advice)
    assert {each.code for each in result.findings} == {"keys.growing_stream", "memory.grows"}
    (issue,) = report_of(result).issues
    assert (issue.issue_type, issue.about) == (IssueType.MEMORY_LEAK, "stream events")


def test_a_long_stream_that_was_never_trimmed_is_found_at_once(valkey_url: str) -> None:
    """Without a watch; one that is trimmed, or that nobody writes to, is well."""
    fill = "for i = 1, 10000 do redis.call('XADD', KEYS[1], '*', 'what', string.rep('x', 200)) end"
    with connection(valkey_url) as client:
        for name in ("events", "capped", "archive"):
            client.eval(fill, 1, name)
    with adding(valkey_url, events, exact):
        result = look_at_growth(a_target(valkey_url), AROUND)
        kept = look_at_growth(a_target(valkey_url, labels={"keep-streams": "events"}), AROUND)
    finding = found(result, "keys.growing_stream")
    assert finding.about == "stream events"
    assert "holds all of the 10," in finding.text
    assert kept.findings == ()


def test_a_stream_and_a_group_that_fall_behind_for_days_show_across_diagnoses(
    valkey_url: str, tmp_path: Path
) -> None:
    """One that is trimmed too little; beside one whose length stays and which nobody acknowledges."""
    store = SampleStore(tmp_path / "samples")
    with valkey.Valkey.from_url(valkey_url) as client:
        pipe = client.pipeline(transaction=False)
        for number in range(4000):
            pipe.xadd("orders", {"what": "x" * 1000})
            pipe.xadd("jobs", {"job": number})
        pipe.execute()
        client.xtrim("orders", maxlen=3900)
        client.xgroup_create("jobs", "workers", "0")
        client.xreadgroup("workers", "one", {"jobs": ">"}, count=3500)
        run = str(client.info("server")["run_id"])
    jobs, orders = Number(Counts.ENTRIES, b"jobs", b"", 4000.0), a_number(stream=b"orders")
    pending = Number(Counts.PENDING, b"jobs", b"workers", 0.0)
    lag = Number(Counts.LAG, b"jobs", b"workers", 500.0)
    for hours in range(30, 0, -1):
        less = hours / 31
        values = values_of(
            (jobs, lag, orders._replace(value=3900 * (1 - less)), pending._replace(value=3500 * (1 - less)))
        )
        store.add("server", Sample(at=NOW - timedelta(hours=hours), run=run, values=values))
    around = Surroundings(backups=AROUND.backups, now=NOW, samples=store)
    kept = look_at_growth(a_target(valkey_url, labels={"keep-streams": "orders"}), around)
    assert {each.code for each in kept.findings} == {"keys.growing_pending"}
    result = look_at_growth(a_target(valkey_url), around)
    assert {each.code: each.about for each in result.findings} == {
        "keys.growing_stream": "stream orders",
        "keys.growing_pending": "stream jobs",
    }
    assert "group workers of stream jobs is given" in found(result, "keys.growing_pending").text
    assert store.read("server")[-1].values["pending:jobs workers"] == 3500
