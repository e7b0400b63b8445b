"""What recoveries saved is kept as long as the site says, and never let go of while somebody needs it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic8.model.recovery import RecoveryState
from medic8.model.saved import Keep, Presence, Pruning, SavedState
from medic8.owner import this_process
from medic8.recovery import contract, ended, pruning, retention
from medic8.recovery.journal import Journal
from tests.recovery.memory import AT, MemoryTarget, plan_of
from tests.recovery.test_later import begin, healed, planned

PLAN = plan_of((("a", "new"),))
DAY = timedelta(days=1)


def pruned(
    journal: Journal, folder: Path, *, days: int = 30, mib: int | None = None, after: timedelta = 31 * DAY
) -> Pruning:
    return pruning.prune(journal, folder, Keep(days=days, mib=mib), clock=lambda: AT + after)


def gone(report: Pruning) -> set[str]:
    return {each.saved.recovery for each in report.decisions if each.goes_since}


def test_a_saved_state_is_kept_for_exactly_its_days(journal: Journal, tmp_path: Path) -> None:
    """To the microsecond; then its folder is gone and the record says so, and the recovery itself stays."""
    earlier = healed(journal, MemoryTarget({"a": b"old"}), PLAN, tmp_path)
    folder = Path(earlier.saved_state)
    assert gone(pruned(journal, tmp_path, after=30 * DAY - timedelta.resolution)) == set()
    assert folder.is_dir()
    assert gone(pruned(journal, tmp_path, after=30 * DAY)) == {earlier.id}
    assert not folder.exists()
    known = journal.read(earlier.id)
    assert (known.pruned_at, known.saved_state) == (AT + 30 * DAY, str(folder))
    assert known.model_copy(update={"pruned_at": None}) == earlier
    assert pruning.saved_by(known, Keep()).presence is Presence.PRUNED
    assert pruned(journal, tmp_path) == Pruning(is_dry_run=False)


def test_a_dry_run_tells_the_same_and_removes_nothing(journal: Journal, tmp_path: Path) -> None:
    """Neither the folder nor its place in the record."""
    earlier = healed(journal, MemoryTarget({"a": b"old"}), PLAN, tmp_path)
    told = pruning.prune(journal, tmp_path, Keep(), clock=lambda: AT + 31 * DAY, is_dry_run=True)
    assert journal.read(earlier.id).pruned_at is None
    done = pruned(journal, tmp_path)
    assert told == done.model_copy(update={"is_dry_run": True})
    assert done.freed_bytes > len(b"old")


def test_nobody_lets_go_of_what_is_open_or_waits_for_a_person(journal: Journal, tmp_path: Path) -> None:
    """However old it is; after somebody has acknowledged it, its days begin."""
    target = MemoryTarget({"a": b"old"})
    opened = begin(journal, target, PLAN, tmp_path)
    assert gone(pruned(journal, tmp_path, days=0, mib=0, after=9999 * DAY)) == set()
    assert not ended.let_go(journal, opened.id, at=AT)
    journal.close(opened, RecoveryState.NEEDS_PERSON, at=AT)
    assert gone(pruned(journal, tmp_path, days=0, mib=0, after=9999 * DAY)) == set()
    assert not ended.let_go(journal, opened.id, at=AT)
    journal.acknowledge(opened.id, at=AT + 100 * DAY)
    assert gone(pruned(journal, tmp_path, after=130 * DAY - timedelta.resolution)) == set()
    assert gone(pruned(journal, tmp_path, after=130 * DAY)) == {opened.id}


def test_nobody_lets_go_of_what_an_undo_in_progress_reads(journal: Journal, tmp_path: Path) -> None:
    """Neither by looking nor by the note itself; when the undo has ended, it goes."""
    target = MemoryTarget({"a": b"old"})
    earlier = healed(journal, target, PLAN, tmp_path)
    undoing = begin(journal, target, planned(target, earlier), tmp_path)
    report = pruned(journal, tmp_path)
    assert gone(report) == set()
    assert "an undo in progress reads it" in {each.stays_since for each in report.decisions}
    assert not ended.let_go(journal, earlier.id, at=AT)
    with target.session() as session:
        contract.close(journal, session, undoing, RecoveryState.RESTORED, at=AT)
    assert earlier.id in gone(pruned(journal, tmp_path))


KILLED = """
import os, signal, shutil, sys
from datetime import UTC, datetime
from pathlib import Path
from medic8.model.saved import Keep
from medic8.recovery import pruning
from medic8.recovery.journal import Journal

