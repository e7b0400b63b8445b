"""What waits for a person is listed, and opened to automation again by saying that it is dealt with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from medic8.model.recovery import RecoveryState
from medic8.model.target import Resource
from medic8.recovery.journal import Journal
from medic8.recovery.owner import this_process
from tests.recovery.memory import plan_of

if TYPE_CHECKING:
    from tests.cli.conftest import Medic8

AT = datetime(2026, 1, 31, tzinfo=UTC)
SERVER = (Resource(identity="valkey:1", carries="the server"),)


def test_a_recovery_that_needs_a_person_is_listed_and_acknowledged(medic8: Medic8, tmp_path: Path) -> None:
    """Exit code 1 while something waits; an id that fits nothing changes nothing."""
    assert medic8("acknowledge").code == 0
    journal = Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")
    recovery = journal.open(plan_of((("a", "b"),)), SERVER, this_process(), stands_on="", at=AT)
    journal.close(recovery.id, RecoveryState.NEEDS_PERSON, left=("look at a",), at=AT)
    listed = medic8("acknowledge")
    assert listed.code == 1
    assert "look at a" in listed.out
    assert medic8("acknowledge", "ffffffff").code == 2
    assert len(journal.holding()) == 1
    assert medic8("acknowledge", recovery.id[:8]).code == 0
    assert journal.holding() == ()
    assert medic8("acknowledge").code == 0
    journal.dispose()
