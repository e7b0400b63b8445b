"""
Kill recoveries at every write, end them, and have an independent reader check where that leads.

Depth 1 strikes the executor at each of its writes. Depth 2 strikes whoever ends it as well: at every write if
there are at most `EXHAUSTIVE`, else at as many drawn by the seed. Each strike is made twice: alone, and while
somebody else writes all the time and, at one moment drawn by the seed, to the same things that are repaired.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from medic8.recovery.journal import Journal
from tests.crash import (
    endpoint_scenes,
    grid_scenes,
    host_scenes,
    lock_scenes,
    memory_scenes,
    network_scenes,
    process_scenes,
    settings_scene,
    slow_scenes,
    sync_scenes,
)
from tests.crash.killing import Phase, Strike, Write
from tests.crash.people import Place, Role, Writer, carry_out, end_interrupted, noted, run, writer
from tests.crash.reader import read_journal
from tests.crash.scenes import Expected, Scene, Written, registered_strategies, scenes_of

#: Up to so many writes of whoever ends a recovery, it is struck at every one; above, at so many of them.
EXHAUSTIVE = 6

#: A recovery that is still open is ended by the next one who looks; more often than that, it is stuck.
_MOST_ENDERS = 4

EXPECTED: dict[str, Expected] = {
    **grid_scenes.SCENES,
    **host_scenes.SCENES,
    **lock_scenes.SCENES,
    **settings_scene.SCENES,
    **memory_scenes.SCENES,
    **network_scenes.SCENES,
    **process_scenes.SCENES,
    **endpoint_scenes.SCENES,
    **slow_scenes.SCENES,
    **sync_scenes.SCENES,
}


@dataclass(frozen=True, slots=True)
class Point:
    """
    One experiment.

    Attributes:
        strategy: Whose plan is carried out.
        first: How the executor is struck.
        second: How the one who ends it is struck; None = not.
        is_busy: Whether somebody else writes meanwhile.
    """

    strategy: str
    first: Strike
    second: Strike | None = None
    is_busy: bool = False

    def __str__(self) -> str:
        then = f", then {self.second} of the ending" if self.second else ""
        return f"{self.strategy}: {self.first}{then}{', others write' if self.is_busy else ''}"


@dataclass(slots=True)
class Tally:
    """
    What came of all points of one strategy.

    Attributes:
        points: Experiments made.
        kills: Processes that died of SIGKILL.
        ends: How often each end came.
        foreign: Writes by somebody else that were acknowledged.
        kept: Steps that were left alone because somebody else had changed it since.
        claims: Ends after which a claim was left to lapse by itself.
        wrong: What was not as the promise says, with the point.
        lost: Acknowledged writes of somebody else that are gone, with the point.
    """

    points: int = 0
    kills: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    foreign: int = 0
    kept: int = 0
    claims: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add what *other* counted."""
        self.points += other.points
        self.kills += other.kills
        self.foreign += other.foreign
        self.kept += other.kept
        self.claims += other.claims
        self.wrong += other.wrong
        self.lost += other.lost
        for end, count in other.ends.items():
            self.ends[end] = self.ends.get(end, 0) + count


