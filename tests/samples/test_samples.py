"""Samples are kept for a year, in a file that stays small."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from medic8.model.sample import Sample
from medic8.samples import SampleStore, thinned

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def at(seconds_ago: float, run: str = "a") -> Sample:
    return Sample(at=NOW - timedelta(seconds=seconds_ago), run=run, values={"used": seconds_ago})


@given(ages=st.lists(st.integers(-(10**6), 10**8), max_size=300, unique=True))
def test_thinning_keeps_order_and_the_newest_and_forgets_what_is_too_old(ages: list[int]) -> None:
    """And doing it twice is doing it once."""
    kept = thinned(map(at, ages), NOW)
    assert list(kept) == sorted(kept, key=lambda each: each.at)
    assert thinned(kept, NOW) == kept
    assert all(timedelta(0) <= NOW - each.at < timedelta(days=366) for each in kept)
    fitting = [age for age in ages if 0 <= age < 86_400]
    if fitting:
        assert at(min(fitting)) in kept


def test_however_often_one_looks_the_file_stays_small() -> None:
    """One a minute for a year and a half: a thousand are left, and the ends of the year are among them."""
    kept = thinned((at(60.0 * minutes) for minutes in range(60 * 24 * 550)), NOW)
    assert 900 < len(kept) < 1100
    assert (kept[-1].at, kept[0].at.year) == (NOW, 2025)
    assert NOW - kept[0].at > timedelta(days=364)


def test_what_was_kept_is_read_again_by_its_owner_only(tmp_path: Path) -> None:
    """Of each target by itself; lines that make no sense are left out, names as hostile as they are."""
    store = SampleStore(tmp_path / "samples")
    assert store.read("server") == ()
    hostile = at(0).model_copy(update={"values": {"bytes:\\x1b\n\u202e": 1.0}})
    store.add("server", at(4000))
    assert store.add("server", hostile) == (at(4000), hostile)
    store.add("other", at(1))
    file = tmp_path / "samples" / "server.jsonl"
    with file.open("a") as text:
        text.write('half a li\n{"at": 3}\n')
    assert store.read("server") == (at(4000), hostile)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert sorted(each.name for each in file.parent.iterdir()) == ["other.jsonl", "server.jsonl"]
