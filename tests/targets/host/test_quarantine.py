"""Files go into quarantine and come back as they were; nothing else is touched, whatever lies there."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from a_folder import (
    CLAIM,
    DAY_S,
    around_of,
    kept_in,
    looked_at,
    old_file,
    only_plan,
    pruning,
)

from medic8.errors import ChangedError, FencedError, RefusedError
from medic8.model.plan import Plan, Step
from medic8.model.recovery import Recovery, RecoveryState
from medic8.model.target import PruneRule, Target
from medic8.owner import this_process
from medic8.recovery import contract, undo
from medic8.recovery.journal import Journal
from medic8.safety.admission import admit
from medic8.targets.host import folders
from medic8.targets.host.acts.files import OneFile
from medic8.targets.host.folders import QUARANTINE
from medic8.targets.host.kind import KIND
from medic8.targets.host.looks.files import look_into, without_open
from medic8.targets.host.session import HostSession
from medic8.targets.machine.files import Machine


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Get a folder of a program."""
    made = tmp_path / "app"
    made.mkdir()
    return made


@contextlib.contextmanager
def claimed(target: Target, tmp_path: Path) -> Iterator[HostSession]:
    """A session that holds the host."""
    with KIND.open_session(target, around_of(tmp_path)) as session:
        assert isinstance(session, HostSession)
        session.take_claim(CLAIM, lasts_s=60)
        yield session
        session.release_claim(CLAIM)


def apply(session: HostSession, step: Step) -> None:
    """One step, as a recovery makes it."""
    session.swap(step, expected=session.capture(step), new=session.prepare(step), claim=CLAIM)


def steps_of(plan: Plan) -> list[Step]:
    return [step for unit in plan.units for step in unit.steps]


def prune_plan(target: Target, tmp_path: Path) -> Plan:
    return only_plan("prune_files", target, looked_at(target, around_of(tmp_path)))[1]


def test_only_files_that_the_rule_means_may_go(folder: Path, tmp_path: Path) -> None:
    """By name, age and kind; what a hostile user puts there is left alone, or moved by its very bytes."""
    elsewhere = old_file(tmp_path / "else" / "secret.log")
    wanted = [old_file(folder / "a.log"), old_file(folder / "-rf \n\x1b[2J $(id) ;.log")]
    wanted.append(Path(os.fsdecode(bytes(folder) + b"/\xff\xfe.log")))
    old_file(wanted[-1])
    old_file(folder / "new.log", age_s=60)
    old_file(folder / "a.txt")
    old_file(folder / "twice.log")
    (folder / "again.log").hardlink_to(folder / "twice.log")
    (folder / "link.log").symlink_to(elsewhere)
    (folder / "linked").symlink_to(elsewhere.parent)
    os.mkfifo(folder / "pipe.log")
    old_file(folder / "within" / "b.log")
    target = pruning(folder)
    report = looked_at(target, around_of(tmp_path))
    plan = only_plan("prune_files", target, report)[1]
    assert sorted(bytes.fromhex(OneFile.of(step).path) for step in steps_of(plan)) == sorted(
        os.fsencode(each.name) for each in wanted
    )
    assert "2 files with other names too" in report.results["files"].unseen[0]
    assert "\x1b" not in plan.model_dump_json()
    deep = prune_plan(pruning(folder, recurse=True), tmp_path)
    assert len(steps_of(deep)) == len(wanted) + 1


def test_a_plan_says_what_is_freed_when_and_waits_until_room_is_short(folder: Path, tmp_path: Path) -> None:
    """Nothing at once; and nothing is moved where there is room enough."""
    old_file(folder / "a.log", size=1 << 20)
    target = pruning(folder, delete=True)
    assert looked_at(target, around_of(tmp_path), used=0.5).issues == ()
    plan = prune_plan(target, tmp_path)
    assert "frees nothing at once" in plan.summary
    assert "24 h 0 min" in plan.summary
    assert not plan.needs_approval
    assert plan.digest == prune_plan(target, tmp_path).digest


def recovered(target: Target, plan: Plan, tmp_path: Path) -> tuple[Journal, Recovery]:
    """Carry *plan* out under a journal, up to its end."""
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    with KIND.open_session(target, around_of(tmp_path)) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=now())
        recovery = contract.save_state(
            journal, session, recovery, folder=tmp_path / "saved", limit_bytes=1 << 20
        )
        for number in range(len(plan.units)):
            contract.apply_step(journal, session, recovery, number, clock=now)
    return journal, recovery