class Bench:
    """
    One strategy's scene, a live writer, and room for one experiment at a time.

    Attributes:
        strategy: Its name.
        scene: Its scene.
        writes: The writes of an unharmed run.
        broken: Called in the child that ends a recovery, to break something on purpose.
    """

    def __init__(
        self,
        strategy: str,
        expected: Expected,
        scene: Scene,
        live: Writer,
        folder: Path,
        *,
        seed: int,
        broken: Callable[[], None] = lambda: None,
    ) -> None:
        self.strategy, self.scene = strategy, scene
        self._expected, self._live, self._seed, self.broken = expected, live, seed, broken
        self.place = Place(folder / "run", folder)
        self._empty = folder / "empty.sqlite"
        journal = Journal(f"sqlite:///{self._empty}")
        journal.dispose()
        self.writes = self._count_writes()

    def _count_writes(self) -> tuple[Write, ...]:
        """The writes of an unharmed run, which must end healthy."""
        self.stage()
        code = run(Role(carry_out), self.scene, self.place)
        ended, wrong = read_journal(self.place.journal)
        verdict = self.scene.judge(ended, {})
        if code or wrong or verdict.wrong or verdict.state != "healthy":
            problems = [*wrong, *verdict.wrong, self._errors()]
            raise AssertionError(f"{self.strategy}: an unharmed run ends {verdict.state}: {problems}")
        return self._seen()

    def _seen(self) -> tuple[Write, ...]:
        found = json.loads((self.place.folder / "writes.json").read_text())
        return tuple(Write(what, detail) for what, detail in found)

    def _errors(self) -> str:
        errors = self.place.folder / "errors.txt"
        return errors.read_text().strip().splitlines()[-1] if errors.exists() else ""

    def stage(self) -> None:
        """Bring the server to what is found, with an empty journal."""
        shutil.rmtree(self.place.folder, ignore_errors=True)
        self.place.folder.mkdir()
        shutil.copy(self._empty, self.place.journal)
        self.scene.stage()

    def strikes(self) -> list[Strike]:
        """Every way in which the executor can be struck."""
        return strikes_at(self.writes)

    def experiment(self, point: Point, tally: Tally) -> tuple[Write, ...]:
        """Make one experiment; the writes of whoever ended the recovery."""
        self.stage()
        seed = f"{self._seed} {point}"
        rng = random.Random(seed)
        written: Written = {}
        if point.is_busy:
            self._live.go(seed)
        first = Role(carry_out, point.first, self._moment(rng, point.first.number + 1, point), seed)
        codes = [run(first, self.scene, self.place)]
        ended_by = codes[0] if not _is_open(self.place.journal) else None
        written |= noted(self.place)
        if point.is_busy and rng.random() < 0.5:
            written |= self.scene.meddle(rng)  # between the death and the end
        endings: tuple[Write, ...] = ()
        for number in range(_MOST_ENDERS):
            strike = point.second if number == 0 else None
            moment = self._moment(rng, 10, point) if number == 0 else None
            ender = Role(end_interrupted, strike, moment, f"{seed} {number}", self.broken)
            self.place.notes.unlink(missing_ok=True)
            codes.append(run(ender, self.scene, self.place))
            written |= noted(self.place)
            endings = endings or (self._seen() if codes[-1] == 0 else ())
            if not _is_open(self.place.journal):
                ended_by = codes[-1] if ended_by is None else ended_by
                if codes[-1] == 0:
                    break
        if point.is_busy:
            written |= self._live.halt()
        self._judge(point, tally, codes, written, was_ended_whole=ended_by == 0)
        return endings

    def _moment(self, rng: random.Random, below: int, point: Point) -> tuple[int, Phase] | None:
        if not point.is_busy:
            return None
        phase = rng.choice((Phase.BEFORE, Phase.AFTER)) if self.scene.exact_before else Phase.AFTER
        return rng.randrange(below), phase

    def _judge(
        self, point: Point, tally: Tally, codes: list[int], written: Written, *, was_ended_whole: bool
    ) -> None:
        ended, wrong = read_journal(self.place.journal)
        verdict = self.scene.judge(ended, written)
        wrong += verdict.wrong
        if 1 in codes:
            wrong.append(f"a process failed: {self._errors()}")
        if verdict.state == "needs_person" and not self._expected.may_need_person:
            wrong.append(f"needs a person: {ended.left if ended else ()}")
        if verdict.is_claimed and was_ended_whole:
            wrong.append("the claim is left, and nobody died before it could be deleted")
        if not point.is_busy and point.first.phase is not Phase.LOST and codes[0] != -signal.SIGKILL:
            wrong.append(f"the executor was not killed but ended with {codes[0]}")
        tally.points += 1
        tally.kept += sum(step.state == "conflict" for step in ended.steps) if ended else 0
        tally.kills += codes.count(-signal.SIGKILL)
        tally.foreign += len(written)
        tally.claims += verdict.is_claimed
        tally.ends[verdict.state] = tally.ends.get(verdict.state, 0) + 1
        if wrong:
            tally.wrong.append(f"{point}: {'; '.join(wrong)}")
        if verdict.lost:
            tally.lost.append(f"{point}: {', '.join(verdict.lost)}")


