"""
Files that go into quarantine and out of it, backups that are removed, and what is exact about them.

*The same*: somebody else writes to one of the files, or takes it away. A file is found by its number on the
disk and compared again right before it is moved; between that and the move lies the time of one call, in
which only somebody else's write could fall, and it goes with the file.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.repository import Repository
from medic8.model.backup import BackupManifest, GridContent
from medic8.model.issue import Finding
from medic8.model.plan import Plan
from medic8.model.recovery import Claim, Fence
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.target import PruneRule, Target
from medic8.targets.host.acts.backups import not_kept
from medic8.targets.host.acts.files import OneFile
from medic8.targets.host.folders import QUARANTINE, opened
from medic8.targets.host.looks.backups import judge_backups
from medic8.targets.host.looks.files import Filled, judge_kept, judge_old, look_into
from medic8.targets.machine.files import Machine
from medic8.targets.registry import kind_named
from tests.crash.folder_scene import FolderScene
from tests.crash.reader import Ended, Verdict, misplaced
from tests.crash.scenes import NOW, Expected, Scene, SceneMaker, Written, around

_KIND = kind_named("host")
_DAY_S = 86_400
_FULL = Filled(0.95, None)
_FILES = 3


class HostScene(FolderScene):
    """A folder with old files, and others that somebody else writes."""

    strategy: str

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.app, self.others = folder / "app", folder / "others"
        rule = PruneRule(folder=str(self.app), patterns=("*.log",), older_than=_DAY_S, keep=_DAY_S)
        self.target = Target.model_validate(
            {
                "name": "here",
                "kind": "host",
                "url": "host:local",
                "mode": "act",
                "allow": (self.strategy,),
                "prune": (rule,),
            }
        )
        self.rule = rule

    def stage(self) -> None:
        """Three old files, and no claim that a death left."""
        for each in (self.app, self.others, self.folder / "claims"):
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir(parents=True, mode=0o700)
        for number in range(_FILES):
            self._write(number, f"{number}" * (100 + number))

    def _write(self, number: int, content: str) -> None:
        file = self.app / f"{number}.log"
        file.write_text(content)
        os.utime(file, (1, 1_000_000_000 + number))

    def planned(self, *findings: Finding) -> Plan:
        """The plan for *findings*."""
        result = DiagnosticResult(diagnostic="files", findings=findings, taken_at=NOW)
        analysis = analyze((result,))
        (issue,) = detect_issues(analysis, _KIND.rules, target=self.target.name, at=NOW)
        report = DiagnosticReport(
            target=self.target.name,
            kind="host",
            results={"files": result},
            analysis=analysis,
            issues=(issue,),
            taken_at=NOW,
        )
        return _KIND.strategies[self.strategy](issue, report, self.target)

    def contents(self) -> Mapping[str, bytes]:
        """All files, but for those of Medic8 itself."""
        every = (each for top in (self.app, self.others) for each in top.rglob("*"))
        return {str(each.relative_to(self.folder)): each.read_bytes() for each in every if each.is_file()}


class PruneScene(HostScene):
    """
    Files that are moved into quarantine; somebody else writes to one, or takes it away.

    Here no unit proves itself, so that what was moved has to come back from every death.
    """

    strategy = "prune_files"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stage()

    def stage(self) -> None:
        """Write them anew, which are other files of the same names, and mean those."""
        super().stage()
        with opened(str(self.app)) as held:
            old, _ = look_into(held, self.rule, NOW + timedelta(days=400), Machine())
        plan = self.planned(*judge_old(self.rule, old, _FULL, NOW))
        units = tuple(unit.model_copy(update={"proves_itself": False}) for unit in plan.units)
        self.plan = plan.model_copy(update={"units": units})

    def meddle(self, rng: random.Random) -> Written:
        """Write to one at its place, where it may be a new one by now, or remove it from there."""
        number = rng.randrange(_FILES)
        file = self.app / f"{number}.log"
        if rng.random() < 0.3:
            file.unlink(missing_ok=True)
            return {f"log {number}": "gone"}
        value = rng.randbytes(8).hex()
        file.write_text(value)
        return {f"log {number}": value}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Each is at its place or in quarantine, whole, and at one of both."""
        verdict = super().judge(ended, written)
        steps = (
            {OneFile.model_validate(step.arguments).names[-1]: step for step in ended.steps} if ended else {}
        )
        for number in range(_FILES):
            place, name = f"log {number}", f"{number}.log"
            found = f"{number}" * (100 + number)
            there = (self.app / name).read_text() if (self.app / name).exists() else None
            kept = [each.read_text() for each in (self.app / QUARANTINE).rglob(name)]
            theirs = place in written
            holds = "saved" if there == found and not kept else "other"
            if there is None and kept == [found]:
                holds = "written"
            if theirs and written[place] != "gone" and written[place] not in {there, *kept}:
                verdict.lost.append(place)
            if not theirs and found not in {there, *kept}:
                verdict.wrong.append(f"{name} is lost")
            if ended is None:
                if holds != "saved" and not theirs:
                    verdict.wrong.append(f"{name} was moved, and nothing was begun")
            elif problem := misplaced(steps[name.encode()], holds, theirs=theirs, ended=ended):
                verdict.wrong.append(f"{name}: {problem}")
        return verdict


