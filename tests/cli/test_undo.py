"""Undo, show and prune from the command line, with what the journal and the disk know."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console, RenderableType

from medic8.cli.render_history import render_resolution_of
from medic8.cli.render_recovery import KnownRecovery, render_recovery
from medic8.model.plan import Plan
from medic8.model.recovery import Recovery, RecoveryState
from medic8.model.resolution import Outcome
from medic8.model.saved import Keep, Pruning
from medic8.owner import this_process
from medic8.recovery import contract, ended, pruning, undo
from medic8.recovery.journal import Journal
from tests.recovery.memory import AT, MemoryTarget, plan_of
from tests.recovery.test_later import carry_out, planned

if TYPE_CHECKING:
    from tests.cli.conftest import Answers, Medic8, Samples

RUN = "0198c0de-0000-7000-8000-000000000001"


@pytest.fixture
def journal(medic8: Medic8, tmp_path: Path) -> Iterator[Journal]:
    """Get the journal of the site."""
    assert medic8("acknowledge").code == 0
    journal = Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")
    yield journal
    journal.dispose()


def of_pot(plan: Plan) -> Plan:
    return plan.model_copy(update={"target": "pot"})


def begun(journal: Journal, target: MemoryTarget, plan: Plan, folder: Path) -> Recovery:
    with target.session() as session:
        recovery = contract.open_recovery(
            journal, session, of_pot(plan), this_process("run-7"), at=AT, resolution=RUN
        )
        return contract.save_state(journal, session, recovery, folder=folder, limit_bytes=1 << 20)


@pytest.fixture
def target() -> MemoryTarget:
    """Get a target of two values."""
    return MemoryTarget({"a": b"old", "b": b"old"})


@pytest.fixture
def healed(journal: Journal, target: MemoryTarget, tmp_path: Path) -> Recovery:
    """Get a recovery of the pot that has ended healthy."""
    plan = plan_of((("a", "new"), ("b", "new")))
    return carry_out(journal, target, begun(journal, target, plan, tmp_path / "home" / "recoveries"))


# --- undo ---


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.RESOLVED, 0),
        (Outcome.PLANNED, 0),
        (Outcome.PARTLY_RESOLVED, 1),
        (Outcome.REFUSED, 1),
        (Outcome.RESTORED, 1),
        (Outcome.NEEDS_PERSON, 1),
        (Outcome.UNSUPPORTED, 1),
    ],
)
def test_undo_takes_a_run_or_a_recovery_and_its_exit_code_is_its_outcome(
    medic8: Medic8, answers: Answers, samples: type[Samples], healed: Recovery, outcome: Outcome, code: int
) -> None:
    """Whatever was named, the flow is asked for the one recovery that is meant."""
    answers.undone = samples.a_resolution(outcome)
    for name in (RUN, RUN[:8], healed.id, healed.id[:8].upper()):
        undone = medic8("undo", name)
        assert undone.code == code, undone.err
        assert outcome.value.replace("_", " ") in undone.out
    assert medic8("undo", RUN, "--restorable-only", "--dry-run", "--json").document["outcome"] == outcome
    assert answers.asked == [("undo", healed.id, False, False)] * 4 + [("undo", healed.id, True, True)]


def test_an_undo_of_what_is_not_there_or_not_configured_is_a_wrong_call(
    medic8: Medic8, answers: Answers, healed: Recovery, tmp_path: Path
) -> None:
    """Exit code 2 before Prefect is asked; the recovery and what it saved are as they were."""
    for name, said in (("ffffffff", "knows no recovery"), ("0198c0d", "at least the first 8 digits")):
        ended_so = medic8("undo", name)
        assert (ended_so.code, said in ended_so.err) == (2, True)
    file = tmp_path / "medic8.toml"
    file.write_text(file.read_text().replace('name = "pot"', 'name = "pan"'))
    renamed = medic8("undo", RUN)
    assert renamed.code == 2
    assert re.search(rf'{healed.id}.*"pot" is not known; known are "pan".*nothing was touched', renamed.err)
    assert answers.asked == []
    assert medic8("show", healed.id).code == 0
    assert Path(healed.saved_state).is_dir()


# --- show ---


def told(parts: Iterable[RenderableType]) -> str:
    """What a window of 80 columns shows."""
    written = io.StringIO()
    console = Console(file=written, width=80, markup=False, highlight=False, emoji=False)
    for part in parts:
        console.print(part)
    return written.getvalue()


def test_show_fits_eighty_columns(medic8: Medic8, samples: type[Samples], healed: Recovery) -> None:
    """No line is longer, and no time, digest or id is broken over two."""
    long = healed.steps[0].model_copy(
        update={
            "title": "rebuild block 65535 of grid a-name-of-a-certain-length from parity",
            "note": "a note that is as long as those of a conflict with three digests in it: " + "0" * 12,
            "undone_at": AT + timedelta(days=40),
        }
    )
    assert medic8("show", healed.id).code == 0
    recovery = healed.model_copy(update={"steps": (long, healed.steps[1])})
    known = KnownRecovery(recovery=recovery, saved=pruning.saved_by(recovery, Keep()))
    resolution = samples.a_resolution().model_copy(update={"recovery": recovery.id})
    url = f"http://127.0.0.1:36641/runs/flow-run/{RUN}"
    begun_at, undone_at = AT.astimezone(), (AT + timedelta(days=40)).astimezone()
    for text in (
        told(render_recovery(known)),
        told(render_resolution_of(samples.an_entry(), resolution, url, [known])),
    ):
        assert max(len(line) for line in text.splitlines()) <= 80
        lines = [line.split() for line in text.splitlines()]
        digests = [long.saved_digest[:12], long.written_digest[:12]]
        clock = f"{begun_at:%H:%M:%S}.000"
        assert ["1", clock, clock, f"{undone_at:%m-%d}", f"{undone_at:%H:%M:%S}", *digests] in lines
        kept = (AT + timedelta(days=30)).astimezone()
        for whole in (recovery.id, f"{begun_at:%Y-%m-%d, %Z}", f"until {kept:%Y-%m-%d %H:%M:%S %Z}"):
            assert any(whole in line for line in text.splitlines()), whole


def test_show_says_what_was_saved_until_when_it_is_kept_and_who_undid_it(
    medic8: Medic8, journal: Journal, target: MemoryTarget, healed: Recovery, tmp_path: Path
) -> None:
    """As long as it is there; then that it is gone, and why."""
    folder = tmp_path / "home" / "recoveries"
    until = (AT + timedelta(days=30)).astimezone()
    out = medic8("show", healed.id).out
    for expected in (
        "2 values, 6 bytes",
        healed.saved_state,
        f"until {until:%Y-%m-%d %H:%M:%S}",
        "resolution",
    ):
        assert expected in out
    assert "undone by" not in out
    undoing = carry_out(journal, target, begun(journal, target, planned(target, healed), folder))
    assert f"undone by   recovery {undoing.id}, healthy" in medic8("show", healed.id).out
    assert f"undoes      recovery {healed.id}" in medic8("show", undoing.id).out
    document = medic8("show", healed.id, "--json").document
    assert document["recovery"]["steps"][0]["saved_digest"] == healed.steps[0].saved_digest
    assert document["saved"]["presence"] == "kept"
    assert document["undone_by"] == [{"recovery": undoing.id, "state": "healthy"}]
    (Path(undoing.saved_state) / "values.bin").write_bytes(b"short")
    assert "its values should have 6 bytes and have 5" in medic8("show", undoing.id).out
    pruning.prune(journal, folder, Keep(days=0), clock=lambda: datetime.now(UTC))
    assert "no; retention removed it" in medic8("show", healed.id).out


def test_a_run_that_died_is_shown_with_what_the_journal_knows_of_it(
    medic8: Medic8,
    answers: Answers,
    samples: type[Samples],
    journal: Journal,
    target: MemoryTarget,
    tmp_path: Path,
) -> None:
    """Its process could say nothing; what undo did, and that another run did it, is all there."""
    recovery = begun(journal, target, plan_of((("a", "new"), ("b", "new"))), tmp_path / "home" / "recoveries")
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        journal.renew(recovery.id, recovery.owner, lease_s=0)
        undo.end_interrupted(
            journal, session, recovery, this_process("run-8"), clock=lambda: AT + timedelta(hours=1)
        )
    answers.entries = [samples.an_entry(run=RUN, outcome="", state="Crashed")]
    out = medic8("show", RUN).out
    for expected in ("the run ended before it could say", "put back", "undone", "ended by", "run run-8"):
        assert expected in out
    (known,) = medic8("show", RUN, "--json").document["recoveries"]
    assert known["recovery"]["ended_by"] == "run-8"
    assert [step["state"] for step in known["recovery"]["steps"]] == ["undone", "planned"]


def test_a_journal_that_does_not_answer_hides_no_resolution(
    medic8: Medic8, answers: Answers, samples: type[Samples], tmp_path: Path
) -> None:
    """What Prefect stored is shown with its steps, and a warning."""
    file = tmp_path / "medic8.toml"
    file.write_text('[journal]\nurl = "postgresql://ann@127.0.0.1:1/none"\n' + file.read_text())
    answers.entries, answers.resolution = [samples.an_entry()], samples.a_resolution()
    out = medic8("show", "run-1")
    assert "descale the spout" in out.out
    assert "aaaaaaaaaaaa" in out.out
    assert "did not answer" in out.err


# --- recoveries ---


def test_what_is_kept_is_listed_and_pruned_through_the_flow(
    medic8: Medic8, answers: Answers, journal: Journal, healed: Recovery
) -> None:
    """The list needs no Prefect; what could not be removed is exit code 1."""
    listed = medic8("recoveries", "list")
    assert (listed.code, healed.id[:12] in listed.out, "6 bytes" in listed.out) == (0, True, True)
    (saved,) = medic8("recoveries", "list", "--json").document["saved"]
    assert saved["recovery"] == healed.id
    assert answers.asked == []
    folder = Path(healed.saved_state).parent
    answers.pruning = pruning.prune(journal, folder, Keep(days=0), clock=lambda: AT, is_dry_run=True)
    dry = medic8("recoveries", "prune", "--dry-run")
    assert (dry.code, "would go" in dry.out, "keep_days = 0 is over" in dry.out) == (0, True, True)
    answers.pruning = Pruning(is_dry_run=False, problems=("x cannot be removed: Permission denied",))
    assert medic8("recoveries", "prune").code == 1
    assert answers.asked == [("prune_saved_state", True), ("prune_saved_state", False)]
    assert ended.let_go(journal, healed.id, at=AT)
    assert "nothing that recoveries saved is kept" in medic8("recoveries", "list").out


def test_acknowledging_begins_the_days_that_it_is_kept(
    medic8: Medic8, journal: Journal, target: MemoryTarget, tmp_path: Path
) -> None:
    """Until then it is kept without an end, and the list says so."""
    recovery = begun(journal, target, plan_of((("a", "new"),)), tmp_path / "home" / "recoveries")
    journal.close(recovery, RecoveryState.NEEDS_PERSON, at=AT)
    assert "it is ended or acknowledged" in medic8("recoveries", "list").out
    before = datetime.now(UTC)
    assert medic8("acknowledge", recovery.id).code == 0
    acknowledged = journal.read(recovery.id).acknowledged_at
    assert acknowledged is not None
    assert before <= acknowledged <= datetime.now(UTC)
    (saved,) = medic8("recoveries", "list", "--json").document["saved"]
    assert datetime.fromisoformat(saved["kept_until"]) == acknowledged + timedelta(days=30)
