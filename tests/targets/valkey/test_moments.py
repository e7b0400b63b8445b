"""Looks of one diagnosis share what they read of INFO; each judges as if it had waited by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import valkey
from looking_at import AROUND, a_target

from medic8.local.scratch import scratch_valkey
from medic8.targets.facts import Facts
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.looks.moments import Moment, Moments, MomentsOfDiagnoses

_WRITTEN_BYTES = 32 << 20


def growth_seen(url: str, diagnosis: str) -> Any:
    result = DIAGNOSTICS["memory"](a_target(url), replace(AROUND, diagnosis=diagnosis))
    return next(each.value for each in result.readings if each.name == "memory.growth")


def test_a_look_compares_with_what_an_earlier_one_of_its_diagnosis_read(valkey_url: str) -> None:
    """So it need not wait; one of another diagnosis knows nothing of it."""
    assert growth_seen(valkey_url, "first") < 1 << 20
    with valkey.Valkey.from_url(valkey_url) as client:
        client.set("large", b"x" * _WRITTEN_BYTES)
    assert growth_seen(valkey_url, "first") > 1 << 20
    assert growth_seen(valkey_url, "second") < 1 << 20
    assert growth_seen(valkey_url, "") < 1 << 20


def test_what_a_server_said_before_it_started_anew_is_not_compared_with(tmp_path: Path) -> None:
    """Counters have begun again, and memory is another process's."""
    with scratch_valkey(tmp_path) as server:
        with valkey.Valkey.from_url(server.url) as client:
            client.set("large", b"x" * _WRITTEN_BYTES)
        growth_seen(server.url, "across")
        server.kill()
        server.start()
        assert abs(growth_seen(server.url, "across")) < 1 << 20


def test_moments_lie_as_far_apart_as_was_asked_for_and_not_too_long_ago() -> None:
    """The latest that do, the oldest first; of what was refused there is none."""
    moments = Moments(are_shared=True)
    assert moments.add(Facts({})).facts == {}
    now = moments.add(Facts({"run_id": "a"}))
    for ago_s in (30.0, 0.9, 0.8, 0.45, 0.1):
        moments._taken.insert(-1, Moment(now.facts, now.at_s - ago_s))
    found = moments.before(now, times=2, interval_s=0.3)
    assert [round(now.at_s - each.at_s, 2) for each in found] == [0.8, 0.45]
    assert [round(now.at_s - each.at_s, 2) for each in moments.before(now, times=9, interval_s=0.5)] == [0.8]
    assert Moments().before(now, times=2, interval_s=0.3) == []


def test_diagnoses_that_are_over_are_forgotten() -> None:
    """A worker that lives for months keeps what the last few read."""
    kept = MomentsOfDiagnoses()
    first = kept.of("first", "valkey://a")
    assert kept.of("first", "valkey://a") is first
    assert kept.of("first", "valkey://b") is not first
    for number in range(100):
        kept.of(str(number), "valkey://a")
    assert kept.of("first", "valkey://a") is not first
    assert len(kept._kept) < 100
