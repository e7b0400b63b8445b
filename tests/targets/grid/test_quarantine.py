"""What no source proves is given up as a whole or not at all, listed, and can be filled again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import struct
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grid_by_hand
import numpy as np
import pytest
import valkey
import xxhash

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.errors import ChangedError, FencedError, RefusedError
from medic8.model.lost import LostPage
from medic8.model.plan import Plan, Risk, Step, StepClass
from medic8.model.recovery import Claim, Recovery, RecoveryState, StepState
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract, interrupted, undo
from medic8.recovery.journal import Journal
from medic8.targets.grid import quarantine
from medic8.targets.grid.actions import GiveUp, GridSession, open_session
from medic8.targets.grid.compare_and_write import Answer, Check
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import lost_key, role_key, sums_key
from medic8.targets.grid.kind import KIND
from medic8.targets.grid.layout import BLOCK_CELLS, PAGE_CELLS, block_at
from medic8.targets.grid.lost import read_lost
from medic8.targets.grid.lost_record import LostRow, pack_lost
from medic8.targets.grid.rebuild import rebuild_group
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.grid.strategies import plan_quarantine
from medic8.targets.grid.write import Patience
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.conversation import conversation
from tests.recovery.steps import take_all_steps

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAME = "lab"
GROUPS = (0, 1)
RECOVERY = "b56bdd09-5544-473c-a459-9d3befa78ac5"

Values = dict[str, bytes | None]


class MortalSession(GridSession):
    """A real session whose process is killed at a write, before it or after it landed."""

    dies_at: int | None = None
    landed = False
    writes = 0

    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        dies = type(self).writes == type(self).dies_at
        type(self).writes += 1
        if not dies or type(self).landed:
            super().swap(step, expected=expected, new=new, claim=claim)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def target(valkey_url: str) -> Target:
    """Get the grid of the shared server as a target."""
    return Target(name=NAME, kind="grid", url=valkey_url, grid=NAME)


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """Get a folder without backups."""
    return Surroundings(backups=BackupPlace.of(tmp_path / "backups"), now=NOW)


@pytest.fixture
def grid(client: valkey.Valkey) -> Grid:
    """Get a grid with two whole groups."""
    grid = Grid.create(client, NAME, 32)
    rng = np.random.default_rng(1)
    grid.fill(lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=GROUPS)
    return grid


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Get a journal of its own."""
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    yield journal
    journal.dispose()


def keys_of(group: int) -> list[str]:
    return [
        *(role_key(NAME, group, role) for role in range(18)),
        sums_key(NAME, group),
        lost_key(NAME, group),
    ]


def values_of(client: valkey.Valkey) -> Values:
    keys = [key for group in GROUPS for key in keys_of(group)]
    return dict(zip(keys, client.mget(keys), strict=True))


def put(client: valkey.Valkey, values: Values) -> None:
    for key, value in values.items():
        if value is None:
            client.delete(key)
        else:
            client.set(key, value)


def harm(client: valkey.Valkey) -> None:
    """Three whole blocks of group 0, and page 5 of three values of group 1, Q among them."""
    for member in (3, 7, 11):
        client.delete(role_key(NAME, 0, member))
    for role in (2, 9, 17):
        client.setrange(role_key(NAME, 1, role), 5 * 4096 + 100, b"damage")


LOST = {(0, member, page) for member in (3, 7, 11) for page in range(16)}
#: Of the three at one offset, none can be solved; the one of Q holds no cells.
LOST |= {(1, 2, 5), (1, 9, 5)}


def diagnose(target: Target, around: Surroundings) -> DiagnosticReport:
    results = {name: look(target, around) for name, look in KIND.diagnostics.items()}
    analysis = analyze(results.values())
    issues = detect_issues(analysis, KIND.rules, target=target.name, at=NOW)
    return DiagnosticReport(
        target=target.name, kind="grid", results=results, analysis=analysis, issues=issues, taken_at=NOW
    )


def plan_for(target: Target, around: Surroundings) -> Plan:
    report = diagnose(target, around)
    return plan_quarantine(report.issues[0], report, target)


