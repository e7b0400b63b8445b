"""
A process that forks children which do one thing to backups, and die at their n-th change of the disk.

Changes are seen where Python tells of them (opening for writing, renaming,
removing, making a folder): a child is killed right before the n-th of them, so
the one before has landed. Nothing of Medic8 is replaced.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medic8.backups.place import BackupPlace, Retention
from medic8.backups.sweep import prune
from medic8.targets.grid.backup import create_backup
from medic8.targets.grid.backup_reading import grid_repository
from medic8.targets.grid.backup_table import packs_of_part
from medic8.targets.valkey.client import connection

_CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir"})


def die_at(number: int, folder: Path) -> None:
    """Be killed right before the change with this number, from 1, of anything below *folder*."""
    count, lock = itertools.count(1), threading.Lock()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        is_change = event in _CHANGES or (event == "open" and arguments[2] & (os.O_CREAT | os.O_WRONLY))
        if is_change and str(arguments[0]).startswith(str(folder)):
            with lock:
                if next(count) == number:
                    os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def back_up(url: str, folder: Path) -> None:
    """Back the grid up once more."""
    with connection(url) as client:
        create_backup(client, "lab", grid_repository(BackupPlace.of(folder), "lab"), now=datetime.now(UTC))


def prune_to_one(url: str, folder: Path) -> None:
    """Keep the newest backup alone."""
    del url
    retention = Retention(keep_last=1, keep_daily=0, keep_weekly=0)
    repository = grid_repository(BackupPlace.of(folder), "lab")
    prune(repository, retention, packs_of_part, clock=lambda: datetime.now(UTC))


DEEDS: dict[str, Callable[[str, Path], None]] = {"back_up": back_up, "prune_to_one": prune_to_one}


def main() -> None:
    """Answer each line ``deed number folder`` on standard input with the signal that the child died of."""
    url = sys.argv[1]
    for line in sys.stdin:
        deed, number, folder = line.split()
        child = os.fork()
        if not child:
            try:
                die_at(int(number), Path(folder))
                DEEDS[deed](url, Path(folder))
            except BaseException as exc:  # noqa: BLE001  # the parent is told
                sys.stderr.write(f"{type(exc).__name__}: {exc}\n")
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
