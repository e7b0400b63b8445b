from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

import pytest
import valkey
from writers import hammer

from medic8.local.scratch import ScratchValkey
from medic8.targets.grid.compare_and_write import Road
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key
from medic8.targets.grid.rebuild import rebuild_group
from medic8.targets.grid.scrub import ScrubOptions, scrub

PATIENCE_S = 60
SPAWN = multiprocessing.get_context("spawn")

# Pages 3 and 4 of both members of group 5, and one page of group 6.
FIRST = [5 * 2048 + 3 * 128 + cell for cell in range(256)]
SECOND = [69 * 2048 + 3 * 128 + cell for cell in range(256)]
BESIDE = [6 * 2048 + cell for cell in range(128)]


@contextmanager
def writing(
    server: ScratchValkey, places: list[int], roads: list[Road | None], rounds: int
) -> Iterator[list[Connection]]:
    """Processes that write, each after its first acknowledged write; gone after the block."""
    with ExitStack() as stack:
        ears = []
        for writer, road in enumerate(roads):
            ear, mouth = SPAWN.Pipe(duplex=False)
            arguments = (server.socket_url, writer, len(roads), places, road, rounds, mouth)
            process = SPAWN.Process(target=hammer, args=arguments, daemon=True)
            process.start()
            stack.callback(process.join, PATIENCE_S)
            stack.callback(process.kill)
            mouth.close()
            ears.append(ear)
        for ear in ears:
            assert ear.poll(PATIENCE_S)
            assert ear.recv() == "writing"
        yield ears


def acknowledged(ears: list[Connection]) -> dict[int, int]:
    """What the writers were told is written."""
    found: dict[int, int] = {}
    for ear in ears:
        assert ear.poll(PATIENCE_S)
        found.update(ear.recv())
    return found


def assert_written(client: valkey.Valkey, grid: Grid, found: dict[int, int]) -> None:
    """Every acknowledged cell is there, and every checksum, P and Q fit."""
    assert grid.read_cells(list(found))["id"].tolist() == list(found.values())
    report = scrub(client, grid.manifest, ScrubOptions(is_deep=True)).report
    assert (report.is_clean, report.suspicions) == (True, 0)


@pytest.mark.parametrize(
    "roads", [[None, None, None], [None, Road.WATCH, Road.WATCH]], ids=["scripts", "mixed"]
)
def test_writers_in_several_processes_corrupt_nothing_and_alarm_nobody(
    client: valkey.Valkey, valkey_server: ScratchValkey, roads: list[Road | None]
) -> None:
    """While three processes write the same pages, no scrub finds damage, and no acknowledged cell is lost."""
    grid = Grid.create(client, "lab", 40)
    scrubs = suspicions = 0
    with writing(valkey_server, [*FIRST, *SECOND, *BESIDE], roads, rounds=200) as ears:
        while not all(ear.poll() for ear in ears):
            report = scrub(client, grid.manifest, ScrubOptions(is_deep=True, groups=[5, 6] * 4)).report
            assert report.is_clean, report.damage
            scrubs += 1
            suspicions += report.suspicions
        found = acknowledged(ears)
    assert scrubs > 3
    assert suspicions > 0  # else no scrub met a writer and nothing was tested
    assert len(found) > 300
    assert_written(client, grid, found)


def test_a_repair_needs_no_quiet_time(client: valkey.Valkey, valkey_server: ScratchValkey) -> None:
    """A block is damaged and rebuilt over and over while others write beside it at the same offsets."""
    grid = Grid.create(client, "lab", 40)
    grid.write_cells(SECOND, grid.read_cells(FIRST))
    stock = grid.read_cells(SECOND)
    stock["id"] = 7
    grid.write_cells(SECOND, stock)
    rebuilt = 0
    with writing(valkey_server, FIRST, [None, Road.WATCH], rounds=150) as ears:
        while not all(ear.poll() for ear in ears):
            client.setrange(role_key("lab", 5, 1), 3 * 4096 + 100, b"?" * (50 + rebuilt % 9))
            rebuilt += len(rebuild_group(client, grid.manifest, 5))
        found = acknowledged(ears)
    assert rebuilt > 3
    assert (grid.read_cells(SECOND) == stock).all()
    assert_written(client, grid, found)


def test_a_writer_killed_while_it_writes_leaves_nothing_half_written(
    client: valkey.Valkey, valkey_server: ScratchValkey
) -> None:
    """The server has the whole write or none of it."""
    grid = Grid.create(client, "lab", 40)
    for road in Road:
        with writing(valkey_server, [*FIRST, *SECOND], [road], rounds=100_000):
            pass  # leaving the block kills
        report = scrub(client, grid.manifest, ScrubOptions(is_deep=True)).report
        assert report.is_clean, report.damage
