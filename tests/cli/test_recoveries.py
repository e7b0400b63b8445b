"""What the journal knows, where the history is asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medic8.model.recovery import Owner, Recovery, RecoveryState
from medic8.model.target import Resource
from medic8.owner import this_process
from medic8.recovery.journal import Journal
from tests.recovery.memory import plan_of

if TYPE_CHECKING:
    from tests.cli.conftest import Answers, Medic8, Samples

AT = datetime(2026, 1, 31, tzinfo=UTC)
SERVER = (Resource(identity="valkey:1", carries="the server"),)


@pytest.fixture
def journal(medic8: Medic8, tmp_path: Path) -> Iterator[Journal]:
    """Get the journal of the site."""
    assert medic8("acknowledge").code == 0
    journal = Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")
    yield journal
    journal.dispose()


def begun(journal: Journal, owner: Owner, resolution: str = "") -> Recovery:
    plan = plan_of((("a", "b"),)).model_copy(update={"target": "pot"})
    return journal.open(plan, SERVER, owner, stands_on="", at=AT, resolution=resolution)


def somebody_killed() -> Owner:
    """A process that was killed while it carried a recovery out."""
    code = (
        "import sys; from medic8.owner import this_process\n"
        "print(this_process('run-7').model_dump_json(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        owner = Owner.model_validate_json(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
    return owner


def test_show_takes_the_id_of_a_recovery_and_needs_no_prefect(
    medic8: Medic8, answers: Answers, journal: Journal
) -> None:
    """Messages name recoveries; whoever reads one at night has nothing else to ask for."""
    recovery = begun(journal, this_process("run-7"))
    journal.close(recovery, RecoveryState.NEEDS_PERSON, left=("look at a",), at=AT)
    for name in (recovery.id, recovery.id[:8].upper()):
        shown = medic8("show", name)
        assert shown.code == 0
        for expected in (recovery.id, "needs person", "run-7", "look at a", "the server (valkey:1)"):
            assert expected in shown.out
    assert medic8("show", recovery.id, "--json").document["recovery"]["id"] == recovery.id
    assert medic8("show", recovery.id[:4]).code == 2
    assert medic8("show", "________").code == 2
    assert answers.asked == []


def test_the_history_marks_the_run_that_died_half_way(
    medic8: Medic8, samples: type[Samples], journal: Journal, indexed: Callable[..., None]
) -> None:
    """The journal knows which run is the resolution, and no other of the target is marked."""
    begun(journal, somebody_killed(), resolution="dead")
    indexed(*(samples.tracked(run=run, outcome="", state="", started_at=AT) for run in ("a", "dead", "z")))
    listed = medic8("history", "--json").document["history"]
    assert [each["run"] for each in listed if each["is_interrupted"]] == ["dead"]
    told = medic8("history").out
    assert told.count(" interrupted ") == 1
    assert "a recovery of pot died half way; medic8 recover-interrupted ends it" in told


def test_a_run_whose_recovery_lives_is_not_marked(
    medic8: Medic8, samples: type[Samples], journal: Journal, indexed: Callable[..., None]
) -> None:
    """It is under way."""
    begun(journal, this_process("run-7"))
    indexed(samples.tracked(outcome="", state="", started_at=AT - timedelta(minutes=1)))
    assert [each["is_interrupted"] for each in medic8("history", "--json").document["history"]] == [False]


def test_a_journal_that_does_not_answer_hides_no_history(
    medic8: Medic8, answers: Answers, samples: type[Samples], tmp_path: Path
) -> None:
    """What Prefect knows is shown, with a warning."""
    file = tmp_path / "medic8.toml"
    file.write_text('[journal]\nurl = "postgresql://ann@127.0.0.1:1/none"\n' + file.read_text())
    answers.entries = [samples.an_entry()]
    listed = medic8("history", "--json")
    assert [each["run"] for each in listed.document["history"]] == ["run-1"]
    assert "warning: the journal at postgresql+pg8000://ann@127.0.0.1:1/none did not answer" in listed.err
