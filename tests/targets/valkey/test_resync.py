"""A replica is copied to only if all that it would lose was saved, and only by who holds the claim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import valkey

from medic8.backups.place import BackupPlace
from medic8.backups.repository import Repository
from medic8.errors import ChangedError, ClaimGoneError, RefusedError, UndoError
from medic8.model.plan import Step
from medic8.model.recovery import Claim, Fence
from medic8.model.target import Target
from medic8.targets.kind import Session
from medic8.targets.registry import kind_named
from medic8.targets.valkey.acts.resync import require_room_for_a_copy
from medic8.targets.valkey.backup_reading import verify_backup
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.comparing import Differing
from medic8.targets.valkey.kept_keys import back_up_kept, kept_keys
from medic8.targets.valkey.restore_keys import restore_keys
from medic8.targets.valkey.whole_comparison import pack, unpack
from tests.crash.scenes import around, plan_by
from tests.replicas import contents, is_in_step, pair, until, written_to
from tests.targets.valkey.looking_at import NOW

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
            client.set("gone there", 3)
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


def test_other_databases_are_compared_and_saved_and_come_back_as_well(stage: Stage, tmp_path: Path) -> None:
    """A copy replaces them too; what is saved, of any type and any name, is listed and made a backup."""
    with written_to(stage.replica) as client:
        client.execute_command("SELECT", 3)
        client.delete("gone there")
        client.set(b"d\\\n\xff", "only there", px=9_000_000)
        client.rpush("list", *range(50))
        client.sadd("large set", *(f"{n}" * 40 for n in range(3000)))
        client.zadd("scores", {"one": 1.5, "two": -2})
        client.hset("hash", mapping={"field": "value", "other": ""})
        client.xadd("stream", {"sent": "1"}, id="5-1")
        client.xgroup_create("stream", "group", "0")
        client.xreadgroup("group", "somebody", {"stream": ">"})
        theirs = {name: client.dump(name) for name in client.scan_iter() if name not in {b"c", CLAIM_KEY}}
        ttl_ms = client.pttl(b"d\\\n\xff")
    saved = stage.session.capture(stage.step)
    assert saved is not None
    told = {(each.database, each.name): each.type for each in kept_keys(saved)}
    assert told == {
        (0, "a"): "string",
        (3, r"d\\\x0a\xff"): "string",
        (3, "gone there"): "",
        (3, "hash"): "hash",
        (3, "large set"): "set",
        (3, "list"): "list",
        (3, "scores"): "zset",
        (3, "stream"): "stream",
    }
    repository = Repository(BackupPlace(url=str(tmp_path / "backups")), "valkey", "server")
    with pytest.raises(RefusedError, match="of database 1 was saved; saved are 1 key of database 0, 7 keys"):
        back_up_kept(saved, repository, database=1, now=NOW)
    backup = back_up_kept(saved, repository, database=3, now=NOW)
    assert verify_backup(repository, backup).is_sound
    with valkey.Valkey.from_url(stage.primary.replace("/0", "/3")) as client:
        report = restore_keys(client, repository, backup)
        assert (report.written, report.left_count) == (6, 0)
        assert abs(client.pttl(b"d\\\n\xff") - ttl_ms) < 5000
        assert client.keys("c") == [b"c"]
        for name in theirs.keys() - {b"large set", b"stream"}:  # whose dumps depend on how they came to be
            assert client.dump(name) == theirs[name]
        assert client.scard("large set") == 3000
        assert [each["consumer"] for each in client.xpending_range("stream", "group", "-", "+", 9)] == [
            b"somebody"
        ]


def test_saved_keys_that_are_none_are_refused() -> None:
    """Cut off anywhere, or with a value that is no value; what is whole is read as it was."""
    found = {2: (Differing(name=b"k", expires_at_ms=-1, content=b"\x01abc"),)}
    packed = pack(found)
    assert unpack(packed) == found
    for end in range(1, len(packed)):
        with pytest.raises(UndoError, match="saved keys end"):
            unpack(packed[:end])
    with pytest.raises(UndoError, match="value of key k cannot be read"):
        kept_keys(pack({2: (Differing(name=b"k", expires_at_ms=-1, content=b"\x00abc"),)}))


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
