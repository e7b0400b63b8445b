"""A repair that dies at any write leaves every block proven good, or exactly as it was found."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import valkey
from pydantic import SecretStr

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.errors import ChangedError, FencedError, TransientError, VerifyError
from medic8.local.scratch import scratch_valkey
from medic8.model.plan import Plan, Step
from medic8.model.recovery import Claim, Recovery, RecoveryState
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract, interrupted, undo
from medic8.recovery.hand_over import hand_over
from medic8.recovery.journal import Journal
from medic8.targets.grid.actions import GridSession, open_session
from medic8.targets.grid.backup import create_backup
from medic8.targets.grid.backup_reading import grid_repository
from medic8.targets.grid.compare_and_write import Road
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.kind import KIND
from medic8.targets.grid.layout import BLOCK_CELLS, block_at
from medic8.targets.grid.manifest import create_manifest
from medic8.targets.grid.strategies import plan_from_backup, plan_from_parity, plan_quarantine
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.client import connection
from tests.recovery.steps import take_all_steps

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAME = "lab"
GROUPS = (0, 1, 2, 3)

Values = dict[str, bytes | None]


class Died(BaseException):
    """The process is gone; nothing catches this but the test."""


class MortalSession(GridSession):
    """A real session that dies at a write, before it or after it landed."""

    writes = 0
    dies_at: int | None = None
    landed = False

    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        dies = type(self).writes == type(self).dies_at
        type(self).writes += 1
        if not dies or type(self).landed:
            super().swap(step, expected=expected, new=new, claim=claim)
        if dies:
            raise Died


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
    """Get a grid with four whole groups."""
    grid = Grid.create(client, NAME, 32)
    rng = np.random.default_rng(1)
    grid.fill(lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=GROUPS)
    return grid


def values_of(client: valkey.Valkey) -> Values:
    keys = [role_key(NAME, group, role) for group in GROUPS for role in range(18)]
    keys += [sums_key(NAME, group) for group in GROUPS] + list(manifest_keys(NAME))
    return dict(zip(keys, client.mget(keys), strict=True))


def put(client: valkey.Valkey, values: Values) -> None:
    for key, value in values.items():
        if value is None:
            client.delete(key)
        else:
            client.set(key, value)


def harm(client: valkey.Valkey) -> None:
    """At most two values of a group: pages, footers, whole values, the record, a copy of the manifest."""
    client.setrange(role_key(NAME, 0, 3), 5000, b"damage")
    client.delete(role_key(NAME, 0, 16))
    client.delete(role_key(NAME, 1, 7))
    client.setrange(role_key(NAME, 1, 8), 65_536 + 40, b"\xff\xfe\xfd")
    client.set(role_key(NAME, 2, 0), b"short")
    client.setrange(sums_key(NAME, 3), 100, b"\xff\xfe")
    client.delete(manifest_keys(NAME)[1])


def diagnose(target: Target, around: Surroundings) -> DiagnosticReport:
    results = {name: look(target, around) for name, look in KIND.diagnostics.items()}
    analysis = analyze(results.values())
    issues = detect_issues(analysis, KIND.rules, target=target.name, at=NOW)
    return DiagnosticReport(
        target=target.name, kind="grid", results=results, analysis=analysis, issues=issues, taken_at=NOW
    )


def plan_for(target: Target, around: Surroundings) -> Plan:
    report = diagnose(target, around)
    return plan_from_parity(report.issues[0], report, target)


@contextlib.contextmanager
def session_on(target: Target, around: Surroundings, *, mortal: bool = False) -> Iterator[GridSession]:
    with open_session(target, around) as session:
        if mortal:
            session.__class__ = MortalSession
        yield session


def carry_out(journal: Journal, target: Target, around: Surroundings, plan: Plan, folder: Path) -> Recovery:
    """As the flow does it, without Prefect; a dead owner, so that the next one may end it."""
    owner = this_process().model_copy(update={"started_at": 1})
    with session_on(target, around, mortal=True) as session:
        recovery = contract.open_recovery(journal, session, plan, owner, at=NOW)
        recovery = contract.save_state(journal, session, recovery, folder=folder, limit_bytes=64 << 20)
        reached = take_all_steps(journal, session, recovery, clock=lambda: NOW)
        return contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=NOW, reached=reached)


def test_every_kind_of_damage_within_parity_is_healed_bit_for_bit(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path
) -> None:
    """Pages, footers, missing and truncated values, the record and the manifest, in one plan."""
    assert grid.layout.groups == 64
    good = values_of(client)
    harm(client)
    MortalSession.dies_at = None
    plan = plan_for(target, around)
    assert plan.left_open == ()
    recovery = carry_out(
        Journal(f"sqlite:///{tmp_path}/journal.sqlite"), target, around, plan, tmp_path / "saved"
    )
    assert recovery.state is RecoveryState.HEALTHY
    assert values_of(client) == good
    assert diagnose(target, around).is_healthy
    assert client.get(CLAIM_KEY) is None


def unproven(plan: Plan) -> Plan:
    """The same plan with units that do not prove themselves, so that undo puts everything back."""
    units = tuple(unit.model_copy(update={"proves_itself": False}) for unit in plan.units)
    return plan.model_copy(update={"units": units})


@pytest.fixture
def cli(tmp_path: Path) -> Path:
    """Get a folder with ``valkey-cli``: that of this machine, or a few lines that send what it would."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "valkey-cli"
    if found := shutil.which("valkey-cli") or shutil.which("redis-cli"):
        program.symlink_to(found)
        return folder
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys, valkey\n"
        "words, options = sys.argv[1:], {}\n"
        "while words[0] in {'-h', '-p', '-n', '-s', '--user'}:\n"
        "    option, value, *words = words\n"
        "    options[option] = value\n"
        "more = [sys.stdin.buffer.read()] if words[0] == '-x' else []\n"
        "client = valkey.Valkey(options.get('-h'), options.get('-p'), int(options.get('-n', 0)),\n"
        "    username=options.get('--user'), password=os.environ.get('VALKEYCLI_AUTH'))\n"
        "client.execute_command(*words[len(more):], *more)\n"
    )
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize("landed", [False, True])
def test_a_repair_that_dies_at_any_write_leaves_each_value_good_or_as_found(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path, landed: bool
) -> None:
    """For every write of the repair: it dies there, the next owner ends it, and nothing is in between."""
    del grid
    good = values_of(client)
    harm(client)
    damaged = values_of(client)
    plan = plan_for(target, around)
    MortalSession.landed = landed
    for number in range(plan.step_count):
        put(client, damaged)
        journal = Journal(f"sqlite:///{tmp_path}/{number}.sqlite")
        MortalSession.writes, MortalSession.dies_at = 0, number
        with pytest.raises(Died):
            carry_out(journal, target, around, plan, tmp_path / f"saved-{number}")
        (dead,) = interrupted.interrupted_on(journal, NAME)
        with session_on(target, around) as session:
            ended = undo.end_interrupted(journal, session, dead, this_process(), clock=lambda: NOW)
        assert ended.state is RecoveryState.RESTORED
        assert ended.left == ()
        now = values_of(client)
        wrong = [key for key in good if now[key] not in {good[key], damaged[key]}]
        assert wrong == []
        # And healing can go on from there.
        MortalSession.dies_at = None
        if not diagnose(target, around).is_healthy:  # after the last write everything is proven already
            carry_out(journal, target, around, plan_for(target, around), tmp_path / f"again-{number}")
        assert values_of(client) == good
        journal.dispose()