def begin(journal: Journal, session: GridSession, plan: Plan, folder: Path) -> Recovery:
    # A dead owner, so that the next one may end it.
    owner = this_process().model_copy(update={"started_at": 1})
    recovery = contract.open_recovery(journal, session, plan, owner, at=NOW)
    return contract.save_state(journal, session, recovery, folder=folder, limit_bytes=64 << 20)


def carry_out(journal: Journal, target: Target, around: Surroundings, plan: Plan, folder: Path) -> Recovery:
    """As the flow does it, without Prefect."""
    with session_on(target, around) as session:
        recovery = begin(journal, session, plan, folder)
        reached = take_all_steps(journal, session, recovery, clock=lambda: NOW)
        return contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=NOW, reached=reached)


@contextlib.contextmanager
def session_on(target: Target, around: Surroundings) -> Iterator[GridSession]:
    with open_session(target, around) as session:
        session.__class__ = MortalSession
        yield session


def places(client: valkey.Valkey, grid: Grid) -> set[tuple[int, int, int]]:
    with conversation(client) as talk:
        listed = read_lost(talk, grid.manifest)
    assert not listed.problems
    return {(page.group, page.block % 1024 // 64, page.page) for page in listed.pages}


def lost_pages_of(client: valkey.Valkey, grid: Grid) -> tuple[LostPage, ...]:
    with conversation(client) as talk:
        return read_lost(talk, grid.manifest).pages


def is_whole_by_hand(client: valkey.Valkey, grid: Grid, group: int) -> bool:
    """Built once more from the data alone, by the words of the format: every value must be the same."""
    values = client.mget(keys_of(group))
    blocks = {m: np.frombuffer(values[m][:65_536], np.uint8) for m in range(16) if values[m] is not None}
    wanted = make_group(grid, group, blocks)
    return values[:19] == wanted


def make_group(grid: Grid, group: int, blocks: dict[int, np.ndarray]) -> list[bytes | None]:
    earlier = grid_by_hand.GRID_KEY
    grid_by_hand.GRID_KEY = xxhash.xxh3_64_intdigest(grid.manifest.uuid.bytes)
    try:
        image = grid_by_hand.make_group(group, blocks, grid.manifest.uuid)
    finally:
        grid_by_hand.GRID_KEY = earlier
    return [*image.values, image.sums]


def test_what_nothing_proves_is_zeroed_listed_and_the_rest_is_protected_again(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """Good pages keep their bytes; parity, checksums and list are those an independent reader expects."""
    good = values_of(client)
    harm(client)
    plan = plan_for(target, around)
    assert (plan.risk, len(plan.units), plan.left_open) == (Risk.HIGH, 2, ())
    assert {step.step_class for unit in plan.units for step in unit.steps} == {StepClass.ONE_WAY}
    assert "m8:{" not in plan.model_dump_json()
    assert plan_for(target, around).digest == plan.digest
    recovery = carry_out(journal, target, around, plan, tmp_path / "saved")
    assert recovery.state is RecoveryState.HEALTHY
    assert {step.state for step in journal.read(recovery.id).steps} == {StepState.COMMITTED}
    assert diagnose(target, around).is_healthy
    report = scrub(client, grid.manifest, ScrubOptions(is_deep=True)).report
    assert (report.damaged_groups, report.quarantined_pages) == (0, len(LOST))
    assert places(client, grid) == LOST
    now = values_of(client)
    for group in GROUPS:
        assert is_whole_by_hand(client, grid, group)
        for member in range(16):
            key = role_key(NAME, group, member)
            for page in range(16):
                part = slice(page * 4096, (page + 1) * 4096)
                is_lost = (group, member, page) in LOST
                assert now[key][part] == (bytes(4096) if is_lost else good[key][part])
    assert sum(cells.count for cells in grid.lost_cells()) == len(LOST) * PAGE_CELLS


def test_damage_that_parity_may_not_repair_is_not_repaired_by_giving_up_other_pages(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """A group is written as a whole, and of what it held only the pages that are given up are kept."""
    del grid
    harm(client)
    client.setrange(role_key(NAME, 1, 4), 9 * 4096 + 100, b"damage")
    report = diagnose(target, around)
    only = target.model_copy(update={"allow": ("quarantine_lost_pages",)})
    plan = plan_quarantine(report.issues[0], report, only)
    assert [unit.title for unit in plan.units] == ["parity group 0 of grid lab"]
    assert "parity group 1 is not given up before rebuild_from_parity" in plan.left_open[0]
    both = target.model_copy(update={"allow": ("rebuild_from_parity", "quarantine_lost_pages")})
    assert len(plan_quarantine(report.issues[0], report, both).units) == len(GROUPS)


def test_the_list_has_the_bytes_that_the_format_says(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """Written down a second time, with the checksum that each page had before."""
    sums = client.get(sums_key(NAME, 1))
    harm(client)
    recovery = carry_out(journal, target, around, plan_for(target, around), tmp_path / "saved")
    body = b"m8gl" + struct.pack("<HH", 1, 2) + grid.manifest.uuid.bytes + struct.pack("<Q", 1)
    for member, page in ((2, 5), (9, 5)):
        at = 32 + member * 128 + page * 8
        body += bytes([member, page, 1, 0, 0, 0, 0, 0]) + sums[at : at + 8]
        body += struct.pack("<Q", int(NOW.timestamp())) + bytes.fromhex(recovery.id.replace("-", ""))
    assert client.get(lost_key(NAME, 1)) == grid_by_hand.sealed(body)


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("write", [0, 1])
def test_a_quarantine_that_is_killed_at_any_write_leaves_each_group_as_found_or_given_up(
    grid: Grid,
    client: valkey.Valkey,
    target: Target,
    around: Surroundings,
    journal: Journal,
    tmp_path: Path,
    landed: bool,
    write: int,
) -> None:
    """SIGKILL before and after each of its writes; the next owner ends it, and nothing is in between."""
    harm(client)
    damaged = values_of(client)
    plan = plan_for(target, around)

    def die() -> None:
        MortalSession.dies_at, MortalSession.landed, MortalSession.writes = write, landed, 0
        own = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
        carry_out(own, target, around, plan, tmp_path / "saved")

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join(timeout=60)
    assert child.exitcode == -signal.SIGKILL
    (dead,) = interrupted.interrupted_on(journal, NAME)
    with session_on(target, around) as session:
        ended = undo.end_interrupted(journal, session, dead, this_process(), clock=lambda: NOW)
    given_up = write + landed
    assert ended.state is RecoveryState.RESTORED
    notes = [step.note for step in journal.read(dead.id).steps]
    if landed:
        assert "took effect and cannot be taken back" in notes[write]
        assert ended.left == (notes[write],)
    else:
        assert (notes[write], ended.left) == ("held what was saved", ())
    now = values_of(client)
    for number, group in enumerate(GROUPS):
        if number < given_up:
            assert is_whole_by_hand(client, grid, group)
        else:
            assert {key: now[key] for key in keys_of(group)} == {key: damaged[key] for key in keys_of(group)}
    assert places(client, grid) == {place for place in LOST if place[0] < given_up}
    # And it can be ended from there, with a new approval of what is left.
    if given_up < len(GROUPS):
        again = plan_for(target, around)
        assert len(again.units) == len(GROUPS) - given_up
        carry_out(journal, target, around, again, tmp_path / "again")
    assert diagnose(target, around).is_healthy
    assert places(client, grid) == LOST


def test_a_write_to_a_good_page_at_the_same_moment_is_noticed_and_nothing_of_it_is_lost(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """A writer hurries on until its writes were in the way; then the group is given up as it is by then."""
    stop, errors, written = threading.Event(), list[Exception](), dict[int, int]()
    wrote = threading.Event()
    harm(client)
    item = GiveUp.model_validate(plan_for(target, around).units[0].steps[0].arguments).item

    def write() -> None:
        with connection(target.address) as own:
            theirs = Grid.open(own, NAME)
            number = 0
            while not stop.is_set():
                number += 1
                cell = np.zeros(1, dtype=CELL)
                cell["id"] = number
                index = block_at(0, 5) * BLOCK_CELLS + number % BLOCK_CELLS
                try:
                    theirs.write_cells([index], cell)
                except Exception as exc:  # noqa: BLE001
                    errors.append(exc)
                    return
                written[index] = number
                wrote.set()

    failed: list[int] = []

    def pause(attempt: int) -> None:
        failed.append(attempt)
        stop.set()
        writer.join(timeout=60)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert wrote.wait(60)
        expected = quarantine.saved_form(client, item)
        new = quarantine.wanted(client, item, recovery=RECOVERY, at_s=1)
        answer = quarantine.swap(client, item, expected, new, (), Patience(2, pause))
    finally:
        stop.set()
        writer.join(timeout=60)
    assert (answer, failed, errors) == (Answer.WRITTEN, [0], [])
    assert grid.read_cells(list(written))["id"].tolist() == list(written.values())
    assert is_whole_by_hand(client, grid, 0)
    assert places(client, grid) == {place for place in LOST if place[0] == 0}


class WritesInBetween(Sequence[Check]):
    """A fence without checks; whoever looks at it for the first time is overtaken by a writer."""

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self.looks = 0

    def __iter__(self) -> Iterator[Check]:
        self.looks += 1
        if self.looks == 1:
            self._write()
        return iter(())

    def __len__(self) -> int:
        return 0

    def __getitem__(self, at: object) -> Any:
        raise IndexError(at)


def test_a_write_between_the_reading_and_the_writing_is_kept(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """To a good page of the group, after all of it was read: the whole is read again."""
    harm(client)
    item = GiveUp.model_validate(plan_for(target, around).units[0].steps[0].arguments).item
    index = block_at(0, 5) * BLOCK_CELLS + 7
    overtaken = WritesInBetween(lambda: grid.write_cells([index], np.ones(1, dtype=CELL)))
    expected = quarantine.saved_form(client, item)
    new = quarantine.wanted(client, item, recovery=RECOVERY, at_s=1)
    failed: list[int] = []
    answer = quarantine.swap(client, item, expected, new, overtaken, Patience(3, failed.append))
    assert (answer, failed) == (Answer.WRITTEN, [0])
    assert grid.read_cells([index])["id"].tolist() == [1]
    assert is_whole_by_hand(client, grid, 0)


def test_a_list_that_somebody_writes_between_the_reading_and_the_writing_is_kept(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """Rows of others would be gone, and with them all that says which of their cells were lost."""
    harm(client)
    item = GiveUp.model_validate(plan_for(target, around).units[0].steps[0].arguments).item
    theirs = pack_lost(grid.manifest.uuid, 0, [LostRow(5, 5, None, 1, uuid.UUID(RECOVERY))])
    overtaken = WritesInBetween(lambda: client.set(lost_key(NAME, 0), theirs or b""))
    expected = quarantine.saved_form(client, item)
    new = quarantine.wanted(client, item, recovery=RECOVERY, at_s=1)
    answer = quarantine.swap(client, item, expected, new, overtaken, Patience(3, lambda _: None))
    assert answer is Answer.CHANGED
    assert client.get(lost_key(NAME, 0)) == theirs


def test_a_value_that_became_another_type_is_not_saved_as_nothing(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """After the plan was made: what its content was could not be put back, so a person goes first."""
    del grid
    harm(client)
    step = plan_for(target, around).units[0].steps[0]
    client.rpush(role_key(NAME, 0, 3), b"somebody's")
    with session_on(target, around) as session, pytest.raises(RefusedError, match="another type"):
        session.capture(step)


def test_other_pages_than_those_that_were_approved_are_not_given_up(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """One more page is lost after the plan was made: nothing is written, and the new plan is another one."""
    del grid
    harm(client)
    plan = plan_for(target, around)
    client.setrange(role_key(NAME, 0, 12), 100, b"damage")
    damaged = values_of(client)
    with session_on(target, around) as session:
        recovery = begin(journal, session, plan, tmp_path / "saved")
        with pytest.raises(ChangedError, match="group 0: other pages than the 48"):
            contract.apply_step(journal, session, recovery, 0, clock=lambda: NOW)
        undo.undo(journal, session, recovery, clock=lambda: NOW)
    assert values_of(client) == damaged
    assert plan_for(target, around).digest != plan.digest


def test_pages_that_somebody_changed_since_they_were_saved_are_not_given_up(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """As lost as before, and not what was saved: what is there now is kept by nobody yet."""
    del grid
    harm(client)
    plan = plan_for(target, around)
    with session_on(target, around) as session:
        recovery = begin(journal, session, plan, tmp_path / "saved")
        step = plan.units[1].steps[0]
        expected, new = session.capture(step), session.prepare(step)
        client.setrange(role_key(NAME, 1, 2), 5 * 4096, b"other damage")
        damaged = values_of(client)
        with pytest.raises(ChangedError):
            session.swap(step, expected=expected, new=new, claim=recovery.claim)
        with pytest.raises(ChangedError):
            contract.apply_step(journal, session, recovery, 1, clock=lambda: NOW)
    assert values_of(client) == damaged


def test_nothing_is_given_up_without_the_claim(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """The comparison with the claim and the writes are one act."""
    del grid
    harm(client)
    damaged = values_of(client)
    plan = plan_for(target, around)
    with session_on(target, around) as session:
        recovery = begin(journal, session, plan, tmp_path / "saved")
        step = plan.units[0].steps[0]
        expected, new = session.capture(step), session.prepare(step)
        client.set("medic8:claim", b"journal-2 recovery-2 9:0")
        with pytest.raises(FencedError):
            session.swap(step, expected=expected, new=new, claim=recovery.claim)
    assert values_of(client) == damaged


def test_what_was_written_over_is_kept_for_a_person(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """The damaged bytes of every page that was given up, each after its length."""
    del grid
    harm(client)
    damaged = client.get(role_key(NAME, 1, 2))
    plan = plan_for(target, around)
    recovery = carry_out(journal, target, around, plan, tmp_path / "saved")
    values = (Path(journal.read(recovery.id).saved_state) / "values.bin").read_bytes()
    assert struct.pack("<H", 4096) + damaged[5 * 4096 : 6 * 4096] in values
    assert values.startswith(
        bytes(2 * 48) + b"\xff\xff\xff\xff"
    )  # 48 pages of blocks that were gone; no list


@pytest.mark.parametrize("writes_since", [False, True])
def test_a_begun_step_is_known_to_have_taken_effect_although_others_wrote_since(
    grid: Grid,
    client: valkey.Valkey,
    target: Target,
    around: Surroundings,
    journal: Journal,
    tmp_path: Path,
    writes_since: bool,
) -> None:
    """The list names the recovery, so nobody has to be asked."""
    harm(client)
    plan = plan_for(target, around)
    with session_on(target, around) as session:
        recovery = begin(journal, session, plan, tmp_path / "saved")
        step = plan.units[0].steps[0]
        expected, new = session.capture(step), session.prepare(step)
        journal.begun(recovery, 0, written_digest=contract.digest_of(new), at=NOW)
        session.swap(step, expected=expected, new=new, claim=recovery.claim)
        if writes_since:
            grid.write_cells([block_at(0, 3) * BLOCK_CELLS], np.ones(1, dtype=CELL))
        ended = undo.undo(journal, session, recovery, clock=lambda: NOW)
    assert ended.state is RecoveryState.RESTORED
    since = "; somebody wrote there since" if writes_since else ""
    assert ended.left == (f"parity group 0 of grid lab: took effect and cannot be taken back{since}",)
    # What somebody writes to a lost page leaves it on the list: its other cells are still lost.
    assert {place for place in places(client, grid) if place[0] == 0} == {p for p in LOST if p[0] == 0}


def test_a_begun_step_after_which_the_group_was_replaced_needs_a_person(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """Neither the old damage nor the list is there: nothing tells whether it took effect."""
    harm(client)
    plan = plan_for(target, around)
    with session_on(target, around) as session:
        recovery = begin(journal, session, plan, tmp_path / "saved")
        journal.begun(recovery, 0, written_digest="1" * 64, at=NOW)
        grid.fill(lambda _: np.zeros(2048, dtype=CELL), groups=[0])
        ended = undo.undo(journal, session, recovery, clock=lambda: NOW)
    assert ended.state is RecoveryState.NEEDS_PERSON
    assert "look whether it took effect" in ended.left[0]


def test_a_whole_new_group_has_no_list(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """Every cell of it is somebody's again."""
    harm(client)
    carry_out(journal, target, around, plan_for(target, around), tmp_path / "saved")
    grid.fill(lambda _: np.zeros(2048, dtype=CELL), groups=[0])
    assert places(client, grid) == {place for place in LOST if place[0] == 1}
    assert not client.exists(lost_key(NAME, 0))


@pytest.mark.parametrize("harm_list", ["flip", "type", "long", "foreign", "empty"])
def test_a_damaged_list_is_a_finding_that_a_person_has_to_dismiss(
    grid: Grid,
    client: valkey.Valkey,
    target: Target,
    around: Surroundings,
    journal: Journal,
    tmp_path: Path,
    harm_list: str,
) -> None:
    """There is no second copy: nothing is invented, nothing dropped, and nothing else given up there."""
    harm(client)
    carry_out(journal, target, around, plan_for(target, around), tmp_path / "saved")
    key = lost_key(NAME, 0)
    record = client.get(key)
    match harm_list:
        case "flip":
            client.setrange(key, 40, bytes([record[40] ^ 0xFF]))
        case "type":
            client.delete(key)
            client.rpush(key, b"somebody's")
        case "long":
            client.append(key, bytes(1 << 20))
        case "empty":
            client.set(key, b"")
        case _:
            client.set(key, grid_by_hand.sealed(record[:8] + bytes(16) + record[24:-8]))
    report = diagnose(target, around)
    assert not report.is_healthy
    assert "list of lost pages" in report.analysis.findings[0].text
    client.delete(*(role_key(NAME, 0, member) for member in (0, 1, 2)))
    plan = plan_for(target, around)
    assert plan.units == ()
    assert "group 0" in " ".join(plan.left_open)
    with conversation(client) as talk:
        assert read_lost(talk, grid.manifest).damaged_groups == (0,)


def test_a_group_without_its_record_is_given_up_as_far_as_nothing_is_known_of_it(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """Which absent blocks were ever written is not known: they are listed, without a checksum."""
    good = values_of(client)
    client.delete(sums_key(NAME, 0), *(role_key(NAME, 0, member) for member in (3, 7, 11)))
    carry_out(journal, target, around, plan_for(target, around), tmp_path / "saved")
    assert diagnose(target, around).is_healthy
    assert is_whole_by_hand(client, grid, 0)
    assert places(client, grid) == {(0, member, page) for member in (3, 7, 11) for page in range(16)}
    with conversation(client) as talk:
        assert {page.checksum for page in read_lost(talk, grid.manifest).pages} == {""}
    now = values_of(client)
    kept = [role_key(NAME, 0, member) for member in range(16) if member not in (3, 7, 11)]
    assert {key: now[key] for key in kept} == {key: good[key] for key in kept}


def test_what_is_lost_again_is_given_up_again_and_listed_once(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """With the later recovery and checksum; pages that were on the list before stay."""
    harm(client)
    first = carry_out(journal, target, around, plan_for(target, around), tmp_path / "first")
    grid.write_cells([block_at(1, 2) * BLOCK_CELLS + 5 * PAGE_CELLS], np.ones(1, dtype=CELL))
    for member in (2, 4, 6):
        client.setrange(role_key(NAME, 1, member), 5 * 4096 + 100, b"damage")
    second = carry_out(journal, target, around, plan_for(target, around), tmp_path / "second")
    with conversation(client) as talk:
        listed = read_lost(talk, grid.manifest)
    by = {(page.block % 1024 // 64): page.recovery for page in listed.pages if page.group == 1}
    assert by == {2: second.id, 4: second.id, 6: second.id, 9: first.id}
    assert is_whole_by_hand(client, grid, 1)


def test_a_page_that_is_lost_again_before_anybody_filled_it_keeps_the_checksum_of_its_content(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """Else nothing tells whether what turns up is the last state; one that was written has a new one."""
    harm(client)
    carry_out(journal, target, around, plan_for(target, around), tmp_path / "first")
    grid.write_cells([block_at(1, 9) * BLOCK_CELLS + 5 * PAGE_CELLS], np.ones(1, dtype=CELL))
    before = {page.block: page.checksum for page in lost_pages_of(client, grid) if page.group == 1}
    sums = client.get(sums_key(NAME, 1))
    for member in (2, 4, 9):
        client.setrange(role_key(NAME, 1, member), 5 * 4096 + 100, b"damage")
    second = carry_out(journal, target, around, plan_for(target, around), tmp_path / "second")
    after = {page.block: page for page in lost_pages_of(client, grid) if page.group == 1}
    assert {page.recovery for page in after.values()} == {second.id}
    assert after[block_at(1, 2)].checksum == before[block_at(1, 2)]
    at = 32 + 9 * 128 + 5 * 8
    assert after[block_at(1, 9)].checksum == f"{int.from_bytes(sums[at : at + 8], 'little'):016x}"


def test_a_yes_to_one_loss_is_none_to_a_later_one_of_the_same_pages(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """They were filled meanwhile with something else, and nobody has agreed to lose that."""
    harm(client)
    plan = plan_for(target, around)
    carry_out(journal, target, around, plan, tmp_path / "first")
    for group, member, page in LOST:
        first = block_at(group, member) * BLOCK_CELLS + page * PAGE_CELLS
        grid.write_cells(range(first, first + PAGE_CELLS), np.full(PAGE_CELLS * 32, 7, np.uint8).view(CELL))
    client.delete(*(lost_key(NAME, group) for group in GROUPS))
    harm(client)
    again = plan_for(target, around)
    assert [step.title for unit in again.units for step in unit.steps] == [
        step.title for unit in plan.units for step in unit.steps
    ]
    assert again.digest != plan.digest


def test_random_harm_ends_whole_with_every_page_right_or_listed(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """Records, footers and parity included: first what is proven, then the rest is given up."""
    good = values_of(client)
    given_up = 0
    for seed in range(8):
        put(client, good)
        rng = random.Random(seed)
        for _ in range(10):
            key = rng.choice(keys_of(rng.choice(GROUPS))[:19])
            if rng.random() < 0.4:
                client.delete(key)
            elif client.exists(key):
                client.setrange(key, rng.randrange(len(good[key]) - 4), rng.randbytes(4))
        for group in GROUPS:
            rebuild_group(client, grid.manifest, group)
        report = diagnose(target, around)
        if report.is_healthy:
            continue
        plan = plan_quarantine(report.issues[0], report, target)
        carry_out(journal, target, around, plan, tmp_path / "saved")
        assert scrub(client, grid.manifest, ScrubOptions(is_deep=True)).report.is_clean
        lost, now = places(client, grid), values_of(client)
        given_up += len(lost)
        for group in GROUPS:
            assert is_whole_by_hand(client, grid, group)
            for member in range(16):
                key = role_key(NAME, group, member)
                for page in range(16):
                    part = slice(page * 4096, (page + 1) * 4096)
                    wanted = bytes(4096) if (group, member, page) in lost else good[key][part]
                    assert now[key][part] == wanted
    assert given_up


def test_a_value_of_another_type_is_moved_away_by_a_person_first(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """Its content would not be saved, so it is not written over."""
    del grid
    harm(client)
    client.rpush(role_key(NAME, 0, 3), b"somebody's")
    plan = plan_for(target, around)
    assert [unit.title for unit in plan.units] == ["parity group 1 of grid lab"]
    assert any("another type: move it away" in line for line in plan.left_open)


def test_a_grid_on_a_replica_is_diagnosed_and_not_repaired(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, journal: Journal
) -> None:
    """What would be written there never reaches the primary."""
    del grid
    harm(client)
    plan = plan_for(target, around)
    client.replicaof("127.0.0.1", "1")
    try:
        report = diagnose(target, around)
        assert report.grid is not None
        assert report.grid.health.replica_of == "127.0.0.1:1"
        refused = plan_quarantine(report.issues[0], report, target)
        assert refused.units == ()
        assert "point the target's url at the primary" in refused.left_open[0]
        with session_on(target, around) as session, pytest.raises(RefusedError, match="is a replica of 127"):
            contract.open_recovery(journal, session, plan, this_process(), at=NOW)
    finally:
        client.replicaof("NO", "ONE")
