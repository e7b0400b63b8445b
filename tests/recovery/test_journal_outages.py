"""The journal or the saved state cannot be written: refused before anything is touched, and never half."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medic8.errors import ConfigurationError, RefusedError, TransientError
from medic8.model.recovery import Recovery, RecoveryState, StepState
from medic8.owner import this_process
from medic8.recovery import contract, interrupted, undo
from medic8.recovery.faults import UnwritableError
from medic8.recovery.journal import Journal
from medic8.recovery.lease import Lease
from medic8.recovery.saved_state import save
from tests.local.place import Place
from tests.recovery.memory import AT, MemoryTarget, plan_of

PLAN = plan_of((("a", "new"), ("b", "new")))
DEAD = this_process().model_copy(update={"started_at": 1})

#: Mounts a file system of a size in MiB, and gives its folder.
Mount = Callable[[int], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Get a function that mounts a small file system; only root may."""
    mounted: list[Path] = []

    def mount_one(size_mib: int) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        command = ["/bin/mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)]
        if not Path(command[0]).exists():
            pytest.skip(f"{command[0]} is missing")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount_one
    for folder in mounted:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


def make_read_only(folder: Path) -> None:
    subprocess.run(["/bin/mount", "-o", "remount,ro", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room there is."""
    file = folder / "filling"
    with file.open("wb", buffering=0) as text:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    text.write(b"x" * size)
            except OSError:
                continue
    return file


@contextmanager
def disposed(journal: Journal) -> Iterator[Journal]:
    try:
        yield journal
    finally:
        journal.dispose()


def begin(journal: Journal, target: MemoryTarget, folder: Path) -> Recovery:
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, PLAN, DEAD, at=AT)
        return contract.save_state(journal, session, recovery, folder=folder, limit_bytes=1000)


def renew_until_refused(journal: Journal, recovery: Recovery) -> None:
    for _ in range(10_000):
        journal.renew(recovery.id, recovery.owner)


def a_target() -> MemoryTarget:
    return MemoryTarget({"a": b"old", "b": b"old"})


def test_a_recovery_is_refused_where_the_journal_has_no_room_for_all_of_it(mount: Mount) -> None:
    """Not only for its first entry: what is begun has to be ended. The message has the numbers."""
    folder, target = mount(8), a_target()
    with disposed(Journal(f"sqlite:///{folder}/journal.sqlite")) as journal, target.session() as session:
        with pytest.raises(RefusedError, match=r"journal.sqlite: \d\.\d MiB free, 16 MiB needed"):
            contract.open_recovery(journal, session, PLAN, this_process(), at=AT)
        assert journal.holding() == ()
    assert (target.values, target.claim) == ({"a": b"old", "b": b"old"}, None)


def test_a_recovery_is_refused_where_the_journal_is_read_only(mount: Mount) -> None:
    """One that was opened before, and one that is opened now; both name it, and nothing is touched."""
    folder, target = mount(32), a_target()
    with disposed(Journal(f"sqlite:///{folder}/journal.sqlite")) as journal, target.session() as session:
        journal.dispose()
        make_read_only(folder)
        with pytest.raises(RefusedError, match=r"journal.sqlite cannot be written: .*; nothing was begun"):
            contract.open_recovery(journal, session, PLAN, this_process(), at=AT)
    with pytest.raises(ConfigurationError, match=r"the journal .*/other.sqlite cannot be written: Read-only"):
        Journal(f"sqlite:///{folder}/other.sqlite")
    assert (target.values, target.claim) == ({"a": b"old", "b": b"old"}, None)


def test_a_step_that_cannot_be_noted_is_not_applied(mount: Mount, tmp_path: Path) -> None:
    """The journal's disk is full in mid-recovery: nothing more is changed, and it ends when there is room."""
    folder, target = mount(32), a_target()
    with disposed(Journal(f"sqlite:///{folder}/journal.sqlite")) as journal:
        recovery = begin(journal, target, tmp_path / "saved")
        with target.session() as session:
            reached = contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
            filling = fill(folder)
            # Its log is written over from the start now and then, which needs no more room.
            with pytest.raises(UnwritableError):
                renew_until_refused(journal, recovery)
            with pytest.raises(TransientError, match=r"journal.sqlite cannot be written"):
                contract.apply_step(journal, session, recovery, 1, clock=lambda: AT, reached=reached)
            assert target.values == {"a": b"new", "b": b"old"}
            with pytest.raises(TransientError, match="cannot be written"):
                undo.undo_or_hand_over(journal, session, recovery, clock=lambda: AT, reached=reached)
            assert target.values == {"a": b"new", "b": b"old"}
            filling.unlink()
            ended = undo.undo_or_hand_over(journal, session, recovery, clock=lambda: AT, reached=reached)
    assert (ended.state, ended.left) == (RecoveryState.RESTORED, ())
    assert target.values == {"a": b"old", "b": b"old"}


def test_saved_state_that_cannot_be_written_is_refused_and_leaves_nothing(
    mount: Mount, tmp_path: Path
) -> None:
    """Its disk has too little room, is read-only, or says no only when it is written to."""
    folder, target = mount(8), a_target()
    with disposed(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as journal, target.session() as session:
        recovery = contract.open_recovery(journal, session, PLAN, this_process(), at=AT)

        def save_in(place: Path) -> None:
            contract.save_state(journal, session, recovery, folder=place, limit_bytes=1 << 20)

        with pytest.raises(RefusedError, match=rf"no room to save state at {folder}.*64 MiB needed"):
            save_in(folder)
        assert list(folder.iterdir()) == []
        make_read_only(folder)
        with pytest.raises(RefusedError, match=rf"state cannot be saved at {folder}.*Read-only file system"):
            save_in(folder)
        ended = undo.undo_or_hand_over(journal, session, recovery, clock=lambda: AT)
    assert (ended.state, ended.left, target.claim) == (RecoveryState.RESTORED, (), None)
    assert target.values == {"a": b"old", "b": b"old"}


def test_a_disk_that_says_no_in_the_middle_of_a_value_leaves_nothing_behind(tmp_path: Path) -> None:
    """There seemed to be room: the kernel's limit for files is what refuses here."""
    earlier = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, earlier[1]))
    try:
        with pytest.raises(RefusedError, match=r"state cannot be saved at .*: File too large"):
            save(tmp_path / "saved", [(0, b"x" * 5000)], limit_bytes=1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, earlier)
    assert not (tmp_path / "saved").exists()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Get a PostgreSQL of this test's own."""
    try:
        place = Place(tmp_path / "home")
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    yield place
    place.close()


def test_nothing_is_changed_while_the_journals_server_is_dead_and_it_ends_when_it_is_back(
    place: Place, tmp_path: Path
) -> None:
    """SIGKILL of PostgreSQL in mid-recovery: begun is not durable, so nothing is applied, nor forgotten."""
    server, target = place.start(), a_target()
    url = f"postgresql+pg8000://postgres@/postgres?unix_sock={server.sockets}/.s.PGSQL.5432"
    with disposed(Journal(url)) as journal:
        recovery = begin(journal, target, tmp_path / "saved")
        lease = Lease(journal, recovery, lease_s=0.2)
        with lease.kept(), target.session() as session:
            reached = contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
            place.crash(server)
            assert lease.renew()  # it is silent, which is no news of another owner
            for _ in range(3):
                with pytest.raises(TransientError, match=r"the journal at postgresql.* did not answer"):
                    contract.apply_step(journal, session, recovery, 1, clock=lambda: AT, reached=reached)
            with pytest.raises(TransientError, match=r"the journal at postgresql.* did not answer"):
                undo.undo_or_hand_over(journal, session, recovery, clock=lambda: AT, reached=reached)
            assert target.values == {"a": b"new", "b": b"old"}
            place.start()
            lease.require()
        (left,) = interrupted.interrupted_on(journal)
        assert [step.state for step in left.steps] == [StepState.BEGUN, StepState.PLANNED]
        sweep = interrupted.end_all(
            journal, this_process(), session_of=lambda _: target.session(), clock=lambda: AT
        )
        assert [(each.id, each.state) for each in sweep.ended] == [(recovery.id, RecoveryState.RESTORED)]
        assert journal.holding() == ()
    assert (target.values, target.claim) == ({"a": b"old", "b": b"old"}, None)