def test_a_grid_of_a_cluster_is_repaired_with_the_fence_in_each_slot(
    tmp_path: Path, around: Surroundings
) -> None:
    """A node with all slots: a group's values are compared with a claim in their own slot."""
    config = {"cluster-enabled": "yes"}
    MortalSession.dies_at = None
    with scratch_valkey(tmp_path, config=config) as server, connection(server.url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            time.sleep(0.02)
        rng = np.random.default_rng(1)
        created = Grid.create(client, NAME, 32)
        created.fill(lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=(0, 1))
        good = client.get(role_key(NAME, 0, 3))
        client.setrange(role_key(NAME, 0, 3), 5000, b"damage")
        client.delete(role_key(NAME, 1, 7))
        target = Target(name=NAME, kind="grid", url=server.url, grid=NAME)
        plan = plan_for(target, around)
        journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
        with session_on(target, around) as session:
            recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
            assert recovery.claim.tags == (f"{NAME}/0", f"{NAME}/1")
            places = [CLAIM_KEY, *(CLAIM_KEY + b":{" + tag.encode() + b"}" for tag in recovery.claim.tags)]
            assert [client.get(place) for place in places] == [recovery.claim.content] * 3
            recovery = contract.save_state(
                journal, session, recovery, folder=tmp_path / "saved", limit_bytes=64 << 20
            )
            client.set(places[1], b"journal-2 recovery-2 9:0")
            step = plan.units[0].steps[0]
            found, wanted = session.capture(step), session.prepare(step)
            with pytest.raises(FencedError):
                session.swap(step, expected=found, new=wanted, claim=recovery.claim)
            client.set(places[1], recovery.claim.content)
            reached = take_all_steps(journal, session, recovery, clock=lambda: NOW)
            contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=NOW, reached=reached)
        assert client.get(role_key(NAME, 0, 3)) == good
        assert diagnose(target, around).is_healthy
        assert [client.get(place) for place in places] == [None] * 3
    journal.dispose()