class EmptyScene(HostScene):
    """Files in quarantine that are deleted; somebody else brings one back by hand."""

    strategy = "empty_quarantine"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stage()

    def stage(self) -> None:
        """Write them anew and move them there, by the strategy that does."""
        super().stage()
        with opened(str(self.app)) as held:
            old, _ = look_into(held, self.rule, NOW + timedelta(days=400), Machine())
            self.strategy = "prune_files"
            moves = self.planned(*judge_old(self.rule, old, _FULL, NOW))
            self.strategy = "empty_quarantine"
            claim = Claim(journal="stage", recovery="stage", fence=Fence(number=1, nonce="0" * 32))
            with _KIND.open_session(self.target, around(self.folder)) as session:
                session.take_claim(claim, lasts_s=60)
                for unit in moves.units:
                    for step in unit.steps:
                        session.swap(
                            step, expected=session.capture(step), new=session.prepare(step), claim=claim
                        )
                session.release_claim(claim)
            _, kept = look_into(held, self.rule, NOW, Machine())
        later = NOW + timedelta(days=4000)
        self.plan = self.planned(*judge_kept(self.rule, kept, _FULL, later))

    def meddle(self, rng: random.Random) -> Written:
        """Bring one back."""
        name = f"{rng.randrange(_FILES)}.log"
        for kept in (self.app / QUARANTINE).rglob(name):
            with contextlib.suppress(FileNotFoundError):
                kept.rename(self.app / name)
                return {f"log {name}": "back"}
        return {}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Each is in quarantine, or gone and somebody says so, or back and was not deleted."""
        verdict = super().judge(ended, written)
        steps = (
            {OneFile.model_validate(step.arguments).names[-1]: step for step in ended.steps} if ended else {}
        )
        for number in range(_FILES):
            name = f"{number}.log"
            theirs = f"log {name}" in written
            is_kept = any((self.app / QUARANTINE).rglob(name))
            is_back = (self.app / name).exists()
            if theirs and not is_back:
                verdict.lost.append(f"log {name}")
            holds = "other" if is_back else "saved" if is_kept else "written"
            if ended is None:
                if holds == "written":
                    verdict.wrong.append(f"{name} was deleted, and nothing was begun")
            elif problem := misplaced(steps[name.encode()], holds, theirs=theirs, ended=ended):
                verdict.wrong.append(f"{name}: {problem}")
        return verdict


class BackupsScene(HostScene):
    """Backups that retention does not keep; somebody else removes one of them."""

    strategy = "prune_backups"
    _BACKUPS = 4

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        place = around(folder).backups
        self._repository = Repository(place, "grid", "lab")
        self.stage()
        found = not_kept(self._repository, place, NOW)
        self.plan = self.planned(*judge_backups("grid", "lab", found, _FULL))

    def stage(self) -> None:
        """The newest of two days are kept by no rule but one of them; the others go."""
        super().stage()
        shutil.rmtree(self.folder / "backups", ignore_errors=True)
        for number in range(20 + self._BACKUPS):
            self._repository.write(_a_backup(number))

    def meddle(self, rng: random.Random) -> Written:
        """Remove one that is not kept."""
        asked = self.plan.units[0].steps[0].arguments["backups"]
        assert isinstance(asked, list)
        chosen = str(rng.choice(asked))
        self._repository.delete(chosen)
        return {f"backup {chosen}": ""}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Those that are kept are all there; the others are, or are gone and somebody says so."""
        verdict = super().judge(ended, written)
        asked = self.plan.units[0].steps[0].arguments["backups"]
        assert isinstance(asked, list)
        there = {each.id for each in self._repository.list(NOW).backups}
        stay = {_a_backup(number).id for number in range(20 + self._BACKUPS)} - {str(each) for each in asked}
        if not stay <= there:
            verdict.wrong.append("a backup is gone that retention keeps")
        gone = {str(each) for each in asked} - there - {place.split()[-1] for place in written}
        theirs = any(place.startswith("backup") for place in written)
        left = {str(each) for each in asked} & there
        holds = "saved" if not gone and not theirs else "written" if not left else "other"
        if ended is None:
            if gone:
                verdict.wrong.append("backups were removed, and nothing was begun")
        elif ended.steps[0].state == "committed" and "took effect" in ended.steps[0].note:
            if not gone and not theirs:
                verdict.wrong.append("nothing is gone, and it is said to have taken effect")
        elif problem := misplaced(ended.steps[0], holds, theirs=theirs, ended=ended):
            verdict.wrong.append(f"backups: {problem}")
        return verdict


def _a_backup(number: int) -> BackupManifest:
    at = NOW - timedelta(minutes=10 * (number + 1))
    return BackupManifest(
        format=2,
        id=f"{at:%Y%m%dT%H%M%SZ}-{number:06x}",
        kind="grid",
        name="lab",
        created_at=at,
        duration_s=1,
        medic8_version="0.1.0",
        content_bytes=0,
        added_bytes=0,
        parts=(),
        grid=GridContent(uuid="a", created_s=0, depth=1, blocks=0, lost_pages=0, read_blocks=0),
    )


def _scene(made: Callable[[Path], Scene]) -> SceneMaker:
    @contextlib.contextmanager
    def maker(folder: Path) -> Iterator[Scene]:
        folder.mkdir(parents=True, exist_ok=True)
        yield made(folder.resolve())

    return maker


SCENES: dict[str, Expected] = {
    "prune_files": Expected(_scene(PruneScene)),
    "empty_quarantine": Expected(_scene(EmptyScene)),
    "prune_backups": Expected(_scene(BackupsScene)),
}
