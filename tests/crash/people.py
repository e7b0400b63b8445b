"""
Who takes part: an executor that carries a plan out, one who ends what it left, and somebody else who writes.

Executor and ender run in forked children of a process that has everything imported, so that a death costs
milliseconds. They take the steps of `flows/recover.py` and `tasks/` without Prefect: each attempt through a
session of its own, and three attempts where a task has them.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TypeVar

from medic8.errors import FencedError, Medic8Error, TransientError, UnreachableError
from medic8.model.recovery import Recovery, RecoveryState, StepMark
from medic8.owner import this_process
from medic8.recovery import contract, interrupted, undo
from medic8.recovery.journal import Journal
from medic8.targets.kind import Session
from medic8.targets.registry import kind_named
from tests.crash.killing import Phase, Strike, Watch, install
from tests.crash.scenes import Scene, Written, around

ATTEMPTS = 3
_LIMIT_BYTES = 64 << 20

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Place:
    """
    One run's folder.

    Attributes:
        folder: Holds the journal, the saved states, and what the children noted.
        backups: Parent of the folder of backups.
    """

    folder: Path
    backups: Path

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.folder / "journal.sqlite"

    @property
    def saved(self) -> Path:
        """Where states are saved."""
        return self.folder / "recoveries"

    @property
    def notes(self) -> Path:
        """What somebody else wrote from within a child, one JSON object a line."""
        return self.folder / "written.jsonl"


def now() -> datetime:
    """The time, as the flows have it."""
    return datetime.now(UTC)


def carry_out(scene: Scene, place: Place) -> Recovery:
    """Open, save, apply and verify unit by unit, close; undo on failure."""
    journal = Journal(f"sqlite:///{place.journal}")

    def attempts(act: Callable[[Session], Result]) -> Result:
        return _tried(lambda: _with_session(scene, place, act))

    recovery = attempts(lambda session: _opened(journal, session, scene))
    reached: tuple[StepMark, ...] = ()
    try:
        recovery = attempts(
            lambda session: contract.save_state(
                journal, session, recovery, folder=place.saved, limit_bytes=_LIMIT_BYTES
            )
        )
        for unit in range(len(recovery.plan.units)):
            for number in contract.numbers_of(recovery.plan, unit):
                reached = attempts(
                    lambda session, number=number, so_far=reached: contract.apply_step(
                        journal, session, recovery, number, clock=now, reached=so_far
                    )
                )
            reached += attempts(lambda session, unit=unit: contract.verify_unit(session, recovery, unit))
        closed = _tried(
            lambda: journal.close(recovery, RecoveryState.HEALTHY, left=(), at=now(), reached=reached)
        )
    except Medic8Error:
        return attempts(
            lambda session: undo.undo_or_hand_over(journal, session, recovery, clock=now, reached=reached)
        )
    with contextlib.suppress(Medic8Error):
        _with_session(scene, place, lambda session: session.release_claim(recovery.claim))
    return closed


def _opened(journal: Journal, session: Session, scene: Scene) -> Recovery:
    return contract.open_recovery(journal, session, scene.plan, this_process(), at=now())


def end_interrupted(scene: Scene, place: Place) -> tuple[Recovery, ...]:
    """End everything whose owner is dead, as `restore_interrupted` does; the one place that calls it."""
    journal = Journal(f"sqlite:///{place.journal}")
    ended = []
    for each in interrupted.interrupted_on(journal):
        with contextlib.suppress(FencedError):
            ended.append(
                interrupted.end(
                    journal,
                    each,
                    this_process(),
                    session_of=lambda _: kind_named(scene.target.kind).open_session(
                        scene.target, around(place.backups)
                    ),
                    clock=now,
                )
            )
    return tuple(ended)


def _with_session(scene: Scene, place: Place, act: Callable[[Session], Result]) -> Result:
    kind = kind_named(scene.target.kind)
    with kind.open_session(scene.target, around(place.backups)) as session:
        return act(session)


def _tried(act: Callable[[], Result]) -> Result:
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(TransientError, UnreachableError):
            return act()
    return act()


def noting(scene: Scene, place: Place, seed: str) -> Callable[[], None]:
    """Have somebody else meddle, and note what was acknowledged where a death does not take it away."""

    def meddle() -> None:
        with place.notes.open("a") as notes:
            notes.write(json.dumps(scene.meddle(random.Random(seed))) + "\n")

    return meddle


def noted(place: Place) -> Written:
    """What was acknowledged to whoever meddled from within a child, later writes over earlier ones."""
    written: Written = {}
    if place.notes.exists():
        for line in place.notes.read_text().splitlines():
            written |= json.loads(line)
    return written


@dataclass(frozen=True, slots=True)
class Role:
    """
    What a child does, and what happens to it.

    Attributes:
        act: `carry_out` or `end_interrupted`.
        strike: How it is struck; None = it is not.
        moment: At which write, and whether before or after it, somebody else meddles; None = never.
        seed: Of what they write.
        prepare: Called in the child before anything else, to break something on purpose.
    """

    act: Callable[[Scene, Place], object]
    strike: Strike | None = None
    moment: tuple[int, Phase] | None = None
    seed: str = ""
    prepare: Callable[[], None] = lambda: None


def fork(role: Role, scene: Scene, place: Place) -> int:
    """Start a child and return its process id; what it saw goes to ``writes.json``."""
    child = forked()
    if child:
        return child
    status = 1
    try:
        role.prepare()
        watch = Watch(place.saved, role.strike, role.moment, noting(scene, place, role.seed))
        install(watch)
        role.act(scene, place)
        report = [(write.what, write.detail) for write in watch.writes]
        (place.folder / "writes.json").write_text(json.dumps(report))
        status = 0
    except BaseException as exc:  # noqa: BLE001 - the parent is told
        where = "".join(traceback.format_exception(exc))
        with (place.folder / "errors.txt").open("a") as errors:
            errors.write(where)
        # An executor that gives up leaves its recovery to the next one, and is dead all the same.
        status = 3 if isinstance(exc, Medic8Error) else 1
    finally:
        os._exit(status)


def forked() -> int:
    """`os.fork`; threads that a test's process may have are none of a child's business."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def run(role: Role, scene: Scene, place: Place) -> int:
    """Run a child to its end; its exit code, or the negative number of the signal that it died of."""
    return os.waitstatus_to_exitcode(os.waitpid(fork(role, scene, place), 0)[1])


