"""The demo's own configuration and journal, so that nothing of the user's is ever touched."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from medic8.errors import RefusedError, TransientError
from medic8.model.recovery import RecoveryState
from medic8.owner import this_process
from medic8.recovery import interrupted
from medic8.recovery.journal import Journal
from medic8.sessions import session_on
from medic8.settings import CONFIGURATION, Settings

#: Names of the demo's targets; the grid is called like the first.
GRID, SERVER = "demo", "demo-server"

#: The settings of the second part: somebody else owns the first.
OWNED, FREE = "slowlog-max-len", "tcp-keepalive"

_CONFIGURATION = """\
# Written by "medic8 demo", anew each time.

[[target]]
name = "{grid}"
kind = "grid"
url = "{url}"
grid = "{grid}"
mode = "act"
allow = ["rebuild_from_parity"]

[[target]]
name = "{server}"
kind = "valkey"
url = "{url}"
mode = "act"
allow = ["set_settings"]

[[target.setting]]
name = "{owned}"
minimum = 1000

[[target.setting]]
name = "{free}"
issue = "slow_operations"
minimum = 60
maximum = 120

[backups]
folder = "backups"

[journal]
url = "sqlite:///journal.sqlite"

[recovery]
folder = "recoveries"
"""


def demo_folder(home: Path) -> Path:
    """The folder of the demo's own state below *home*; made if it does not exist."""
    folder = home / "demo"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def write_configuration(folder: Path, valkey_url: str) -> Path:
    """Write the configuration with the demo's two targets; the file."""
    file = folder / CONFIGURATION
    text = _CONFIGURATION.format(url=valkey_url, grid=GRID, server=SERVER, owned=OWNED, free=FREE)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text)
    return file


@contextlib.contextmanager
def only_demo(folder: Path) -> Iterator[None]:
    """
    Hold *folder* against every other demo.

    Raises:
        RefusedError: another demo is under way.
    """
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise RefusedError(f"another demo is under way in {folder}; wait until it has ended") from exc
        yield


def end_what_died(settings: Settings) -> tuple[str, ...]:
    """
    End every recovery of an earlier demo that was killed half way, and say how each ended.

    One that needs a person is acknowledged in that person's place: everything
    it worked on is the demo's own and is about to be made anew.
    """
    journal = Journal(settings.journal_url)
    try:
        return _end_what_died(journal, settings)
    finally:
        journal.dispose()


def _end_what_died(journal: Journal, settings: Settings) -> tuple[str, ...]:
    sweep = interrupted.end_all(
        journal,
        this_process(),
        session_of=lambda name: session_on(settings.target(name), settings),
        clock=lambda: datetime.now(UTC),
    )
    for each in sweep.left_open:
        raise TransientError(f"recovery {each.recovery.id} of an earlier demo is still open: {each.reason}")
    for recovery in journal.holding():
        if recovery.state is RecoveryState.NEEDS_PERSON:
            journal.acknowledge(recovery.id)
    return tuple(
        f"an earlier demo had died while healing {recovery.plan.target}; its recovery was ended: "
        f"{recovery.state.value.replace('_', ' ')}"
        for recovery in sweep.ended
    )