def killed(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(lambda event, args: killed() if event == sys.argv[3] else None)
pruning.prune(Journal(sys.argv[1]), Path(sys.argv[2]), Keep(days=0), clock=lambda: datetime.now(UTC))
"""


@pytest.mark.parametrize("event", ["shutil.rmtree", "os.rmdir"])
def test_a_pruning_that_is_killed_promises_nothing_that_is_gone(
    journal: Journal, journal_url: str, tmp_path: Path, event: str
) -> None:
    """Before the first file goes and after the last: the record has let go, and the next one ends it."""
    earlier = healed(journal, MemoryTarget({"a": b"old"}), PLAN, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, journal_url, str(tmp_path), event], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    folder = Path(earlier.saved_state)
    assert folder.is_dir()
    assert journal.read(earlier.id).pruned_at is not None
    # Wherever the configuration puts new ones by now.
    assert pruned(journal, tmp_path / "elsewhere").leftovers == (str(folder),)
    assert not folder.exists()


def test_leftovers_go_and_folders_of_unknown_recoveries_stay(journal: Journal, tmp_path: Path) -> None:
    """What died while it saved had changed nothing; what no record is of may be all that is left."""
    target = MemoryTarget({"a": b"old"})
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, PLAN, this_process(), at=AT)
    (tmp_path / recovery.id).mkdir()
    (tmp_path / recovery.id / "values.bin").write_bytes(b"old")
    unknown = tmp_path / "b56bdd09-5544-473c-a459-9d3befa78ac5"
    for other in (unknown, tmp_path / "mine"):
        other.mkdir()
    assert pruned(journal, tmp_path, days=0).leftovers == ()  # it is open, and may be saving right now
    journal.close(recovery, RecoveryState.RESTORED, at=AT)
    report = pruned(journal, tmp_path, days=0)
    assert (report.leftovers, report.unknown) == ((str(tmp_path / recovery.id),), (str(unknown),))
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_dir()) == [unknown.name, "mine"]


def test_what_is_on_another_machine_is_left_to_it(journal: Journal, tmp_path: Path) -> None:
    """A shared journal knows saved states of all machines; only who has one lets go of it."""
    earlier = healed(journal, MemoryTarget({"a": b"old"}), PLAN, tmp_path)
    shutil.move(earlier.saved_state, tmp_path / "away")
    assert pruned(journal, tmp_path) == Pruning(is_dry_run=False)
    assert journal.read(earlier.id).pruned_at is None
    (saved,) = pruning.kept(journal, Keep())
    assert saved.presence is Presence.MISSING
    assert "not on this machine" in saved.problem


def test_what_cannot_be_removed_is_said_and_tried_again(journal: Journal, tmp_path: Path) -> None:
    """A link in the place of the folder leads to something that is not ours to remove."""
    earlier = healed(journal, MemoryTarget({"a": b"old"}), PLAN, tmp_path / "saved")
    folder = Path(earlier.saved_state)
    kept = folder.rename(tmp_path / "kept")
    folder.symlink_to(kept)
    report = pruned(journal, tmp_path / "saved")
    assert len(report.problems) == 1
    assert str(folder) in report.problems[0]
    assert (kept / "values.bin").exists()
    folder.unlink()
    kept.rename(folder)
    assert pruned(journal, tmp_path / "saved").leftovers == (str(folder),)
    assert not folder.exists()


def saved(number: int, size_mib: int, days: int | None) -> SavedState:
    until = None if days is None else AT + days * DAY
    return SavedState(
        recovery=f"{number}", target="t", folder="f", size_bytes=size_mib << 20, kept_until=until
    )


@given(
    sizes=st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(-3, 9)), max_size=12),
    mib=st.integers(0, 40),
)
def test_beyond_the_limit_the_oldest_go_and_no_more_than_must(
    sizes: list[tuple[int, int | None]], mib: int
) -> None:
    """What stays of ended ones fits, what went is older, and the last that went did not fit."""
    states = [saved(number, size, days) for number, (size, days) in enumerate(sizes)]
    decisions = retention.decide(states, Keep(days=30, mib=mib), now=AT)
    assert sorted(each.saved.recovery for each in decisions) == sorted(each.recovery for each in states)
    ended_ones = [each for each in decisions if each.saved.kept_until is not None]
    stays = [each.saved for each in ended_ones if not each.goes_since]
    by_limit = [each.saved for each in ended_ones if "keep_mib" in each.goes_since]
    total = sum(each.size_bytes for each in stays)
    assert total <= mib << 20
    assert all(each.stays_since for each in decisions if each.saved.kept_until is None)
    assert all(until(gone) <= until(kept) for gone in by_limit for kept in stays)
    if by_limit:
        assert total + by_limit[-1].size_bytes > mib << 20
    assert all(until(each) > AT.timestamp() for each in stays)


def until(state: SavedState) -> float:
    assert state.kept_until is not None
    return state.kept_until.timestamp()
