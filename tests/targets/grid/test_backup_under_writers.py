"""Backing up and restoring while others write, whatever they write and however the backup is made."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
import valkey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from medic8.backups.place import BackupPlace
from medic8.targets.grid.backup import BackupOptions, create_backup
from medic8.targets.grid.backup_reading import grid_repository, verify_backup
from medic8.targets.grid.format import CELL, cells
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.layout import BLOCK_BYTES, BLOCK_CELLS, PAGE_CELLS, block_at
from medic8.targets.grid.restore import restore_grid, restore_into_new
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.valkey.client import connection

NAME = "lab"
GROUPS = (5, 6, 64 + 5)


class Writers:
    """
    Threads that each write a rising number into several blocks of one group by one write.

    Attributes:
        acknowledged: The last number that each group's writer was told to be written.
    """

    def __init__(self, url: str, places: dict[int, list[int]]) -> None:
        self.acknowledged = dict.fromkeys(places, 0)
        self._url = url
        self._places = places
        self._stop = threading.Event()
        self._errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._write, args=(group,)) for group in places]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Have them write for the body."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(60)
        assert self._errors == []

    def _write(self, group: int) -> None:
        try:
            with connection(self._url) as client:
                grid = Grid.open(client, NAME)
                places = self._places[group]
                while not self._stop.is_set():
                    content = cells(len(places))
                    content["id"] = self.acknowledged[group] + 1
                    grid.write_cells(places, content)
                    self.acknowledged[group] += 1
                    self._stop.wait(0.001)
        except Exception as exc:  # noqa: BLE001  # told by the test
            self._errors.append(exc)


members = st.lists(st.integers(0, 15), min_size=1, max_size=8, unique=True)
makings = st.lists(st.booleans(), min_size=1, max_size=3)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(written=st.tuples(members, members, members), are_full=makings, is_keyed=st.booleans())
def test_each_backup_holds_of_each_group_one_state_that_its_writer_made(
    client: valkey.Valkey,
    valkey_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    written: tuple[list[int], list[int], list[int]],
    are_full: list[bool],
    is_keyed: bool,
) -> None:
    """Not older than what was acknowledged before it began, and not newer than what was after it ended."""
    client.flushall()
    grid = Grid.create(client, NAME, 64)
    grid.fill(
        lambda number: np.frombuffer(np.random.default_rng(number).bytes(BLOCK_BYTES), dtype=CELL),
        groups=GROUPS,
    )
    places = {
        group: [block_at(group, member) * BLOCK_CELLS + member * PAGE_CELLS for member in chosen]
        for group, chosen in zip(GROUPS, written, strict=True)
    }
    filling = {group: set(grid.read_cells(found)["id"].tolist()) for group, found in places.items()}
    key = SecretStr("0f" * 32) if is_keyed else None
    place = BackupPlace(url=str(tmp_path_factory.mktemp("backups")), key=key)
    repository = grid_repository(place, NAME)
    writers = Writers(valkey_url, places)
    made = []
    with writers.running():
        for is_full in are_full:
            before = dict(writers.acknowledged)
            options = BackupOptions(is_full=is_full)
            backup = create_backup(client, NAME, repository, now=datetime.now(UTC), options=options)
            made.append((backup, before, dict(writers.acknowledged)))
        # Restoring all, while they go on, turns nothing of theirs back.
        report = restore_grid(client, NAME, repository, made[0][0])
    assert report.written == 0
    for group, found in places.items():
        assert set(grid.read_cells(found)["id"].tolist()) == {writers.acknowledged[group]}
    assert scrub(client, grid.manifest, ScrubOptions(is_deep=True)).report.is_clean
    for number, (backup, before, after) in enumerate(made):
        assert backup.is_complete
        assert verify_backup(repository, backup).is_sound
        restore_into_new(client, f"at-{number}", repository, backup)
        restored = Grid.open(client, f"at-{number}")
        assert scrub(client, restored.manifest, ScrubOptions(is_deep=True)).report.is_clean
        for group, found in places.items():
            numbers = set(restored.read_cells(found)["id"].tolist())
            if before[group] == 0 and numbers == filling[group]:
                continue  # the first write had not come yet
            (state,) = numbers
            assert before[group] <= state <= after[group] + 1
