"""
An endpoint that another server comes to serve, by a file that a router works by once it was told to read it.

*The same*: somebody else puts a third server into the file, and has that read. Between the comparison of the
file and its replacement lies a moment in which that would be written over, so they do so right *after* any
write. The router is a real service that copies the file when it is told to.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from medic8.model.target import Target
from tests.crash.folder_scene import FolderScene
from tests.crash.reader import Ended, Verdict, misplaced
from tests.crash.scenes import Expected, Scene, Written, around, plan_by
from tests.targets.endpoint.services import answers, service, status
from tests.targets.endpoint.supervised_pair import Pair, pair
from tests.targets.process.supervised import MISSING

_SAVED, _PLANNED = "serve first\n", "serve second\n"


class FailOverScene(FolderScene):
    """A file that says who serves, and what the router has read of it."""

    def __init__(self, folder: Path, port: int, standby: int) -> None:
        super().__init__(folder)
        self._file, self._read = folder / "upstream", folder / "read"
        hook = {
            "standby": f"http://127.0.0.1:{standby}/",
            "file": str(self._file),
            "active": "serve first",
            "spare": "serve second",
            "reload": ["cp", str(self._file), str(self._read)],
            "timeout_s": 2,
        }
        self.target = Target.model_validate(
            {
                "name": "api",
                "kind": "endpoint",
                "url": f"http://127.0.0.1:{port}/",
                "mode": "act",
                "allow": ["fail_over"],
                "timeout_s": 2,
                "request": {"count": 2},
                "fail_over": hook,
            }
        )
        self.stage()
        self.plan = plan_by("fail_over", self.target, around(folder))

    def stage(self) -> None:
        """Have the first server serve."""
        super().stage()
        self._put(_SAVED)

    def meddle(self, rng: random.Random) -> Written:
        """A server of theirs, which serves as well as the second."""
        value = f"serve second for team {rng.randrange(100)}\n"
        self._put(value)
        return {"upstream": value}

    def _put(self, text: str) -> None:
        self._file.write_text(text)
        shutil.copy(self._file, self._read)

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """The file is as found, as planned or theirs, and the router works by it."""
        verdict = super().judge(ended, written)
        now, theirs = self._file.read_text(), written.get("upstream")
        if theirs not in {None, now}:
            verdict.lost.append("upstream")
        if self._read.read_text() != now:
            verdict.wrong.append(f"the router works by {self._read.read_text()!r}, and the file says {now!r}")
        holds = {_SAVED: "saved", _PLANNED: "written"}.get(now, "other")
        if ended is None:
            if holds != "saved" and theirs is None:
                verdict.wrong.append(f"the file says {now!r}, and nothing was begun")
        elif problem := misplaced(ended.steps[0], holds, theirs=theirs is not None, ended=ended):
            verdict.wrong.append(f"the file says {now!r}: {problem}")
        return verdict

    def contents(self) -> Mapping[str, bytes]:
        """The file, and all files of others."""
        return {**super().contents(), "upstream": self._file.read_bytes()}


@contextlib.contextmanager
def _failing_over(folder: Path) -> Iterator[Scene]:
    def route(near: socket.socket) -> None:
        is_well = "second" in (folder / "read").read_text()
        (answers() if is_well else status(500))(near)

    with service(route) as port, service(answers()) as standby:
        yield FailOverScene(folder, port, standby)


class ServiceScene(FolderScene):
    """
    Two programs of a supervisord, one of which serves.

    *The same*: somebody else starts one of them. Whether a program runs is all that there is to be compared,
    so that what they did cannot be told from what we did, and either may stand at the end.
    """

    def __init__(self, folder: Path, both: Pair) -> None:
        super().__init__(folder)
        self._both = both
        self.target = both.target(asks=False)
        self.stage()
        self.plan = plan_by("fail_over", self.target, around(folder))

    def stage(self) -> None:
        """Have the first serve."""
        super().stage()
        self._both.anew()

    def meddle(self, rng: random.Random) -> Written:
        """Somebody starts one."""
        name = rng.choice(("first", "second"))
        self._both.program.keeper(name).start({})
        return {name: ""}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Who runs is as found or as planned, by what the journal says of each step."""
        verdict = super().judge(ended, written)
        for number, (name, found) in enumerate((("first", True), ("second", False))):
            runs = self._both.runs(name)
            holds = "saved" if runs is found else "written"
            if ended is None:
                problem = "" if holds == "saved" else "nothing was begun"
            else:
                problem = misplaced(ended.steps[number], holds, theirs=name in written, ended=ended)
            if problem and name not in written:
                verdict.wrong.append(f"{name} {'runs' if runs else 'is stopped'}: {problem}")
        if ended is not None and ended.state == "restored" and not written and not self._both.runs("first"):
            verdict.wrong.append("nobody was asked for, and the first does not serve any more")
        return verdict


@contextlib.contextmanager
def _failing_over_to_service(folder: Path) -> Iterator[Scene]:
    with pair(folder / "s") as both:
        yield ServiceScene(folder, both)


SCENES: dict[str, Expected] = {
    "fail_over": Expected(_failing_over),
    "fail_over by a service": Expected(_failing_over_to_service, missing=MISSING),
}
