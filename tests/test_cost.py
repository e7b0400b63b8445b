"""
What costs processor time or questions, against the least that it can cost, or against less of it.

By counts, and by this thread's processor time in turns, the least of some; never by the clock. The limits lie
between what is seen and twice that.
"""

from __future__ import annotations

import sqlite3
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
import valkey
from sqlalchemy import event

from benchmarks.bench_grid import read_only
from benchmarks.bench_history import rows
from benchmarks.bench_steps_beside import plan_of
from benchmarks.measuring import in_turns
from medic8.backups.place import BackupPlace
from medic8.model.recovery import RecoveryState
from medic8.model.statistics import Wanted
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract, resolutions
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.layout import BLOCK_BYTES
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.actions import open_session


def least_of(rounds: int, **runs: Callable[[], object]) -> dict[str, float]:
    """The least processor time of this thread that each took, in turns, in seconds."""

    def used(act: Callable[[], object]) -> float:
        before_s = time.thread_time()
        act()
        return time.thread_time() - before_s

    turns = {name: (lambda act=act: used(act)) for name, act in runs.items()}
    return {name: min(each) for name, each in in_turns(rounds, turns).items()}


def test_a_scrub_costs_little_more_than_reading(valkey_url: str) -> None:
    """Proving every page takes less of the processor than fetching it does."""
    noise = np.random.default_rng(1).integers(0, 256, BLOCK_BYTES, dtype=np.uint8)
    with valkey.Valkey.from_url(valkey_url) as client:
        grid = Grid.create(client, "cost", 32)
        grid.fill(lambda block: np.roll(noise, block).view(CELL))
        found = least_of(
            9,
            read=lambda: read_only(client, grid),
            scrub=lambda: scrub(client, grid.manifest, ScrubOptions()),
        )
    assert found["scrub"] < 1.8 * found["read"]  # seen: 1.3 to 1.5; of a scrub half as fast 2.4 to 2.9


def saved(url: str, journal: Journal, folder: Path, count: int) -> tuple[int, int]:
    """Save so many items; how many commands the server got for that, and how many statements the journal."""
    around = Surroundings(backups=BackupPlace.of(folder / "backups"), now=datetime.now(UTC))
    target = Target(name="server", kind="valkey", url=url)
    with valkey.Valkey.from_url(url) as client:
        client.mset({f"k:{number}": "x" for number in range(count)})
        with open_session(target, around) as session, statements() as said:
            recovery = contract.open_recovery(journal, session, plan_of(count), this_process(), at=around.now)
            before, said_before = client.info("stats")["total_commands_processed"], len(said)
            recovery = contract.save_state(
                journal, session, recovery, folder=folder / "saved", limit_bytes=1 << 20
            )
            commands = client.info("stats")["total_commands_processed"] - before - 1
            asked = len(said) - said_before
            contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=around.now)
    return commands, asked


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """What databases are asked meanwhile."""
    said = list[tuple[str, Any]]()

    def asked(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        said.append((statement, parameters))

    event.listen(sa.Engine, "before_cursor_execute", asked)
    try:
        yield said
    finally:
        event.remove(sa.Engine, "before_cursor_execute", asked)


def test_saving_state_asks_as_much_for_each_item_however_many_there_are(
    valkey_url: str, tmp_path: Path
) -> None:
    """One command for each item, one statement of the journal."""
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    few, many = (saved(valkey_url, journal, tmp_path, count) for count in (5, 45))
    journal.dispose()
    assert (many[0] - few[0], many[1] - few[1]) == (40, 40)


def test_the_history_is_read_by_one_question_and_an_index(tmp_path: Path) -> None:
    """Without a look at all of it, without sorting it, and at a price that follows what is returned."""
    file = tmp_path / "journal.sqlite"
    journal = Journal(f"sqlite:///{file}")
    resolutions.write(journal, rows(1000))
    plans = list[str]()
    with closing(sqlite3.connect(file)) as plain:
        for wanted in (Wanted(), Wanted(target="cache-7")):
            with statements() as said:
                assert resolutions.newest(journal, wanted, 20)
            (asked,) = (each for each in said if each != ("BEGIN", ()))
            plans += [each[-1] for each in plain.execute(f"EXPLAIN QUERY PLAN {asked[0]}", asked[1])]
        with statements() as said:
            resolutions.newest(journal, Wanted(), 1000)
        found = least_of(
            9,
            plain=lambda: plain.execute(*said[-1]).fetchall(),
            ours=lambda: resolutions.newest(journal, Wanted(), 1000),
        )
    journal.dispose()
    assert all("USING INDEX" in plan for plan in plans), plans
    assert not any("TEMP" in plan for plan in plans), plans
    assert found["ours"] < 7.8 * found["plain"]  # seen: 4.9 to 6.4; of one half as fast 9.5 to 10.3


def test_reading_the_configuration_grows_with_it_and_no_faster(tmp_path: Path) -> None:
    """Each run reads it before its first step."""
    environ = {"MEDIC8_HOME": str(tmp_path / "home")}
    sources = {count: tmp_path / f"{count}.toml" for count in (10, 100)}
    for count, source in sources.items():
        source.write_text(targets(count))
    found = least_of(
        5,
        few=lambda: [load_settings(sources[10], environ=environ) for _ in range(10)],
        many=lambda: load_settings(sources[100], environ=environ),
        parsing=lambda: tomllib.loads(sources[100].read_text()),
    )
    assert found["many"] < 1.6 * found["few"]  # seen: 0.7 to 0.9
    assert found["many"] < 8.5 * found["parsing"]  # seen: 5.4 to 6.5; of one half as fast 11.4 to 12


def targets(count: int) -> str:
    """A configuration with so many servers."""
    return "\n".join(
        f'[[target]]\nname = "t-{number}"\nkind = "valkey"\nurl = "valkey://10.0.0.{number}:6379"\n'
        for number in range(count)
    )
