"""What waits for a person is listed, and opened to automation again by saying that it is dealt with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from medic8.model.recovery import RecoveryState
from medic8.model.report import Analysis, DiagnosticReport, Health
from medic8.model.resolution import Treatment
from medic8.model.target import Resource
from medic8.owner import this_process
from medic8.recovery.journal import Journal
from tests.recovery.memory import plan_of

if TYPE_CHECKING:
    from tests.cli.conftest import Answers, Medic8

AT = datetime(2026, 1, 31, tzinfo=UTC)
SERVER = (Resource(identity="valkey:1", carries="the server"),)


def test_a_recovery_that_needs_a_person_is_listed_and_acknowledged(medic8: Medic8, tmp_path: Path) -> None:
    """Exit code 1 while something waits; an id that fits nothing changes nothing."""
    assert medic8("acknowledge").code == 0
    journal = Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")
    recovery = journal.open(plan_of((("a", "b"),)), SERVER, this_process(), stands_on="", at=AT)
    journal.close(recovery, RecoveryState.NEEDS_PERSON, left=("look at a",), at=AT)
    listed = medic8("acknowledge")
    assert listed.code == 1
    assert "look at a" in listed.out
    assert medic8("acknowledge", "ffffffff").code == 2
    assert len(journal.holding()) == 1
    assert medic8("acknowledge", recovery.id[:8]).code == 0
    assert journal.holding() == ()
    assert medic8("acknowledge").code == 0
    journal.dispose()


def test_a_heal_does_not_end_well_while_something_waits_for_a_person(
    medic8: Medic8, answers: Answers, tmp_path: Path
) -> None:
    """The grid may be healthy and its resource still closed to automation: exit code 1, and why."""
    assert medic8("acknowledge").code == 0
    journal = Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")
    plan = plan_of((("a", "b"),)).model_copy(update={"target": "pot"})
    recovery = journal.open(plan, SERVER, this_process(), stands_on="", at=AT)
    report = DiagnosticReport(
        target="pot", kind="teapot", analysis=Analysis(health=Health.HEALTHY), taken_at=AT
    )
    answers.treatment = Treatment(target="pot", kind="teapot", before=report)
    answers.report = report
    assert medic8("heal", "pot").code == 0
    assert "is under way" in medic8("diagnose", "pot").err
    journal.close(recovery, RecoveryState.NEEDS_PERSON, at=AT)
    healed = medic8("heal", "pot")
    assert healed.code == 1
    assert "waits for a person" in healed.err
    journal.dispose()
