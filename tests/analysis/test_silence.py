"""A schedule that has stopped is noticed, and one that is late by a restart is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from medic8.analysis.silence import Heard, patience, watch

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def reason(**known: object) -> str:
    """Why a target that is diagnosed every five minutes counts as silent; empty if it does not."""
    heard = Heard.model_validate({"target": "cache", "every_s": 300, **known})
    found = watch([heard], NOW).silent
    return found[0].reason if found else ""


@pytest.mark.parametrize("every_s", [10, 60, 300, 86_400])
def test_three_runs_may_be_missed_and_five_minutes_in_any_case(every_s: int) -> None:
    """A worker that is restarted calls nobody."""
    allowed = patience(every_s)
    assert allowed == timedelta(seconds=max(3 * every_s, 300))
    deployed_at = NOW - timedelta(days=365)
    assert reason(every_s=every_s, deployed_at=deployed_at, last=NOW - allowed) == ""
    late = allowed + timedelta(seconds=1)
    assert "the last diagnosis ended" in reason(every_s=every_s, deployed_at=deployed_at, last=NOW - late)


def test_one_that_never_ran_has_as_much_time_from_when_it_was_deployed() -> None:
    """And no more: nobody would wait for what never comes."""
    assert reason(deployed_at=NOW - timedelta(minutes=15)) == ""
    assert "no diagnosis has ended" in reason(deployed_at=NOW - timedelta(minutes=15, seconds=1))


def test_a_schedule_that_is_paused_or_not_there_is_silence() -> None:
    """Whoever paused it may have forgotten."""
    assert "paused" in reason(deployed_at=NOW, last=NOW, is_paused=True)
    assert "medic8 deploy" in reason()


def test_targets_that_are_heard_of_are_not_named() -> None:
    """Everything that is known is told all the same."""
    well = Heard(target="well", every_s=60, deployed_at=NOW, last=NOW)
    found = watch([well, Heard(target="ill", every_s=60)], NOW)
    assert [each.target for each in found.silent] == ["ill"]
    assert [each.target for each in found.heard] == ["well", "ill"]
