"""A replica is copied to only if all that it would lose was saved, and only by who holds the claim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import valkey

from medic8.errors import ChangedError, ClaimGoneError, RefusedError
from medic8.model.plan import Step
from medic8.model.recovery import Claim, Fence
from medic8.model.target import Target
from medic8.targets.kind import Session
from medic8.targets.registry import kind_named
from medic8.targets.valkey.acts.resync import require_room_for_a_copy
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.whole_comparison import pack
from tests.crash.scenes import around, plan_by
from tests.replicas import contents, is_in_step, pair, until, written_to

CLAIM = Claim(journal="journal", recovery="recovery", fence=Fence(number=1, nonce="abc"))


@dataclass(frozen=True)
class Stage:
    """A primary with a replica that differs in two keys, and the step that copies to it."""

    primary: str
    replica: str
    step: Step
    session: Session


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Get two servers, a plan's step, and a session that holds the claim."""
    with pair(tmp_path) as (primary, replica):
        with valkey.Valkey.from_url(primary.url) as client:
            client.mset({"a": 1, "b": 2})
            client.execute_command("SELECT", 3)
            client.set("c", 3)
        until(lambda: is_in_step(primary.url, replica.url))
        with written_to(replica.url) as client:
            client.set("a", "changed there")
        target = Target(
            name="server",
            kind="valkey",
            url=primary.url,
            mode="act",
            allow=("resync_replica",),
            replicas=(replica.url,),
        )
        plan = plan_by("resync_replica", target, around(tmp_path))
        with kind_named("valkey").open_session(target, around(tmp_path)) as session:
            session.take_claim(CLAIM, lasts_s=60)
            yield Stage(primary.url, replica.url, plan.units[0].steps[0], session)


def test_other_databases_are_compared_and_saved_as_well(stage: Stage) -> None:
    """A copy replaces them too."""
    with written_to(stage.replica) as client:
        client.execute_command("SELECT", 3)
        client.set("d", "only there")
    saved = stage.session.capture(stage.step)
    assert saved is not None
    assert b"changed there" in saved
    assert b"only there" in saved


def test_what_was_not_saved_is_not_thrown_away(stage: Stage) -> None:
    """Somebody writes to the replica after its state was saved: nothing is copied."""
    saved = stage.session.capture(stage.step)
    with written_to(stage.replica) as client:
        client.set("b", "later")
    diverged = contents(stage.replica)
    with pytest.raises(ChangedError):
        stage.session.swap(stage.step, expected=saved, new=pack({}), claim=CLAIM)
    assert contents(stage.replica) == diverged


def test_without_the_claim_nothing_is_copied(stage: Stage) -> None:
    """It is gone on the primary, and so on the replica."""
    saved, diverged = stage.session.capture(stage.step), contents(stage.replica)
    with valkey.Valkey.from_url(stage.primary) as client:
        client.delete(CLAIM_KEY)
    with pytest.raises(ClaimGoneError):
        stage.session.swap(stage.step, expected=saved, new=pack({}), claim=CLAIM)
    assert contents(stage.replica) == diverged


def test_a_replica_that_takes_writes_is_not_copied_to(stage: Stage) -> None:
    """It would differ again; the same for one that others follow."""
    saved, diverged = stage.session.capture(stage.step), contents(stage.replica)
    with written_to(stage.replica), pytest.raises(RefusedError, match="replica-read-only yes"):
        stage.session.swap(stage.step, expected=saved, new=pack({}), claim=CLAIM)
    assert contents(stage.replica) == diverged


def test_a_copy_that_was_made_is_told_from_one_that_was_not(stage: Stage) -> None:
    """By the primary's count of copies, and by what is there."""
    assert stage.session.took_effect(stage.step, "recovery") is False
    saved = stage.session.capture(stage.step)
    stage.session.swap(stage.step, expected=saved, new=pack({}), claim=CLAIM)
    assert stage.session.took_effect(stage.step, "recovery") is True
    assert contents(stage.replica) == contents(stage.primary)
    with pytest.raises(ChangedError):
        stage.session.prepare(stage.step)


def test_a_fork_needs_as_much_again() -> None:
    """Of nine tenths of the host."""
    require_room_for_a_copy({"used_memory_rss": 45, "total_system_memory": 100})
    with pytest.raises(RefusedError, match="forks"):
        require_room_for_a_copy({"used_memory_rss": 46, "total_system_memory": 100})
