"""Scenes of replication: a replica that lost its place again and again, and one that was written to."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.target import Target
from tests.crash.reader import Ended, Verdict, misplaced, problems_of_claims
from tests.crash.scenes import Expected, Scene, Written, around, everything_in, plain, plan_by
from tests.crash.settings_scene import Cast, SettingsScene
from tests.damaged_files import flip_a_bit, is_readable
from tests.replicas import contents, cut_off, is_in_step, pair, until, writing, written_to

_SMALL = 64 << 10
_BACKLOG = Cast(
    strategy="resize_backlog",
    found={"repl-backlog-size": str(_SMALL)},
    good={},
    theirs={"repl-backlog-size": range(9 << 20, 10 << 20, 4096)},
)
_CUTS = 7

#: What only the replica has.
_ADDED, _CONTENT = "added", b"nowhere else"


@contextlib.contextmanager
def _resized(folder: Path) -> Iterator[Scene]:
    """Each time that the replica is cut off, more is written meanwhile than the backlog holds."""
    with pair(folder, repl_backlog_size=str(_SMALL)) as (primary, replica):
        for _ in range(_CUTS):
            cut_off(primary.url, missed=3 * _SMALL)
            until(lambda: is_in_step(primary.url, replica.url))
        with writing(primary.url, size=1000, per_s=100):
            scene = SettingsScene(_BACKLOG, primary.url, folder)
        yield scene


class ResyncScene:
    """
    A replica that somebody wrote to; others go on writing to the primary, also to what differs.

    Attributes:
        target: The primary, which names the replica.
        plan: Made from a real diagnosis.
    """

    exact_before = True

    def __init__(self, primary: str, replica: str, folder: Path) -> None:
        self._replica = replica
        self.target = Target(
            name="server",
            kind="valkey",
            url=primary,
            mode="act",
            allow=("resync_replica",),
            replicas=(replica,),
        )
        self.stage()
        self.plan = plan_by("resync_replica", self.target, around(folder))

    def stage(self) -> None:
        """Both hold the same; then three keys of the replica are changed, lost and added."""
        with plain(self.target.address) as client:
            until(lambda: is_in_step(self.target.address, self._replica))
            client.flushall(asynchronous=False)
            client.mset({f"key:{number}": f"value {number}" for number in range(20)})
            until(lambda: is_in_step(self.target.address, self._replica))
            with written_to(self._replica) as other:
                other.set("key:1", "changed there")
                other.delete("key:2")
                other.set(_ADDED, _CONTENT)
            client.config_resetstat()

    def meddle(self, rng: random.Random) -> Written:
        """Write one of the keys that differ, on the primary."""
        return self._set(f"key:{rng.choice((1, 2))}", rng)

    def wander(self, rng: random.Random) -> Written:
        """Write another key on the primary."""
        return self._set(f"other:{rng.randrange(8)}", rng)

    def _set(self, name: str, rng: random.Random) -> Written:
        value = rng.randbytes(8).hex()
        with plain(self.target.address) as client:
            client.set(name, value)
        return {name: value}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """The replica has what only it had, or equals its primary; what was thrown away was saved."""
        verdict = Verdict("not_opened" if ended is None else ended.state)
        until(lambda: is_in_step(self.target.address, self._replica))
        with plain(self.target.address) as client, plain(self._replica) as other:
            claim = [(client.get("medic8:claim"), client.pttl("medic8:claim"))]
            verdict.is_claimed, problem = problems_of_claims(claim, ended)
            verdict.wrong += [problem] if problem else []
            verdict.lost += [name for name, value in written.items() if client.get(name) != value.encode()]
            if other.config_get("replica-read-only")["replica-read-only"] != "yes":
                verdict.wrong.append("the replica takes writes")
            has_added = other.get(_ADDED) == _CONTENT
        is_equal = contents(self.target.address) == contents(self._replica)
        holds = "saved" if has_added else "written" if is_equal else "other"
        if ended is None:
            if holds != "saved":
                verdict.wrong.append(f"the replica holds {holds}, and nothing was begun")
            return verdict
        theirs = any(name in written for name in ("key:1", "key:2"))
        if problem := misplaced(ended.steps[0], holds, theirs=theirs, ended=ended):
            verdict.wrong.append(problem)
        if holds == "written" and _CONTENT not in (Path(ended.saved_state) / "values.bin").read_bytes():
            verdict.wrong.append("what the replica alone had is gone and was not saved")
        return verdict

    def contents(self) -> Mapping[str, bytes]:
        """All keys of both."""
        both = {"": self.target.address, "replica ": self._replica}
        return {
            f"{side}{name}": value for side, url in both.items() for name, value in everything_in(url).items()
        }


@contextlib.contextmanager
def _resynced(folder: Path) -> Iterator[Scene]:
    with pair(folder) as (primary, replica):
        yield ResyncScene(primary.url, replica.url, folder)


class FilesScene:
    """
    A server whose snapshot has a flipped bit, while others write.

    Attributes:
        target: The server.
        plan: Made from a real diagnosis.
    """

    exact_before = True

    def __init__(self, server: ScratchValkey, folder: Path) -> None:
        self._file = server.data / "dump.rdb"
        self._kept = server.data / "medic8-damaged"
        self.target = Target(
            name="server", kind="valkey", url=server.url, mode="act", allow=("rewrite_files",)
        )
        self.stage()
        self.plan = plan_by("rewrite_files", self.target, around(folder))

    def stage(self) -> None:
        """A snapshot of twenty keys, with a bit flipped in the middle."""
        shutil.rmtree(self._kept, ignore_errors=True)
        with plain(self.target.address) as client:
            time.sleep(0.25)
            until(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0)
            client.flushall(asynchronous=False)
            client.mset({f"key:{number}": f"value {number} " * 20 for number in range(20)})
            client.save()
        flip_a_bit(self._file)
        self._damaged = self._file.read_bytes()

    def meddle(self, rng: random.Random) -> Written:
        """Write one of the keys."""
        return self._set(f"key:{rng.randrange(20)}", rng)

    def wander(self, rng: random.Random) -> Written:
        """Write another key."""
        return self._set(f"other:{rng.randrange(8)}", rng)

    def _set(self, name: str, rng: random.Random) -> Written:
        value = rng.randbytes(8).hex()
        with plain(self.target.address) as client:
            client.set(name, value)
        return {name: value}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """The damaged file as it was, or one that the check tool takes, with the damaged one kept."""
        verdict = Verdict("not_opened" if ended is None else ended.state)
        with plain(self.target.address) as client:
            time.sleep(
                0.25
            )  # what was asked for within EXEC begins a tenth of a second later, and no one tells
            until(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0)
            claim = [(client.get("medic8:claim"), client.pttl("medic8:claim"))]
            verdict.is_claimed, problem = problems_of_claims(claim, ended)
            verdict.wrong += [problem] if problem else []
            verdict.lost += [name for name, value in written.items() if client.get(name) != value.encode()]
            program = str(client.info("server")["executable"])
        is_as_found = self._file.read_bytes() == self._damaged
        holds = "saved" if is_as_found else "written" if is_readable(program, self._file) else "other"
        if ended is None:
            verdict.wrong += [] if is_as_found else [f"the file is {holds}, and nothing was begun"]
            return verdict
        if problem := misplaced(ended.steps[0], holds, theirs=False, ended=ended):
            verdict.wrong.append(problem)
        kept = self._kept / ended.id / "dump.rdb"
        if holds == "written" and not (kept.exists() and kept.read_bytes() == self._damaged):
            verdict.wrong.append("the damaged file is gone and was not kept")
        return verdict

    def contents(self) -> Mapping[str, bytes]:
        """All keys, and the file."""
        return {**everything_in(self.target.address), "file": self._file.read_bytes()}


@contextlib.contextmanager
def _rewritten(folder: Path) -> Iterator[Scene]:
    (folder / "server").mkdir(parents=True)
    with scratch_valkey(folder / "server") as server:
        yield FilesScene(server, folder)


SCENES: dict[str, Expected] = {
    "rewrite_files": Expected(_rewritten),
    "resize_backlog": Expected(_resized),
    "resync_replica": Expected(_resynced),
}