@pytest.mark.parametrize("road", [None, Road.WATCH])
@pytest.mark.parametrize("passes", [False, True])
def test_a_value_that_expires_is_kept_for_good_and_its_expiry_put_back_by_undo(
    grid: Grid,
    client: valkey.Valkey,
    target: Target,
    around: Surroundings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    road: Road | None,
    passes: bool,
) -> None:
    """A repaired value does not expire; undo brings the absolute time back, or nothing once it has passed."""
    del grid
    if road is not None:
        monkeypatch.setattr("medic8.targets.grid.compare_and_write.SCRIPT_LIMIT_BYTES", 0)
    key = role_key(NAME, 2, 0)
    client.set(key, b"short", px=1500 if passes else 3_600_000)
    expires_at_ms = client.pexpiretime(key)
    plan = unproven(plan_for(target, around))
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    with session_on(target, around) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path, limit_bytes=64 << 20)
        contract.apply_step(journal, session, recovery, 0, clock=lambda: NOW)
        assert client.pexpiretime(key) == -1
        while passes and client.time()[0] * 1000 <= expires_at_ms:
            time.sleep(0.05)
        ended = undo.undo(journal, session, recovery, clock=lambda: NOW)
    assert (ended.state, ended.left) == (RecoveryState.RESTORED, ())
    assert client.get(key) == (None if passes else b"short")
    assert client.pexpiretime(key) == (-2 if passes else expires_at_ms)
    journal.dispose()


def test_an_expiry_that_somebody_gave_a_value_meanwhile_stays(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path
) -> None:
    """Between saving and writing: theirs is no part of what is compared, and is not taken away."""
    del grid
    key = role_key(NAME, 2, 0)
    client.set(key, b"short")
    plan = plan_for(target, around)
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    with session_on(target, around) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
        step = plan.units[0].steps[0]
        expected, new = session.capture(step), session.prepare(step)
        client.pexpireat(key, 4_000_000_000_000)
        session.swap(step, expected=expected, new=new, claim=recovery.claim)
    assert client.pexpiretime(key) == 4_000_000_000_000
    journal.dispose()