def test_what_was_moved_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    """Bytes, times, modes, and the folder without a trace of quarantine."""
    files = [old_file(folder / f"{number}.log", size=1000 + number) for number in range(3)]
    files[0].chmod(0o640)
    before = {each: (each.read_bytes(), each.stat().st_mtime_ns, each.stat().st_mode) for each in files}
    target = pruning(folder)
    plan = prune_plan(target, tmp_path)
    # Without their proof, so that an undo puts them back.
    units = tuple(unit.model_copy(update={"proves_itself": False}) for unit in plan.units)
    journal, recovery = recovered(target, plan.model_copy(update={"units": units}), tmp_path)
    assert not any(each.exists() for each in files)
    assert len(kept_in(folder)) == 3
    with KIND.open_session(target, around_of(tmp_path)) as session:
        ended = undo.undo(journal, session, recovery, clock=now)
    journal.dispose()
    assert (ended.state, ended.left) == (RecoveryState.RESTORED, ())
    assert {
        each: (each.read_bytes(), each.stat().st_mtime_ns, each.stat().st_mode) for each in files
    } == before
    assert not (folder / QUARANTINE).exists()


def test_nothing_is_written_over_on_the_way_back(folder: Path, tmp_path: Path) -> None:
    """A program made a file of that name meanwhile: both stay, and a person is told."""
    old = old_file(folder / "a.log")
    content = old.read_bytes()
    target = pruning(folder)
    plan = prune_plan(target, tmp_path)
    units = tuple(unit.model_copy(update={"proves_itself": False}) for unit in plan.units)
    journal, recovery = recovered(target, plan.model_copy(update={"units": units}), tmp_path)
    old.write_text("new")
    with KIND.open_session(target, around_of(tmp_path)) as session:
        ended = undo.undo(journal, session, recovery, clock=now)
    journal.dispose()
    assert len(ended.left) == 1
    assert old.read_text() == "new"
    assert [each.read_bytes() for each in kept_in(folder)] == [content]


def test_the_move_itself_writes_over_nothing(tmp_path: Path) -> None:
    """Also between the look and the act: the kernel refuses, and both files stay."""
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("other")
    with folders.opened(str(tmp_path)) as folder:
        with pytest.raises(FileExistsError):
            folders.move(folder.descriptor, b"a", folder.descriptor, b"b")
        assert [(tmp_path / name).read_text() for name in "ab"] == ["one", "other"]
        folders.move(folder.descriptor, b"a", folder.descriptor, b"c")
        with pytest.raises(FileNotFoundError):
            folders.move(folder.descriptor, b"a", folder.descriptor, b"d")
    assert (tmp_path / "c").read_text() == "one"


def test_a_file_that_somebody_has_open_or_mapped_stays(folder: Path, tmp_path: Path) -> None:
    """Also one that was closed after it was mapped."""
    file = old_file(folder / "a.log")
    target = pruning(folder)
    (step,) = steps_of(prune_plan(target, tmp_path))
    with claimed(target, tmp_path) as session:
        with file.open("rb"), pytest.raises(RefusedError, match="is open in another process"):
            apply(session, step)
        with file.open("rb") as opened:
            view = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)
        with view, pytest.raises(RefusedError, match="is open in another process"):
            apply(session, step)
        assert file.exists()
        apply(session, step)
    assert not file.exists()


def test_a_file_that_is_open_is_in_no_plan(folder: Path, tmp_path: Path) -> None:
    """Else each plan would end at the largest, which a program never closes."""
    small, large = old_file(folder / "small.log"), old_file(folder / "large.log", size=1 << 20)
    machine = Machine()
    with folders.opened(str(folder)) as held, large.open("rb"):
        old, _ = look_into(held, pruning(folder).prune[0], around_of(tmp_path).now, machine)
        free = without_open(old, held, machine)
    assert [each.names for each in free] == [(small.name.encode(),)]
    assert "1 open file" in machine.unseen[0]


def test_without_leases_open_files_are_found_among_all_processes(tmp_path: Path) -> None:
    """By their descriptors, of ours as of others."""
    file = old_file(tmp_path / "a.log")
    reader, writer = os.pipe()
    child = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", f"exec 3<'{file}'; echo go; exec sleep 60"],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)],
    )
    try:
        assert os.read(reader, 2) == b"go"
        assert folders._is_open_elsewhere(file.stat())
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    with contextlib.suppress(RefusedError):  # where not every process may be looked at, nobody can tell
        assert not folders._is_open_elsewhere(file.stat())


