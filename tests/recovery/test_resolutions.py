"""The index of resolutions, on both databases."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from medic8.model.statistics import Share, Tracked, Wanted
from medic8.recovery import resolutions, tables
from medic8.recovery.journal import Journal

AT = datetime(2026, 1, 31, tzinfo=UTC)


def tracked(run: str, **changed: object) -> Tracked:
    fields: dict[str, object] = {
        "run": run,
        "name": f"resolve leak of {run}",
        "target": "cache",
        "kind": "valkey",
        "issue": "memory_leak",
        "strategy": "restart",
        "outcome": "resolved",
        "state": "Resolved",
        "started_at": AT,
        "duration_s": 2.0,
        "detect_s": 0.5,
        "heal_s": 3.0,
    }
    return Tracked.model_validate(fields | changed)


def test_what_is_written_is_found_again_the_newest_first(journal: Journal) -> None:
    """Also by every filter, and no more than was asked for."""
    rows = [
        tracked("1", target="other", started_at=AT),
        tracked("2", issue="network_issues", started_at=AT + timedelta(seconds=1)),
        tracked("3", strategy="other", started_at=AT + timedelta(seconds=2.5)),
        tracked("4", outcome="", state="", duration_s=None, heal_s=None, started_at=AT + timedelta(days=1)),
    ]
    resolutions.write(journal, rows)
    assert resolutions.newest(journal, Wanted(), 10) == rows[::-1]
    assert resolutions.newest(journal, Wanted(), 2) == rows[:1:-1]
    for wanted, runs in (
        (Wanted(target="other"), ["1"]),
        (Wanted(issue="network_issues"), ["2"]),
        (Wanted(strategy="other"), ["3"]),
        (Wanted(outcome="resolved", target="cache"), ["3", "2"]),
        (Wanted(since=AT + timedelta(seconds=2.5)), ["4", "3"]),
        (Wanted(target="none"), []),
    ):
        assert [row.run for row in resolutions.newest(journal, wanted, 10)] == runs
    assert resolutions.count(journal) == 4


def test_a_run_has_one_row_and_the_last_word_stands(journal: Journal) -> None:
    """Written when it begins, when it ends, and again when somebody repeats that."""
    for row in (tracked("1", outcome="", state="", duration_s=None), tracked("1"), tracked("1")):
        resolutions.write(journal, [row])
    assert resolutions.newest(journal, Wanted(), 10) == [tracked("1")]


def test_only_what_is_missing_is_added(journal: Journal) -> None:
    """What the index knows better stays; what it has without an end is completed."""
    known, begun = tracked("known"), tracked("begun", outcome="", state="")
    resolutions.write(journal, [known, begun])
    told = [tracked(run, detect_s=9.0) for run in ("known", "begun", "new")]
    assert resolutions.add_missing(journal, told) == 2
    found = {row.run: row for row in resolutions.newest(journal, Wanted(), 10)}
    assert found == {"known": known, "begun": told[1], "new": told[2]}
    assert resolutions.add_missing(journal, told) == 0
    assert resolutions.add_missing(journal, []) == 0


def test_a_run_is_found_by_its_beginning(journal: Journal) -> None:
    """What a database would take for a pattern is none."""
    resolutions.write(journal, [tracked("ab-1"), tracked("ab-2"), tracked("ac-1")])
    assert sorted(resolutions.beginning_with(journal, "AB", 9)) == ["ab-1", "ab-2"]
    assert resolutions.beginning_with(journal, "a_-", 9) == []
    assert len(resolutions.beginning_with(journal, "a", 2)) == 2


def test_the_database_counts_and_ranks_as_one_would_by_hand(journal: Journal) -> None:
    """Medians and percentiles are values that were seen; what was not measured does not count."""
    dice = random.Random(8)
    spans = [dice.uniform(0, 100) for _ in range(101)]
    rows = [tracked(f"a{n}", heal_s=span, detect_s=None) for n, span in enumerate(spans)]
    rows += [tracked(f"b{n}", outcome="restored", heal_s=None, strategy="other") for n in range(3)]
    rows.append(tracked("c", outcome="refused", heal_s=None, detect_s=7.0))
    resolutions.write(journal, rows)
    report = resolutions.report(journal, Wanted())
    other, restart = report.groups
    spans.sort()
    assert restart.heal is not None
    assert (restart.heal.count, restart.heal.median_s, restart.heal.p95_s) == (101, spans[50], spans[95])
    assert restart.detect is not None
    assert (restart.detect.count, restart.detect.p95_s) == (1, 7.0)
    assert (restart.count, restart.success.hits, restart.success.of) == (102, 101, 101)
    assert (other.heal, other.success.hits, other.success.of) == (None, 0, 3)
    assert (report.total.count, report.total.success.of) == (105, 104)
    assert report.total.heal == restart.heal
    assert report.total.detect is not None
    assert (report.total.detect.count, report.total.detect.median_s) == (4, 0.5)
    chosen = resolutions.report(journal, Wanted(strategy="other"))
    assert [group.strategy for group in chosen.groups] == ["other"]
    assert chosen.total.count == 3


def test_without_resolutions_there_are_no_statistics(journal: Journal) -> None:
    """Nothing was seen, so anything is possible."""
    report = resolutions.report(journal, Wanted())
    assert (report.groups, report.total.count) == ((), 0)
    assert report.total.success == Share(hits=0, of=0, low=0.0, high=1.0)


def test_who_counts_makes_nobody_wait_who_writes(journal: Journal) -> None:
    """A recovery notes its steps while somebody asks for statistics."""
    resolutions.write(journal, [tracked("1")])
    with journal.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.resolutions)) == 1
        writer = threading.Thread(target=resolutions.write, args=(journal, [tracked("2")]))
        writer.start()
        writer.join(8)  # SQLite would wait for ten seconds, and then give up
        assert not writer.is_alive()
    assert resolutions.count(journal) == 2


def test_a_journal_of_an_earlier_medic8_gets_the_table(journal_url: str) -> None:
    """It has the same schema otherwise, so that both may work with it."""
    Journal(journal_url)
    tables.resolutions.drop(tables.engine_for(journal_url))
    assert resolutions.count(Journal(journal_url)) == 0


@pytest.mark.parametrize("name", ["'; drop table resolutions; --", "ünï\U0001f980"])
def test_names_are_kept_as_they_are(journal: Journal, name: str) -> None:
    """Whoever wrote them."""
    resolutions.write(journal, [tracked("1", name=name)])
    assert resolutions.newest(journal, Wanted(), 1)[0].name == name
