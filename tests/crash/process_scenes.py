"""
Processes that are restarted, weighed down and told to open their logs again, and what is exact about them.

*The same*: somebody else kills the process, which its supervisor starts again, writes the weight, or sends
the signal. Between the look at who a process is and what its supervisor is told lies one question, in which
somebody else may have restarted it (docs/recovery.md says so); so they do so right *after* any write.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.model.issue import Finding
from medic8.model.plan import Plan
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.targets.facts import Facts
from medic8.targets.process.groups import weight_of
from medic8.targets.process.living import living
from medic8.targets.process.looks.hogs import hog_object, judge_processor
from medic8.targets.process.looks.moments import Moment
from medic8.targets.registry import kind_named
from tests.crash.folder_scene import FolderScene
from tests.crash.reader import Ended, Verdict, misplaced
from tests.crash.scenes import NOW, Expected, Scene, SceneMaker, Written, around
from tests.targets.process import grouped
from tests.targets.process.diagnosed import leaking
from tests.targets.process.supervised import MISSING, Program, supervised, until

_KIND = kind_named("process")


class ProcessScene(FolderScene):
    """A program of a supervisord, and files that others write."""

    strategy: str
    program_name = "sleeper"
    timeout_s = 10.0

    def __init__(self, program: Program, folder: Path) -> None:
        super().__init__(folder)
        self.program = program
        self.target = program.target(
            self.strategy, program=self.program_name, reload="HUP", timeout_s=self.timeout_s
        )

    @property
    def pid(self) -> int:
        """The process that is there now; one that was killed is started again first."""
        keeper = self.program.keeper(self.program_name)
        until(lambda: keeper.look().pid is not None, "the program runs")
        return keeper.look().pid or 0

    def planned(self, *findings: Finding) -> Plan:
        """The plan for *findings* about the process that is there now."""
        surroundings = around(self.folder)
        results = {name: _KIND.diagnostics[name](self.target, surroundings) for name in ("presence", "data")}
        results["also"] = DiagnosticResult(diagnostic="also", findings=findings, taken_at=NOW)
        analysis = analyze(results.values())
        issues = detect_issues(analysis, _KIND.rules, target=self.target.name, at=NOW)
        report = DiagnosticReport(
            target=self.target.name,
            kind="process",
            results=results,
            analysis=analysis,
            issues=issues,
            taken_at=NOW,
        )
        (issue,) = (each for each in issues if findings[0].code in each.signs)
        return _KIND.strategies[self.strategy](issue, report, self.target)


class RestartScene(ProcessScene):
    """A process that is restarted at most once, and runs at the end with what it had."""

    strategy = "restart_process"

    def __init__(self, program: Program, folder: Path) -> None:
        super().__init__(program, folder)
        self._log = program.folder / "supervisord.log"
        self._planned = 0
        self.stage()

    def stage(self) -> None:
        """Have it run, and the plan mean the process that runs."""
        super().stage()
        self.program.keeper(self.program_name).start({})
        if self.pid != self._planned:
            self._planned = self.pid
            self.plan = self.planned(leaking())
        self._starts_before = self._starts()

    def meddle(self, rng: random.Random) -> Written:
        """Somebody kills it, and its supervisor starts another one."""
        del rng
        kept = self.program.keeper(self.program_name).look()
        if kept.pid is None:
            return {}
        before = self._starts()
        with contextlib.suppress(ProcessLookupError):
            os.kill(kept.pid, signal.SIGKILL)
        until(
            lambda: self._starts() > before or not self.program.keeper(self.program_name).look().pid,
            "it ends",
        )
        return {f"killed {kept.pid}": ""}

    def _starts(self) -> int:
        return self._log.read_text().count(f"spawned: '{self.program_name}'")

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """It runs with what it had; the planned one has ended if and only if the journal says so."""
        verdict = super().judge(ended, written)
        try:
            pid = self.pid
        except TimeoutError:
            verdict.wrong.append("it does not run")
            return verdict
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if b"SECRET=hush" not in environment or Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
            verdict.wrong.append(f"process {pid} does not run with what it had")
        theirs = sum(place.startswith("killed") for place in written)
        started = self._starts() - self._starts_before
        # Each kill of theirs is answered by one start, of ours one restart at most makes another.
        if started > theirs + 1:
            verdict.wrong.append(f"it was started {started} times; others killed it {theirs} times")
        runs = pid == self._planned
        was_killed = f"killed {self._planned}" in written
        if ended is None:
            if not runs and not was_killed:
                verdict.wrong.append("it was restarted, and nothing was begun")
            return verdict
        state = ended.steps[1].state
        fits = {
            "planned": runs or was_killed,
            "undone": runs or was_killed,
            "committed": not runs,
            "done": not runs and ended.state == "healthy",
        }
        if not fits.get(state, False):
            verdict.wrong.append(
                f"step 1 is {state} in a {ended.state} recovery; the planned process "
                f"{'runs' if runs else 'has ended'}"
            )
        return verdict


class WeighScene(ProcessScene):
    """A process in a control group of its own, whose weight is what it was or what was planned."""

    strategy = "weigh_down"

    def __init__(self, program: Program, folder: Path, weight: Path) -> None:
        super().__init__(program, folder)
        self._weight = weight
        self._found = int(weight.read_text())
        program.keeper(self.program_name).start({})
        grouped.join(weight, self.pid)
        self.stage()
        with living(self.pid) as process:
            found = weight_of(self.pid, "cpu")
            # It took all of the processors for a second, and they are too busy here to see that for real.
            moments = [
                Moment(at_s, ticks, (ticks, 0), Facts({}), Facts({}), None, {})
                for at_s, ticks in ((0.0, 0), (1.0, 100))
            ]
            self.plan = self.planned(*judge_processor(*moments, found, hog_object(process, found)))
        self._good = self._found // 4

    def stage(self) -> None:
        """Put the usual weight there."""
        super().stage()
        self._weight.write_text(str(self._found))

    def meddle(self, rng: random.Random) -> Written:
        """A weight of theirs."""
        value = str(rng.randrange(300, 400))
        self._weight.write_text(value)
        return {"weight": value}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """It is as found, or as planned, or as somebody else set it last."""
        verdict = super().judge(ended, written)
        now, theirs = int(self._weight.read_text()), written.get("weight")
        if theirs not in {None, str(now)}:
            verdict.lost.append("weight")
        holds = {self._found: "saved", self._good: "written"}.get(now, "other")
        if ended is None:
            if holds != "saved" and theirs is None:
                verdict.wrong.append(f"the weight is {now}, and nothing was begun")
        elif problem := misplaced(ended.steps[0], holds, theirs=theirs is not None, ended=ended):
            verdict.wrong.append(f"the weight is {now}: {problem}")
        return verdict


class ReloadScene(ProcessScene):
    """A process that writes into a log that was deleted, until it is told to open it again."""

    strategy = "reload_process"
    program_name = "worker"
    timeout_s = 1.0

    def __init__(self, program: Program, folder: Path) -> None:
        super().__init__(program, folder)
        self._log = program.folder / "worker.log"
        self.stage()
        found = Finding(
            code="descriptors.deleted_files", severity="warning", text="it keeps them", about="deleted files"
        )
        self.plan = self.planned(found)

    def stage(self) -> None:
        """Have it open its log, and delete that."""
        super().stage()
        if not self._log.exists():
            self._reload()
        self._log.unlink()

    def _reload(self) -> None:
        os.kill(self.pid, signal.SIGHUP)
        until(lambda: self._log.exists() and not self._holds_deleted(), "the log is opened again")

    def meddle(self, rng: random.Random) -> Written:
        """Somebody else sends the signal."""
        del rng
        self._reload()
        return {"signal": ""}

    def _holds_deleted(self) -> bool:
        folder = Path(f"/proc/{self.pid}/fd")
        return any(str(link.readlink()).endswith("worker.log (deleted)") for link in folder.iterdir())

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """The log is open if the journal says so, or somebody else has seen to it."""
        verdict = super().judge(ended, written)
        holds, theirs = "saved" if self._holds_deleted() else "written", "signal" in written
        if ended is None:
            if holds == "written" and not theirs:
                verdict.wrong.append("it opened its log again, and nothing was begun")
            return verdict
        state = ended.steps[0].state
        fits = {
            "planned": holds == "saved" or theirs,
            "undone": holds == "saved" or theirs,
            "committed": holds == "written",
            "done": holds == "written" and ended.state == "healthy",
        }
        if not fits.get(state, False):
            verdict.wrong.append(f"step 0 is {state} in a {ended.state} recovery; the log is {holds}")
        return verdict


def _of(make: type[RestartScene | ReloadScene]) -> SceneMaker:
    @contextlib.contextmanager
    def scene(folder: Path) -> Iterator[Scene]:
        with supervised(folder / "s") as program:
            yield make(program, folder)

    return scene


@contextlib.contextmanager
def _weighed(folder: Path) -> Iterator[Scene]:
    with supervised(folder / "s") as program, grouped.weighed("scene") as weight:
        yield WeighScene(program, folder, weight)


SCENES: dict[str, Expected] = {
    "weigh_down": Expected(_weighed, missing=MISSING or grouped.MISSING),
    "reload_process": Expected(_of(ReloadScene), missing=MISSING),
    "restart_process": Expected(_of(RestartScene), missing=MISSING),
}
