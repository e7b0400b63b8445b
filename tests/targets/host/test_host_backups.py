"""Backups that retention does not keep go when room is short, exactly those, and by the site's own yes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from a_folder import CLAIM, around_of
from looking_at_host import a_host, report_of

from medic8.backups.repository import Repository
from medic8.errors import ChangedError, VerifyError
from medic8.model.plan import Plan
from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.safety.admission import admit
from medic8.targets.host.acts.backups import not_kept
from medic8.targets.host.kind import KIND
from medic8.targets.host.looks.backups import judge_backups
from medic8.targets.host.looks.files import Filled
from medic8.targets.kind import Surroundings
from tests.backups.backup_samples import NOW, a_backup

CROWDED, ROOMY = Filled(0.85, 0.1), Filled(0.5, 0.1)


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """Get a place with 20 backups of one day, of which retention keeps seven."""
    found = around_of(tmp_path.resolve())
    around = Surroundings(backups=found.backups, now=NOW, claims=found.claims)
    repository = Repository(around.backups, "grid", "lab")
    for number in range(20):
        repository.write(a_backup(timedelta(minutes=number), number=number))
    return around


def planned(target: Target, around: Surroundings, how_full: Filled = CROWDED) -> Plan:
    found = not_kept(Repository(around.backups, "grid", "lab"), around.backups, around.now)
    findings = judge_backups("grid", "lab", found, how_full)
    report = report_of(DiagnosticResult(diagnostic="backups", findings=findings, taken_at=NOW))
    (issue,) = report.issues
    return KIND.strategies["prune_backups"](issue, report, target)


def test_backups_are_an_issue_only_where_room_is_short(around: Surroundings) -> None:
    """And they are counted wherever there is any."""
    found = not_kept(Repository(around.backups, "grid", "lab"), around.backups, NOW)
    assert len(found) == 13
    assert judge_backups("grid", "lab", found, ROOMY) == judge_backups("grid", "lab", (), CROWDED) == ()
    result = KIND.diagnostics["backups"](a_host(), around)
    seen = result.reading("backups.not_kept")
    assert seen is not None
    assert seen.value == 13


def test_exactly_the_planned_backups_go_and_those_that_are_kept_stay(around: Surroundings) -> None:
    """Not if retention has another opinion by now, and never twice."""
    target = a_host(mode="act", allow=("prune_backups",))
    plan = planned(target, around)
    step = plan.units[0].steps[0]
    repository = Repository(around.backups, "grid", "lab")
    repository.write(a_backup(timedelta(minutes=-1), number=99))
    with KIND.open_session(target, around) as session:
        session.take_claim(CLAIM, lasts_s=60)
        with pytest.raises(ChangedError, match="does not keep 14"):
            session.prepare(step)
        step = (plan := planned(target, around)).units[0].steps[0]
        assert session.took_effect(step, "r1") is False
        with pytest.raises(VerifyError):
            session.verify(plan.units[0])
        session.swap(step, expected=session.capture(step), new=session.prepare(step), claim=CLAIM)
        session.verify(plan.units[0])
        assert session.took_effect(step, "r1") is True
        assert session.capture(step) is None
    assert len(repository.list(NOW).backups) == 7


def test_the_configuration_agrees_to_it_or_a_person_does(around: Surroundings) -> None:
    """Without either it waits."""
    target = a_host(mode="act", allow=("prune_backups",))
    agreed = target.model_copy(update={"prune_backups": True})
    plan = planned(target, around)
    assert admit(plan, target, is_agreed=KIND.agrees(plan, target)).waits_for_approval
    assert admit(plan, agreed, is_agreed=KIND.agrees(plan, agreed)).is_granted