def test_the_commands_for_a_person_put_back_what_was_there(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path, cli: Path
) -> None:
    """Pages, footers, whole and missing values, an expiry: typed into a shell as they stand in the record."""
    del grid
    harm(client)
    client.pexpireat(role_key(NAME, 2, 0), 4_000_000_000_000)
    damaged = values_of(client)
    client.acl_setuser("ops", enabled=True, passwords=["+s3cret"], keys=["*"], categories=["+@all"])
    target = target.model_copy(
        update={"url": SecretStr(target.address.replace("valkey://", "valkey://ops:s3cret@"))}
    )
    plan = plan_for(target, around)
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    with session_on(target, around) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path, limit_bytes=64 << 20)
        for number in range(plan.step_count):
            contract.apply_step(journal, session, recovery, number, clock=lambda: NOW)
        ended = hand_over(journal, session, recovery, "nobody can end it", at=NOW)
    assert values_of(client) != damaged
    for command in (line.removeprefix("by hand: ") for line in ended.left if line.startswith("by hand: ")):
        path = {**os.environ, "PATH": f"{cli}:{os.environ['PATH']}"}
        unset = subprocess.run(command, shell=True, check=False, env=path, capture_output=True)  # noqa: S602
        assert b"M8PASS" in unset.stderr
        subprocess.run(command, shell=True, check=True, env={**path, "M8PASS": "s3cret"})  # noqa: S602
    assert values_of(client) == damaged
    assert client.pexpiretime(role_key(NAME, 2, 0)) == 4_000_000_000_000
    journal.dispose()


@pytest.mark.parametrize(
    "content",
    [
        b"\0expires at 4102444800000\nvalue",
        b"\0expires at noon\n",
        b"\0a value of type list",
        b"\0as it is\nx",
    ],
)
def test_a_value_that_looks_like_our_own_notes_is_repaired_and_put_back_as_it_was(
    grid: Grid,
    client: valkey.Valkey,
    target: Target,
    around: Surroundings,
    tmp_path: Path,
    content: bytes,
) -> None:
    """Damage may consist of any bytes."""
    del grid
    key = role_key(NAME, 2, 0)
    good = client.get(key)
    client.set(key, content)
    plan = unproven(plan_for(target, around))
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    with session_on(target, around) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path, limit_bytes=64 << 20)
        contract.apply_step(journal, session, recovery, 0, clock=lambda: NOW)
        assert client.get(key) == good
        ended = undo.undo(journal, session, recovery, clock=lambda: NOW)
    assert (ended.state, ended.left) == (RecoveryState.RESTORED, ())
    assert (client.get(key), client.pexpiretime(key)) == (content, -1)
    journal.dispose()


def test_undo_puts_the_damage_back_byte_for_byte(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path
) -> None:
    """A unit that did not prove itself is put back as it was found, however broken that was."""
    del grid
    harm(client)
    damaged = values_of(client)
    plan = unproven(plan_for(target, around))
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    with session_on(target, around) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path, limit_bytes=64 << 20)
        for number in range(plan.step_count):
            contract.apply_step(journal, session, recovery, number, clock=lambda: NOW)
        ended = undo.undo(journal, session, recovery, clock=lambda: NOW)
    assert (ended.state, ended.left) == (RecoveryState.RESTORED, ())
    assert values_of(client) == damaged
    journal.dispose()


def test_a_write_without_the_claim_is_refused(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path
) -> None:
    """The comparison with the claim and the write are one act on the server."""
    del grid
    harm(client)
    damaged = values_of(client)
    plan = plan_for(target, around)
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    with session_on(target, around) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
        client.set(CLAIM_KEY, b"journal-2 recovery-2 9:0")
        for unit in plan.units:
            for step in unit.steps:
                present, wanted = session.capture(step), session.prepare(step)
                with pytest.raises(FencedError):
                    session.swap(step, expected=present, new=wanted, claim=recovery.claim)
        client.set(CLAIM_KEY, recovery.claim.content)
        step = plan.units[0].steps[0]
        with pytest.raises(ChangedError):
            session.swap(step, expected=b"something else", new=session.prepare(step), claim=recovery.claim)
        with pytest.raises(VerifyError):
            session.verify(plan.units[0])
    assert values_of(client) == damaged
    journal.dispose()


