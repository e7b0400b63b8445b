"""One run: another process breaks, we look, and are scored."""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.accuracy.drawing import Draw
from benchmarks.accuracy.renaming import renamed
from benchmarks.accuracy.scoring import Score, score
from benchmarks.accuracy.variant import ON_A_SERVER, Truth

_PATIENCE_S = 120.0
_MOST_TOLD = 400
_ROOT = Path(__file__).resolve().parents[2]


class SideError(Exception):
    """The side that breaks could not do what it was told."""


class CrashError(Exception):
    """
    The code that is measured has raised; ``str()`` is the last line of the traceback.

    Attributes:
        truths: What it should have said.
    """

    def __init__(self, line: str, truths: tuple[Truth, ...]) -> None:
        super().__init__(line, truths)
        self.truths = truths

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass
class Result:
    """
    What one run came to.

    Attributes:
        draw: What was drawn.
        error: Why the run does not count; empty if it does.
        crash: Last line of the traceback of an exception in what is measured: a wrong answer; empty = none.
        scores: One for each fault, or one of a healthy state.
        said: What was said, for people: type and object of each issue.
        extra: How many roots there were beyond the faults.
        treats: Strategies that would have been carried out without a person.
        detect_s: From broken to the end of the look that found something; None if none did.
        heal_s: From broken to the oracle's word that it is gone; None = was not healed.
        is_healable: Whether the authors say that it may be healed.
        healing: (strategy, outcome, reason) of each treatment; None if it was not tried.
        is_gone: Whether the oracle says so after healing.
        harm: What was whole before healing and is not now.
        before: What a host that is not the run's own had already before it was broken; that is not scored.
    """

    draw: Draw
    error: str = ""
    crash: str = ""
    scores: list[Score] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    extra: int = 0
    treats: list[str] = field(default_factory=list)
    detect_s: float | None = None
    heal_s: float | None = None
    is_healable: bool = False
    healing: list[tuple[str, str, str]] | None = None
    is_gone: bool = False
    harm: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class Side:
    """The process that breaks."""

    def __init__(self, draw: Draw, folder: Path) -> None:
        code = folder.parent / "code"
        renamed(_ROOT, code, random.Random(draw.seed))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.accuracy.side"],
            cwd=code,
            env={**os.environ, "PYTHONPATH": str(code)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        order = {
            "variants": draw.variants,
            "strengths": draw.strengths,
            "seed": draw.seed,
            "folder": str(folder),
        }
        self.ready = self.ask(json.dumps(order))

    def ask(self, line: str) -> dict[str, Any]:
        """
        Tell it something; its answer.

        Raises:
            SideError: it could not, or does not answer.
        """
        talk = self._process
        assert talk.stdin is not None
        assert talk.stdout is not None
        talk.stdin.write(line + "\n")
        talk.stdin.flush()
        if not select.select([talk.stdout], [], [], _PATIENCE_S)[0]:
            raise SideError(f"{line[:80]}: no answer within {_PATIENCE_S:g} s")
        answer = json.loads(talk.stdout.readline() or '{"error": "it has ended"}')
        if "error" in answer:
            raise SideError(str(answer["error"]))
        return dict(answer)

    def close(self) -> None:
        """Let it end what it started."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def side_for(draw: Draw) -> Iterator[tuple[Side, Path]]:
    """Get the side that breaks *draw*, and a folder; both are gone after the block."""
    with tempfile.TemporaryDirectory(prefix="accuracy-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        broken = folder / "side"
        broken.mkdir()
        side = Side(draw, broken)
        try:
            yield side, folder
        finally:
            side.close()


def run(draw: Draw, *, is_to_heal: bool = False, watch_s: float | None = None) -> Result:
    """
    Break it, look, be scored, and heal it if that was asked for.

    What cannot be broken does not count. An exception of the side that looks is a wrong answer, and ends no
    other run.

    Args:
        draw: What to break.
        is_to_heal: Whether to heal it as well.
        watch_s: For how long to watch; None = as long as what is measured, less is for tests.
    """
    result = Result(draw)
    try:
        with side_for(draw) as (side, folder):
            _run(result, side, folder, is_to_heal=is_to_heal, watch_s=watch_s)
    except CrashError as exc:
        result.crash = str(exc)
        result.scores = crashed(exc.truths)
        result.said = [f"crash: {exc}"]
    except (SideError, OSError, ValueError) as exc:
        result.error = last_line_of(exc)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the other runs go on; it is shown and not counted
        result.error = f"the measurement itself: {last_line_of(exc)}"
    return result


def crashed(truths: Sequence[Truth]) -> list[Score]:
    """What an exception of what is measured is worth: an answer to none of *truths*."""
    return [
        Score(
            each.answer,
            "unknown",
            is_type=False,
            is_cause=False,
            is_object=False if each.objects else None,
            is_somewhere=False,
        )
        for each in truths
    ]


def last_line_of(exc: BaseException) -> str:
    """Where *exc* was raised, and what it says, on one line."""
    last = (traceback.extract_tb(exc.__traceback__) or [None])[-1]
    where = f" ({Path(last.filename).name}:{last.lineno})" if last else ""
    return " ".join(f"{type(exc).__name__}: {exc}".split())[:_MOST_TOLD] + where


@contextmanager
def counted_as_wrong(truths: Sequence[Truth]) -> Iterator[None]:
    """
    Have an exception of the code that is measured be a wrong answer to *truths*.

    Raises:
        CrashError: there was one.
        SideError: the side that breaks could not do what it was told.
    """
    try:
        yield
    except SideError:
        raise
    except Exception as exc:
        raise CrashError(last_line_of(exc), tuple(truths)) from exc


def _run(result: Result, side: Side, folder: Path, *, is_to_heal: bool, watch_s: float | None) -> None:
    from benchmarks.accuracy import answers, looking  # noqa: PLC0415 - both import Prefect: its settings come first
    from benchmarks.accuracy.side import truth_of  # noqa: PLC0415

    name = f"t-{random.Random(result.draw.seed).randrange(1 << 24):06x}"
    try:
        found_before = _looked_at_before(side, folder, name)
    except SideError:
        raise
    except Exception:
        side.ask("break")  # only then it is told what is true
        with counted_as_wrong([truth_of(each) for each in side.ask("truth")["truths"]]):
            raise
    if is_to_heal and side.ready["kind"] == "grid":
        well = looking.configure(folder, side.ready, name)
        looking.back_up(well.target(name), well)
    # A host is not the run's own: whatever else it has is neither the fault nor a false alarm.
    before = found_before if side.ready["kind"] == "host" else set()
    broken = side.ask("break")
    began_s = time.monotonic()
    if not all(broken["there"]):
        raise SideError(f"not there after it was broken: {broken['there']}")
    site = looking.configure(folder, broken, name)
    target = site.target(name)
    truths: list[Truth] = [truth_of(each) for each in side.ask("truth")["truths"]]
    with counted_as_wrong(truths):
        waited_s = time.monotonic() - began_s
        seen = looking.found(target, site, before, watch_s=watch_s)
        said = answers.said_by(seen.watch, seen.look)
        result.treats = looking.would_treat(seen, target)
    result.before = sorted(before)
    if had := {cause for each in truths for cause in (each.cause, *each.also_cause)} & {
        answers.cause_of(code) for code in before
    }:
        raise SideError(f"the host had it before: {', '.join(sorted(had))}")
    if seen.seen_s is not None:
        result.detect_s = waited_s + seen.seen_s
    result.scores = score(truths, said)
    result.said = [
        f"{each.issue_type}: {each.about} ({', '.join(each.signs)})"
        f"{'' if not each.follows_from else ' <- ' + each.follows_from[0].title}"
        for each in seen.issues
        if each.severity != "info"
    ]
    faults = [each for each in truths if each.answer != "none"]
    result.extra = max(0, sum(each.is_root for each in said) - len(faults))
    result.is_healable = bool(faults) and all(each.healable for each in truths)
    if is_to_heal and faults:
        with counted_as_wrong(truths):
            _heal(result, side, name, began_s)


def _looked_at_before(side: Side, folder: Path, name: str) -> set[str]:
    """The codes of what is found while all is well; none where there is nothing to look at yet."""
    from benchmarks.accuracy import looking  # noqa: PLC0415 - it imports Prefect, whose settings come first

    if side.ready["kind"] in ON_A_SERVER or not side.ready["url"]:
        return set()
    site = looking.configure(folder, side.ready, name)
    report = looking.diagnose(site.target(name), site)
    return {each.code for each in report.analysis.findings if each.severity != "info"}


def _heal(result: Result, side: Side, name: str, began_s: float) -> None:
    from benchmarks.accuracy import healing, looking  # noqa: PLC0415

    result.healing = healing.heal(name, looking.watch_of(side.ready["kind"]))
    judged = side.ask("judge")
    result.is_gone = not any(judged["there"])
    result.harm = judged["harm"]
    if result.is_gone:
        result.heal_s = time.monotonic() - began_s