@pytest.mark.parametrize("change", ["written", "replaced", "gone", "linked"])
def test_a_file_that_changed_since_the_plan_is_left_alone(folder: Path, tmp_path: Path, change: str) -> None:
    """Somebody wrote to it, put another in its place, took it away or gave it a second name."""
    file = old_file(folder / "a.log")
    target = pruning(folder)
    (step,) = steps_of(prune_plan(target, tmp_path))
    match change:
        case "written":
            file.write_bytes(b"more")
        case "replaced":
            old_file(folder / "b.log").replace(file)
        case "gone":
            file.unlink()
        case "linked":
            (folder / "second").hardlink_to(file)
    there = sorted(each.name for each in folder.iterdir())
    with claimed(target, tmp_path) as session, pytest.raises(RefusedError):
        apply(session, step)
    assert sorted(each.name for each in folder.iterdir()) == there


def test_a_link_on_the_way_leads_nowhere(folder: Path, tmp_path: Path) -> None:
    """Whoever may write to the folder swaps a folder within for a link: nothing elsewhere is moved."""
    old_file(folder / "within" / "a.log")
    target = pruning(folder, recurse=True)
    (step,) = steps_of(prune_plan(target, tmp_path))
    elsewhere = tmp_path / "else"
    (folder / "within").rename(elsewhere)
    (folder / "within").symlink_to(elsewhere)
    with claimed(target, tmp_path) as session, pytest.raises(RefusedError):
        apply(session, step)
    assert (elsewhere / "a.log").exists()
    real = folder.rename(tmp_path / "real")
    folder.symlink_to(real)
    with claimed(target, tmp_path) as session:
        assert session.capture(step) is None
        with pytest.raises(RefusedError, match="is a link"):
            session.prepare(step)


@pytest.mark.parametrize("trap", ["link", "open", "theirs"])
def test_a_quarantine_that_others_can_write_to_is_refused(folder: Path, tmp_path: Path, trap: str) -> None:
    """A link, a folder of mode 0777, or one of another user was put where files are to be kept."""
    file = old_file(folder / "a.log")
    target = pruning(folder)
    (step,) = steps_of(prune_plan(target, tmp_path))
    place = folder / QUARANTINE
    if trap == "link":
        place.symlink_to(tmp_path)
    else:
        place.mkdir(mode=0o700)
        if trap == "open":
            place.chmod(0o777)
        elif os.geteuid():
            pytest.skip("only root can give a folder away")
        else:
            os.chown(place, 65_534, 65_534)
    with claimed(target, tmp_path) as session, pytest.raises(RefusedError):
        apply(session, step)
    assert file.exists()


def test_without_the_claim_nothing_is_moved(folder: Path, tmp_path: Path) -> None:
    """It lapsed, or another recovery holds the host."""
    file = old_file(folder / "a.log")
    target = pruning(folder)
    (step,) = steps_of(prune_plan(target, tmp_path))
    with KIND.open_session(target, around_of(tmp_path)) as session, pytest.raises(FencedError):
        session.swap(step, expected=session.capture(step), new=session.prepare(step), claim=CLAIM)
    assert file.exists()


def test_a_file_is_deleted_when_its_time_in_quarantine_is_over_and_not_before(
    folder: Path, tmp_path: Path
) -> None:
    """By the time of the move, which nobody can set back; once, and told afterwards by what is gone."""
    old_file(folder / "a.log", age_s=30 * DAY_S)
    target = pruning(folder)
    (step,) = steps_of(prune_plan(target, tmp_path))
    with claimed(target, tmp_path) as session:
        apply(session, step)
    assert looked_at(target, around_of(tmp_path, days=0.9)).issues == ()
    later = looked_at(target, around_of(tmp_path, days=1.1))
    plan = only_plan("empty_quarantine", target, later)[1]
    (deletion,) = steps_of(plan)
    with claimed(target, tmp_path) as session:
        assert session.took_effect(deletion, "r1") is False
        saved = session.capture(deletion)
        apply(session, deletion)
        session.verify(plan.units[0])
        assert session.took_effect(deletion, "r1") is True
        with pytest.raises(RefusedError, match="cannot be brought back"):
            session.swap(deletion, expected=session.capture(deletion), new=saved, claim=CLAIM)
    assert not (folder / QUARANTINE).exists()


