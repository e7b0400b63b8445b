"""
Run the crash laboratory and print its table: ``python -m tests.crash``.

Exit status 1 if anything is wrong or lost.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tests.crash.laboratory import EXPECTED, Tally, Wish, experiments
from tests.crash.scenes import registered_strategies, scenes_of

_MOST_PROCESSES = 2

_COLUMNS = {
    "kill points": lambda tally: tally.points,
    "kills": lambda tally: tally.kills,
    "not opened": lambda tally: tally.ends.get("not_opened", 0),
    "healthy": lambda tally: tally.ends.get("healthy", 0),
    "restored": lambda tally: tally.ends.get("restored", 0),
    "needs_person": lambda tally: tally.ends.get("needs_person", 0),
    "wrong": lambda tally: len(tally.wrong),
    "lost foreign writes": lambda tally: len(tally.lost),
    "foreign writes": lambda tally: tally.foreign,
    "theirs kept": lambda tally: tally.kept,
    "claims that lapse": lambda tally: tally.claims,
}


def table(tallies: dict[str, Tally]) -> str:
    """All tallies and their sum, one row each, in Markdown."""
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    rows = [
        f"| {name} | " + " | ".join(f"{count(tally):,}" for count in _COLUMNS.values()) + " |"
        for name, tally in (*tallies.items(), ("**all**", total))
    ]
    heads = f"| strategy | {' | '.join(_COLUMNS)} |"
    return "\n".join((heads, "|" + "---|" * (len(_COLUMNS) + 1), *rows))


def _end(number: int, _frame: object) -> None:
    """End as an error does, so that the servers are stopped."""
    signal.signal(number, signal.SIG_IGN)  # the same comes from whoever ends the whole group
    raise SystemExit(128 + number)


def _share(wish: Wish, answer: Connection) -> None:
    """Make this process's share of the experiments, and send the tallies."""
    signal.signal(signal.SIGTERM, _end)

    def told(line: str) -> None:
        sys.stderr.write(f"[{wish.part + 1}/{wish.parts}] {line}\n")
        sys.stderr.flush()

    with tempfile.TemporaryDirectory(prefix="medic8-crash-") as folder:
        for strategy, tally in experiments(wish, Path(folder), told=told):
            answer.send((strategy, dataclasses.asdict(tally)))
    answer.send(None)


def _made(wish: Wish, processes: int) -> dict[str, Tally]:
    """All experiments, shared out to *processes*."""
    context = multiprocessing.get_context("fork")
    tallies: dict[str, Tally] = {}
    children = []
    for part in range(processes):
        ours, theirs = context.Pipe()
        mine = dataclasses.replace(wish, part=part, parts=processes)
        child = context.Process(target=_share, args=(mine, theirs))
        child.start()
        theirs.close()
        children.append((child, ours))
    try:
        for child, answers in children:
            while (answer := answers.recv()) is not None:
                strategy, counts = answer
                tallies.setdefault(strategy, Tally()).add(Tally(**counts))
            child.join()
    except EOFError:
        raise SystemExit("a process of the laboratory failed; see above") from None
    finally:
        for child, _ in children:
            child.terminate()
            child.join()
    every = [name for _, strategy in registered_strategies() for name in scenes_of(strategy, EXPECTED)]
    return {name: tallies[name] for name in every if name in tallies}


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--sample", type=int, default=0, help="deaths of each strategy; 0 = all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--strategy", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--depth", type=int, choices=(1, 2), default=2)
    parser.add_argument("--processes", type=int, default=min(_MOST_PROCESSES, os.cpu_count() or 1))
    asked = parser.parse_args()
    known = [name for _, name in registered_strategies()]
    if unknown := [name for name in asked.strategy if name not in known]:
        parser.error(f"strategy {unknown[0]!r} is not registered; registered are {', '.join(known)}")
    if not 1 <= asked.processes <= _MOST_PROCESSES:
        parser.error(f"--processes {asked.processes} is not from 1 to {_MOST_PROCESSES}")
    signal.signal(signal.SIGTERM, _end)
    began_s = time.monotonic()
    wish = Wish(asked.depth, asked.sample, asked.seed, strategies=tuple(asked.strategy))
    tallies = _made(wish, asked.processes)
    for tally in tallies.values():
        for kind, found in (("WRONG", tally.wrong), ("LOST", tally.lost)):
            for line in found:
                sys.stdout.write(f"{kind} {line}\n")
    sys.stdout.write(table(tallies) + "\n")
    sys.stdout.write(f"{time.monotonic() - began_s:.0f} s, seed {asked.seed}\n")
    summary = {
        name: {column: count(tally) for column, count in _COLUMNS.items()} for name, tally in tallies.items()
    }
    sys.stdout.write(json.dumps({"laboratory": "crash", "seed": asked.seed, "strategies": summary}) + "\n")
    return int(any(tally.wrong or tally.lost for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