class Writer:
    """Somebody else who writes all the time, in a process of his own."""

    def __init__(self, scene: Scene) -> None:
        self._ours, theirs = Pipe()
        self._child = forked()
        if self._child == 0:
            self._ours.close()
            try:
                _write_until_told(scene, theirs)
            finally:
                os._exit(0)
        theirs.close()

    def go(self, seed: str) -> None:
        """Begin to write; returns when the first write was tried."""
        self._ours.send(seed)
        self._ours.recv()

    def halt(self) -> Written:
        """Stop; what was acknowledged."""
        self._ours.send(None)
        answer: Written | str = self._ours.recv()
        if isinstance(answer, str):
            raise RuntimeError(f"the live writer failed: {answer}")  # noqa: TRY004 - it is its message
        return answer

    def close(self) -> None:
        """Let the process end."""
        self._ours.close()
        os.waitpid(self._child, 0)


@contextlib.contextmanager
def writer(scene: Scene) -> Iterator[Writer]:
    """Get a live writer that is gone after the block."""
    live = Writer(scene)
    try:
        yield live
    finally:
        live.close()


def _write_until_told(scene: Scene, talk: Connection) -> None:
    while True:
        try:
            seed = talk.recv()
        except EOFError:
            return
        written: Written | str = {}
        rng, is_told = random.Random(seed), False
        while not talk.poll():
            try:
                if isinstance(written, dict):
                    written |= scene.wander(rng)
            except Exception as exc:  # noqa: BLE001 - whoever waits for us is told
                written = f"{type(exc).__name__}: {exc}"
            if not is_told:
                talk.send("writing")
                is_told = True
            time.sleep(0.002)
        if not is_told:
            talk.send("writing")
        talk.recv()
        talk.send(written)
