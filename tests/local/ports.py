"""Ports that a stack has for itself, so that it finds them free again after its servers were killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from medic8.local.children import Identity
from medic8.local.prefect_server import PrefectServer
from medic8.local.records import Note, StackRecord, write_record
from medic8.local.valkey_server import ValkeyServer

#: No system chooses these by itself, and no stack prefers them.
_OURS = range(21_000, 22_000, 2)


@contextlib.contextmanager
def of_its_own(home: Path) -> Iterator[None]:
    """
    A stack in *home* takes ports that no other test has, while the block lasts.

    Else it would take those that all prefer, which another takes as soon as they are free. It is told of its
    own as of those which it had before the machine booted last.
    """
    with contextlib.ExitStack() as held:
        port = next(each for each in _OURS if _is_taken(each, held))
        gone = Identity(pid=1, start_ticks=0, boot_id="an earlier boot")
        nowhere = home / "nowhere"
        note = Note(since=datetime.now(UTC), version="0", is_stopped=True)
        prefect = PrefectServer(identity=gone, port=port, database="", log=nowhere)
        valkey = ValkeyServer(identity=gone, port=port + 1, socket=nowhere, data=nowhere, log=nowhere)
        write_record(home, StackRecord().started("prefect", prefect, note).started("valkey", valkey, note))
        yield


def _is_taken(port: int, held: contextlib.ExitStack) -> bool:
    """Take *port*, unless the tests of another process have it; the kernel lets go of it with the process."""
    file = os.open(Path(tempfile.gettempdir(), f"medic8-tests-{port}"), os.O_RDWR | os.O_CREAT, 0o600)
    held.callback(os.close, file)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