def _is_open(journal: Path) -> bool:
    ended, _ = read_journal(journal)
    return ended is not None and ended.state == "open"


def strikes_at(writes: Iterable[Write]) -> list[Strike]:
    """Every way in which a process that makes *writes* can be struck."""
    return [Strike(number, phase) for number, write in enumerate(writes) for phase in write.phases]


@dataclass(frozen=True, slots=True)
class Wish:
    """
    Which experiments to make.

    Attributes:
        depth: 1 or 2.
        sample: So many points of each strategy, drawn by the seed; 0 = all.
        seed: Draws them, and what others write and when.
        part: Which of *parts* shares of the points.
        parts: How many shares there are.
        strategies: Only these; empty = all that are registered.
    """

    depth: int = 2
    sample: int = 0
    seed: int = 1
    part: int = 0
    parts: int = 1
    strategies: tuple[str, ...] = ()


def experiments(
    wish: Wish,
    folder: Path,
    *,
    broken: Callable[[], None] = lambda: None,
    told: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[str, Tally]]:
    """Make all experiments that *wish* asks for; each strategy's tally as it is done."""
    every = [
        (kind, name, expected)
        for kind, strategy in registered_strategies()
        if not wish.strategies or strategy in wish.strategies
        for name, expected in scenes_of(strategy, EXPECTED).items()
    ]
    for kind, name, expected in every:
        if expected.missing:
            told(f"{name}: left out: {expected.missing}")
            continue
        with ExitStack() as stack:
            room = folder / name.replace(" ", "-")
            scene = stack.enter_context(expected.scene(room))
            if scene.target.kind != kind:
                raise LookupError(f"the scene of {name} is of kind {scene.target.kind}, not {kind}")
            live = stack.enter_context(writer(scene))
            bench = Bench(name, expected, scene, live, room, seed=wish.seed, broken=broken)
            yield name, _all_of(bench, wish, told)


def _all_of(bench: Bench, wish: Wish, told: Callable[[str], None]) -> Tally:
    tally, rng = Tally(), random.Random(f"{wish.seed} {bench.strategy}")
    points = [
        Point(bench.strategy, strike, is_busy=busy) for strike in bench.strikes() for busy in (False, True)
    ]
    if wish.sample and wish.sample < len(points):
        points = rng.sample(points, wish.sample)
    points = points[wish.part :: wish.parts]
    began_s = time.monotonic()
    for count, point in enumerate(points, 1):
        endings = bench.experiment(point, tally)
        if wish.depth > 1:
            second = [strike for strike in strikes_at(endings) if strike.phase is not Phase.LOST]
            if len(endings) > EXHAUSTIVE or wish.sample:
                second = random.Random(f"{wish.seed} {point}").sample(
                    second, min(len(second), 1 if wish.sample else EXHAUSTIVE)
                )
            for strike in second:
                deeper = Point(point.strategy, point.first, strike, is_busy=point.is_busy)
                bench.experiment(deeper, tally)
        if count % 20 == 0 or count == len(points):
            told(
                f"{bench.strategy}: {count} of {len(points)} deaths, {tally.points} points, "
                f"{len(tally.wrong)} wrong, {len(tally.lost)} lost, {time.monotonic() - began_s:.0f} s"
            )
    return tally
