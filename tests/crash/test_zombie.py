"""Stopped at a write, taken over, continued: a zombie writes nothing, nowhere. And of many, one ends it."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from medic8.errors import ChangedError, FencedError, Medic8Error
from medic8.owner import this_process
from medic8.recovery import interrupted
from medic8.recovery.journal import Journal
from medic8.targets.registry import kind_named
from tests.crash.killing import Phase, Strike
from tests.crash.laboratory import Bench
from tests.crash.people import Place, Role, carry_out, end_interrupted, fork, now, run
from tests.crash.reader import everything_journalled, read_journal
from tests.crash.scenes import Scene, around
from tests.crash.test_laboratory import bench_of

STOPS = {("target", Phase.BEFORE), ("target", Phase.AFTER), ("journal", Phase.AFTER)}

#: One of each class: a value written back, one that cannot be taken back, and a setting.
STRATEGIES = ("rebuild_from_parity", "quarantine_lost_pages", "set_settings")


@pytest.fixture(scope="module", params=STRATEGIES)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Get a bench of one strategy of each class."""
    with ExitStack() as stack:
        yield bench_of(request.param, tmp_path_factory.mktemp("bench"), stack)


def let_the_lease_lapse(journal: Path) -> None:
    """What ten seconds of silence do."""
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("UPDATE leases SET lapses_at_s = 0")


@contextlib.contextmanager
def stopped(role: Role, scene: Scene, place: Place) -> Iterator[int]:
    """A child that has stopped itself, and is gone after the block."""
    child = fork(role, scene, place)
    _, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    try:
        yield child
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise


def continued(child: int) -> int:
    """Its exit code when it had its say."""
    os.kill(child, signal.SIGCONT)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_zombie_writes_nothing_after_it_was_taken_over(bench: Bench) -> None:
    """
    Stopped right before and right after every write of the target, and right after every one of the journal.

    Its lease lapses, another process ends its recovery, and it goes on: every key of the server and every
    row of the journal stay as whoever took over left them. Not while it commits: a process that is stopped
    inside a transaction keeps an SQLite journal locked, and nobody takes it over until it goes on or dies.
    """
    scene, place = bench.scene, bench.place
    taken = 0
    for strike in bench.strikes():
        what = bench.writes[strike.number].what
        if (what, strike.phase) not in STOPS:
            continue
        bench.stage()
        role = Role(carry_out, Strike(strike.number, strike.phase, signal.SIGSTOP))
        with stopped(role, scene, place) as child:
            let_the_lease_lapse(place.journal)
            assert run(Role(end_interrupted), scene, place) == 0
            ended, problems = read_journal(place.journal)
            contents, journalled = scene.contents(), everything_journalled(place.journal)
            verdict = scene.judge(ended, {})
            code = continued(child)
        if ended is None or ended.state == "healthy":
            continue  # nothing was open, so nobody took over
        assert (strike, problems, verdict.wrong) == (strike, [], [])
        assert (strike, scene.contents()) == (strike, contents)
        assert (strike, everything_journalled(place.journal)) == (strike, journalled)
        assert (strike, code) in {(strike, 0), (strike, 3)}  # not by a slip of its own
        taken += 1
    assert taken >= 5 * bench.scene.plan.step_count


def contend(scene: Scene, place: Place, way: str, ready: object, outcomes: object) -> None:
    """Try to end what died, when all are ready; say what came of it."""
    journal = Journal(f"sqlite:///{place.journal}")
    open_session = kind_named(scene.target.kind).open_session
    dead = interrupted.interrupted_on(journal)
    ready.wait(60)
    outcome = "nothing"
    try:
        if way == "end":
            for each in dead:
                interrupted.end(
                    journal,
                    each,
                    this_process(),
                    session_of=lambda _: open_session(scene.target, around(place.backups)),
                    clock=now,
                )
                outcome = "ended"
        else:
            with open_session(scene.target, around(place.backups)) as session:
                interrupted.open_recovery(
                    journal,
                    session,
                    scene.plan,
                    this_process(),
                    session_of=lambda _: open_session(scene.target, around(place.backups)),
                    clock=now,
                )
                outcome = "opened"
    except ChangedError:
        outcome = "ended"
    except FencedError:
        outcome = "fenced"
    except Medic8Error as exc:
        outcome = type(exc).__name__
    outcomes.put(outcome)


def test_of_all_who_end_it_at_once_exactly_one_does(bench: Bench) -> None:
    """Five who look for dead recoveries and one new heal, started at the same moment; several deaths."""
    context = multiprocessing.get_context("fork")
    scene, place = bench.scene, bench.place
    commits = [number for number, write in enumerate(bench.writes) if write.what == "journal"]
    # Opened, state saved, and each step begun; the last one closes it.
    for number in commits[:-1]:
        strike = Strike(number, Phase.AFTER)
        bench.stage()
        assert run(Role(carry_out, strike), scene, place) == -signal.SIGKILL
        ready, outcomes = context.Barrier(6), context.Queue()
        children = [
            context.Process(target=contend, args=(scene, place, way, ready, outcomes))
            for way in ("end", "end", "end", "end", "end", "heal")
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for child in children:
                child.start()
        seen = sorted(outcomes.get(timeout=60) for _ in children)
        for child in children:
            child.join(60)
        assert seen.count("ended") == 1, seen
        assert set(seen) <= {"ended", "fenced", "BusyError", "opened"}, seen
        # What the new heal may have opened died with it, before it began anything.
        assert run(Role(end_interrupted), scene, place) == 0
        ended, problems = read_journal(place.journal, which=0)
        assert (problems, scene.judge(ended, {}).wrong) == ([], []), json.dumps(seen)