def test_a_writer_at_the_same_page_does_not_fail_a_good_repair(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path
) -> None:
    """P is rebuilt while a writer changes the very pages that it covers: what was proven stays proven."""
    stop, errors = threading.Event(), list[Exception]()

    def write() -> None:
        with connection(target.address) as own:
            theirs = Grid.open(own, NAME)
            number = 0
            while not stop.is_set():
                number += 1
                cell = np.zeros(1, dtype=CELL)
                cell["id"] = number
                try:
                    theirs.write_cells([block_at(1, 5) * BLOCK_CELLS], cell)
                except (GridDamagedError, TransientError):
                    continue
                except Exception as exc:  # noqa: BLE001
                    errors.append(exc)
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
        MortalSession.dies_at = None
        for number in range(40):
            client.delete(role_key(NAME, 1, 16))
            recovery = carry_out(
                journal, target, around, plan_for(target, around), tmp_path / f"saved-{number}"
            )
            assert recovery.state is RecoveryState.HEALTHY
        journal.dispose()
    finally:
        stop.set()
        writer.join(timeout=60)
    assert errors == []
    assert grid.layout.groups == 64
    assert diagnose(target, around).is_healthy


def test_a_group_beyond_parity_is_left_open_with_what_is_lost(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """Nothing is guessed: three blocks gone, none is written, and the plan says so."""
    del grid
    for member in (1, 2, 3):
        client.delete(role_key(NAME, 2, member))
    report = diagnose(target, around)
    plan = plan_from_parity(report.issues[0], report, target)
    assert plan.units == ()
    assert plan.left_open == ("48 pages of parity group 2 cannot be brought back from here",)
    assert report.grid is not None
    assert report.grid.consistency.scrub.lost_cells == 3 * 2048


def test_no_repair_starts_where_the_server_may_evict(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """What is written back may go again: first the server, then the grid."""
    del grid
    harm(client)
    client.config_set("maxmemory-policy", "allkeys-lru")
    report = diagnose(target, around)
    assert {issue.about for issue in report.issues} == {"grid lab", "keys of grid lab"}
    for issue in report.issues:
        plan = plan_from_parity(issue, report, target)
        assert plan.units == ()
        assert "maxmemory-policy is allkeys-lru" in plan.left_open[0]


def test_a_value_of_another_type_and_a_stray_one_are_left_to_a_person(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """Medic8 deletes nobody's list, and no key that it did not write."""
    client.delete(role_key(NAME, 0, 5))
    client.rpush(role_key(NAME, 0, 5), b"somebody's")
    grid.write_cell(0, 40, 0, np.ones(1, dtype=CELL))  # block 5: the only one of its group
    client.set(role_key(NAME, 5, 2), b"a stray")
    client.delete(role_key(NAME, 1, 1))
    client.setrange(role_key(NAME, 2, 4), 9 << 20, b"far too long")
    plan = plan_for(target, around)
    assert [step.touches for unit in plan.units for step in unit.steps] == ["block 65 of grid lab"]
    assert any("another type" in line for line in plan.left_open)
    assert any("never written" in line for line in plan.left_open)
    assert any("8 MiB" in line or "8,388,608" in line or "8388608" in line for line in plan.left_open)


def test_the_plan_holds_no_key(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """Plans are parameters of flow runs, which everybody reads."""
    del grid
    harm(client)
    assert "m8:{" not in plan_for(target, around).model_dump_json()


def test_random_harm_is_healed_or_left_open_and_never_made_wrong(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path
) -> None:
    """Beyond parity included: what was healed is right to the bit, the rest is as found."""
    del grid
    good = values_of(client)
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    MortalSession.dies_at = None
    for seed in range(6):
        put(client, good)
        rng = random.Random(seed)
        for _ in range(12):
            key = role_key(NAME, rng.choice(GROUPS), rng.randrange(18))
            if rng.random() < 0.4:
                client.delete(key)
            elif client.exists(key):
                client.setrange(key, rng.randrange(65_704 - 4), rng.randbytes(4))
        damaged = values_of(client)
        plan = plan_for(target, around)
        if plan.units:
            carry_out(journal, target, around, plan, tmp_path / "saved")
        now = values_of(client)
        healed_or_as_found = all(now[key] in {good[key], damaged[key]} for key in good)
        assert healed_or_as_found or plan.left_open
        if not plan.left_open:
            assert now == good
    journal.dispose()


def test_what_parity_cannot_rebuild_comes_from_the_backup_if_that_is_the_last_state(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings, tmp_path: Path
) -> None:
    """Three blocks of a group are gone: from the backup and right to the bit. A later write is never lost."""
    good = values_of(client)
    create_backup(client, NAME, grid_repository(around.backups, NAME), now=NOW)
    for member in (1, 2, 3):
        client.delete(role_key(NAME, 2, member))
    report = diagnose(target, around)
    assert plan_from_parity(report.issues[0], report, target).units == ()
    plan = plan_from_backup(report.issues[0], report, target)
    assert (plan.step_count, plan.left_open) == (3, ())
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    MortalSession.dies_at = None
    carry_out(journal, target, around, plan, tmp_path / "saved")
    assert values_of(client) == good

    cell = block_at(2, 1) * BLOCK_CELLS
    grid.write_cells([cell], np.ones(1, dtype=CELL))
    newer = values_of(client)
    for member in (1, 2, 3):
        client.delete(role_key(NAME, 2, member))
    report = diagnose(target, around)
    plan = plan_from_backup(report.issues[0], report, target)
    assert plan.left_open == ()  # with all pages but one from the backup, parity gives the newer one
    carry_out(journal, target, around, plan, tmp_path / "saved-2")
    assert values_of(client) == newer
    journal.dispose()


def test_backups_that_cannot_be_reached_keep_parity_from_nothing(
    grid: Grid, client: valkey.Valkey, target: Target
) -> None:
    """Their storage does not answer, or its package is missing: said, and what parity can do is planned."""
    assert grid.manifest.name == NAME
    client.delete(role_key(NAME, 1, 0), *(role_key(NAME, 2, member) for member in (1, 2, 3)))
    for url, said in (("ftp://127.0.0.1:1/backups", "cannot be reached"), ("s3://b/c", "needs a package")):
        around = Surroundings(backups=BackupPlace(url=url), now=NOW)
        report = diagnose(target, around)
        assert plan_from_parity(report.issues[0], report, target).step_count == 1
        assert report.grid is not None
        (unusable,) = report.grid.consistency.unusable_backups
        assert said in unusable


def test_nobody_agrees_to_give_up_without_knowing_that_a_source_was_not_asked(
    grid: Grid, client: valkey.Valkey, target: Target
) -> None:
    """The key of the backups is not there: the plan that zeroes says so, and its digest is another one."""
    assert grid.manifest.name == NAME
    client.delete(*(role_key(NAME, 2, member) for member in (1, 2, 3)))
    digests = []
    for place in (BackupPlace(url="/nonexistent"), BackupPlace(url="/nonexistent", problem="no key here")):
        report = diagnose(target, Surroundings(backups=place, now=NOW))
        plan = plan_quarantine(report.issues[0], report, target)
        digests.append(plan.digest)
    assert "Not all backups could be read" in plan.summary
    assert "no key here" in report.analysis.unseen
    assert digests[0] != digests[1]


def test_a_grid_that_is_gone_is_said_to_be_in_the_backup(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """With the command that brings it back; without a backup nothing is promised."""
    client.delete(*manifest_keys(NAME))
    assert "medic8 backup restore" not in diagnose(target, around).results["grid"].findings[0].text
    create_manifest(client, grid.manifest)
    backup = create_backup(client, NAME, grid_repository(around.backups, NAME), now=NOW)
    client.flushall()
    (finding,) = diagnose(target, around).results["grid"].findings
    assert f"backup {backup.id} holds" in finding.text
    assert f"medic8 backup restore {target.name}" in finding.text


def test_a_page_written_after_the_backup_is_not_turned_back(
    grid: Grid, client: valkey.Valkey, target: Target, around: Surroundings
) -> None:
    """The grid's own checksum says that the backup is old: the page stays open, the rest is restored."""
    create_backup(client, NAME, grid_repository(around.backups, NAME), now=NOW)
    cells = [block_at(2, member) * BLOCK_CELLS for member in (1, 2, 3)]
    grid.write_cells(cells, np.ones(3, dtype=CELL))
    for member in (1, 2, 3):
        client.delete(role_key(NAME, 2, member))
    report = diagnose(target, around)
    plan = plan_from_backup(report.issues[0], report, target)
    assert plan.left_open == ("3 pages of parity group 2 cannot be brought back from here",)