def test_a_file_that_was_brought_back_by_hand_is_never_deleted(folder: Path, tmp_path: Path) -> None:
    """By the very command that a person is told."""
    file = old_file(folder / "a'b.log")
    target = pruning(folder)
    (step,) = steps_of(prune_plan(target, tmp_path))
    with claimed(target, tmp_path) as session:
        saved = session.capture(step)
        apply(session, step)
        (command,) = session.by_hand(step, saved, file="", offset=0)
    (deletion,) = steps_of(
        only_plan("empty_quarantine", target, looked_at(target, around_of(tmp_path, days=2)))[1]
    )
    assert os.waitstatus_to_exitcode(os.system(command)) == 0  # noqa: S605 - as a person would type it
    with claimed(target, tmp_path) as session:
        assert session.took_effect(deletion, "r1") is False
        with pytest.raises(ChangedError):
            session.prepare(deletion)
    assert file.exists()


def test_the_configuration_agrees_once_to_what_its_rule_deletes(folder: Path, tmp_path: Path) -> None:
    """Without ``delete`` a person agrees to each plan; with it nobody is asked."""
    old_file(folder / "a.log")
    target, agreed = pruning(folder), pruning(folder, delete=True)
    with claimed(target, tmp_path) as session:
        apply(session, steps_of(prune_plan(target, tmp_path))[0])
    later = around_of(tmp_path, days=2)
    assert looked_at(target, later, used=0.1).issues == ()
    issue, plan = only_plan("empty_quarantine", agreed, looked_at(agreed, later, used=0.1))
    assert issue.about == f"quarantine of {folder}"
    assert admit(plan, target, is_agreed=KIND.agrees(plan, target)).waits_for_approval
    assert admit(plan, agreed, is_agreed=KIND.agrees(plan, agreed)).is_granted
    other = pruning(tmp_path / "other", delete=True)
    assert not KIND.agrees(plan, other)
    assert not KIND.agrees(prune_plan(target, tmp_path) if (folder / "a.log").exists() else plan, target)


def test_few_steps_help_most(folder: Path, tmp_path: Path) -> None:
    """Of 130 files the hundred largest are moved, and the rest is said."""
    rng = random.Random(1)
    sizes = {f"{number}.log": rng.randrange(1, 60) * 4096 for number in range(130)}
    for name, size in sizes.items():
        old_file(folder / name, size=size)
    target = pruning(folder)
    plan = prune_plan(target, tmp_path)
    moved = [OneFile.of(step).size for step in steps_of(plan)]
    assert len(moved) == 100
    assert min(moved) >= sorted(sizes.values())[29]
    more, room = plan.left_open
    assert more == f"30 more files of {folder} may go: heal again"
    assert room.startswith("their room, which is free once the quarantine is emptied")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"folder": "/etc/app"}, "of the system"),
        ({"folder": "/var"}, "of the system"),
        ({"folder": "/var/log/../../etc"}, "without . and .."),
        ({"folder": "log/app"}, "must be whole"),
        ({"patterns": ("../*",)}, "without a slash"),
        ({"patterns": ()}, "at least 1"),
        ({"older_than": 60}, "3600"),
        ({"keep": 60}, "3600"),
    ],
)
def test_a_rule_that_could_take_too_much_is_refused(changed: dict[str, object], why: str) -> None:
    """Of the system, beyond the folder, or before anybody notices."""
    rule = {"folder": "/var/log/app", "patterns": ("*",), "older_than": DAY_S} | changed
    with pytest.raises(ValueError, match=why):
        PruneRule.model_validate(rule)


def test_folders_of_programs_in_those_of_the_system_may_be_named() -> None:
    """Memory that is shared, and what belongs to a user for as long as they are logged in."""
    for folder in ("/dev/shm/app", "/run/user/1000/app"):  # noqa: S108 - only named
        PruneRule(folder=folder, patterns=("*",), older_than=DAY_S)
    with pytest.raises(ValueError, match="of the system"):
        PruneRule(folder="/run/systemd/app", patterns=("*",), older_than=DAY_S)


def test_two_rules_for_one_folder_are_refused(tmp_path: Path) -> None:
    """Also where one lies within the other."""
    one, other = pruning(tmp_path).prune[0], pruning(tmp_path / "app").prune[0]
    twice = pruning(tmp_path).model_copy(update={"prune": (one, other)})
    assert any("lies within" in each for each in KIND.requires(twice))
    assert KIND.requires(pruning(tmp_path)) == ()


def test_looking_for_files_is_bounded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with more entries than are looked at is looked at in part, and that is said."""
    for number in range(30):
        old_file(folder / f"{number}.log", size=16)
    monkeypatch.setattr("medic8.targets.host.looks.files._MOST_ENTRIES", 10)
    began_s = time.perf_counter()
    report = looked_at(pruning(folder), around_of(tmp_path))
    assert time.perf_counter() >= began_s
    assert report.issues[0].extent == 10
    assert "all after the first 10 entries" in report.results["files"].unseen[0]
