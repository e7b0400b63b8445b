"""Giving memory back: planned only where the allocator can, guarded by the claim, harmless."""

from __future__ import annotations

from pathlib import Path

import pytest
import valkey

from medic8.errors import FencedError, RefusedError
from medic8.model.plan import StepClass
from medic8.model.recovery import RecoveryState
from medic8.owner import this_process
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.plans.memory import plan_purge
from tests.raw_clients import wait_until
from tests.recovery.steps import take_all_steps
from tests.targets.valkey.debian_server import leave_unused_pages, needs_redis, redis_server
from tests.targets.valkey.looking_at import AROUND, NOW, OF_CLIENTS, a_target, fragmented, report_on


def resident_bytes(url: str) -> int:
    with valkey.Valkey.from_url(url) as client:
        return int(client.info("memory")["used_memory_rss"])


@needs_redis
def test_what_the_allocator_kept_is_given_back_to_the_host(tmp_path: Path) -> None:
    """On jemalloc: found, planned without a person, and 100 MiB less are resident afterwards."""
    with redis_server(tmp_path) as url:
        leave_unused_pages(url)
        before = resident_bytes(url)
        report = report_on(url, only=OF_CLIENTS)
        (issue,) = [each for each in report.issues if each.about == "fragmentation"]
        plan = plan_purge(issue, report, a_target(url))
        assert [step.step_class for unit in plan.units for step in unit.steps] == [StepClass.HARMLESS]
        assert not plan.needs_approval
        journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
        with open_session(a_target(url), AROUND) as session:
            recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
            recovery = contract.save_state(
                journal, session, recovery, folder=tmp_path / "saved", limit_bytes=0
            )
            reached = take_all_steps(journal, session, recovery, clock=lambda: NOW)
            contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=NOW, reached=reached)
        # The server reads what is resident ten times a second.
        wait_until(lambda: before - resident_bytes(url) > 100 << 20, "it is given back")
        assert not [each for each in report_on(url, only=OF_CLIENTS).issues if each.about == "fragmentation"]


@pytest.mark.parametrize(("allocator", "steps"), [("jemalloc-5.3.0", 1), ("libc", 0), ("", 0)])
def test_a_purge_is_planned_where_it_does_something(allocator: str, steps: int) -> None:
    """Other allocators do nothing when they are asked to; the plan says so."""
    report = fragmented(allocator)
    plan = plan_purge(report.issues[0], report, a_target("valkey://nowhere"))
    assert plan.step_count == steps
    assert "allocator" in plan.summary if allocator else plan.summary == ""


def test_without_the_claim_nothing_is_purged(valkey_url: str, tmp_path: Path) -> None:
    """Harmless as it is, it is somebody else's turn."""
    report = fragmented("jemalloc-5.3.0")
    plan = plan_purge(report.issues[0], report, a_target(valkey_url))
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    step = plan.units[0].steps[0]
    with open_session(a_target(valkey_url), AROUND) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
        with valkey.Valkey.from_url(valkey_url) as other:
            other.set("medic8:claim", "another's")
            other.config_resetstat()
        with pytest.raises(FencedError):
            session.swap(step, expected=None, new=None, claim=recovery.claim)
        with pytest.raises(RefusedError):
            session.swap(step, expected=b"something", new=None, claim=recovery.claim)
        with valkey.Valkey.from_url(valkey_url) as other:
            assert "cmdstat_memory|purge" not in other.info("commandstats")
