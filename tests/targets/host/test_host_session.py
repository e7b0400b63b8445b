"""Who the host is, what a recovery stands on, and that two journals never work there at once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from a_folder import CLAIM, around_of, looked_at, old_file, only_plan, pruning
from looking_at_host import a_host

from medic8.errors import ClaimedError, RefusedError, UnreachableError
from medic8.model.plan import Plan
from medic8.model.recovery import Claim, Fence, Recovery
from medic8.model.target import Resource, Target
from medic8.owner import boot_id, this_process
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.targets.host.guards import HostGuards
from medic8.targets.host.kind import KIND
from medic8.targets.kind import Holds


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """Get a host with one old file."""
    (tmp_path / "app").mkdir()
    old_file(tmp_path / "app" / "a.log")
    return pruning(tmp_path / "app")


def planned(target: Target, tmp_path: Path) -> Plan:
    return only_plan("prune_files", target, looked_at(target, around_of(tmp_path)))[1]


def opened(target: Target, tmp_path: Path, name: str = "journal") -> tuple[Journal, Recovery]:
    journal = Journal(f"sqlite:///{tmp_path}/{name}.sqlite")
    with KIND.open_session(target, around_of(tmp_path)) as session:
        recovery = contract.open_recovery(
            journal, session, planned(target, tmp_path), this_process(), at=datetime.now(UTC)
        )
    return journal, recovery


def test_two_journals_never_work_on_one_host_at_once(target: Target, tmp_path: Path) -> None:
    """By whatever name it is called; the second is told who has it, and nothing is begun."""
    journal, recovery = opened(target, tmp_path)
    other = target.model_copy(update={"name": "other"})
    with pytest.raises(ClaimedError, match=recovery.id):
        opened(other, tmp_path, "second")
    with KIND.open_session(target, around_of(tmp_path)) as session:
        session.release_claim(recovery.claim)
    second, _ = opened(other, tmp_path, "third")
    journal.dispose()
    second.dispose()


def test_what_was_changed_is_on_this_machine_and_on_no_other(target: Target, tmp_path: Path) -> None:
    """Files outlive a boot, so they are there; a recovery that was under way then stands on other ground."""
    journal, recovery = opened(target, tmp_path)
    with KIND.open_session(target, around_of(tmp_path)) as session:
        assert session.still_stands(recovery)
        assert session.still_holds(recovery) is Holds.YES
        booted = recovery.model_copy(
            update={"stands_on": recovery.stands_on.replace(boot_id(), "another boot")}
        )
        assert not session.still_stands(booted)
        assert session.still_holds(booted) is Holds.YES
        elsewhere = recovery.model_copy(
            update={"resources": (Resource(identity="host:another", carries="the host"),)}
        )
        assert session.still_holds(elsewhere) is Holds.SOMETHING_ELSE
    journal.dispose()


def test_a_step_or_a_host_that_is_not_known_is_refused(target: Target, tmp_path: Path) -> None:
    """With the names of those that are; another host cannot be opened at all."""
    step = planned(target, tmp_path).units[0].steps[0]
    with KIND.open_session(target, around_of(tmp_path)) as session:
        with pytest.raises(RefusedError, match="it has delete_file, move_file, remove_backups"):
            session.capture(step.model_copy(update={"action": "format_disk"}))
        outside = {**step.arguments, "path": b"../../etc/passwd".hex()}
        with pytest.raises(RefusedError, match="is no path within it"):
            session.prepare(step.model_copy(update={"arguments": outside}))
        foreign = {**step.arguments, "folder": str(tmp_path)}
        with pytest.raises(RefusedError, match="none that target"):
            session.prepare(step.model_copy(update={"arguments": foreign}))
        lapsed = Claim(journal="j9", recovery="r9", fence=Fence(number=1, nonce="1" * 32))
        session.take_claim(CLAIM, lasts_s=60)
        session.release_claim(lapsed)
        session.renew_claim(CLAIM, lasts_s=60)
    with (
        pytest.raises(UnreachableError),
        KIND.open_session(a_host("host:elsewhere"), around_of(tmp_path)),
    ):
        pass


def test_file_systems_that_take_writes_go_on_taking_them(target: Target, tmp_path: Path) -> None:
    """The one guard: worse if one that did takes none."""
    guards, plan = HostGuards(), planned(target, tmp_path)
    before = guards.read_hard(target, around_of(tmp_path), plan, ())
    assert any(each.value == "writable" for each in before)
    (verdict,) = guards.judge_hard(before, before)
    assert verdict.verdict.value == "unchanged"
    after = tuple(each.model_copy(update={"value": "read-only"}) for each in before)
    (verdict,) = guards.judge_hard(before, after)
    assert verdict.verdict.value == "worse"
    assert guards.soft_of(plan) == ()
