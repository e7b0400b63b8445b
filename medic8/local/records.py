"""The note in the home of what was started, by which a later command finds it again."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from medic8.durable import replacing
from medic8.errors import ConfigurationError, RefusedError
from medic8.local.alert_gateway import AlertGateway
from medic8.local.postgres import PostgresServer
from medic8.local.prefect_server import PrefectServer
from medic8.local.valkey_server import ValkeyServer
from medic8.local.worker import Worker

_RECORD = "local.json"
_LOCK = "local.lock"
_LOOK_AGAIN_S = 0.1

Server = PostgresServer | PrefectServer | ValkeyServer | Worker | AlertGateway


class DamagedRecordError(ConfigurationError):
    """The record was cut short or overwritten; nothing was read or changed."""


class Note(BaseModel):
    """
    What is known of a server beside its process.

    Attributes:
        since: When it was started.
        version: Of its program.
        is_stopped: Whether it was stopped on purpose; a server that is gone without this died.
    """

    model_config = ConfigDict(frozen=True)

    since: datetime
    version: str
    is_stopped: bool = False


class StackRecord(BaseModel):
    """
    Every server that was started last, whether it still runs or not.

    Attributes:
        postgres: Kept after a stop, as the others are.
        prefect: Its port is taken again by the next start.
        valkey: The same.
        worker: None where none was ever started.
        gateway: The same.
        notes: By the names of the five attributes above.
    """

    model_config = ConfigDict(frozen=True)

    postgres: PostgresServer | None = None
    prefect: PrefectServer | None = None
    valkey: ValkeyServer | None = None
    worker: Worker | None = None
    gateway: AlertGateway | None = None
    notes: dict[str, Note] = {}

    def server(self, name: str) -> Server | None:
        """Get the server that was started last under *name*."""
        known: dict[str, Server | None] = {
            "postgres": self.postgres,
            "prefect": self.prefect,
            "valkey": self.valkey,
            "worker": self.worker,
            "gateway": self.gateway,
        }
        return known[name]

    def is_alive(self, name: str) -> bool:
        """Tell whether the process of that server still runs."""
        server = self.server(name)
        return server is not None and server.identity.is_alive()

    def started(self, name: str, server: Server, note: Note) -> StackRecord:
        """Get the record with *server* in it."""
        return self.model_copy(update={name: server, "notes": {**self.notes, name: note}})

    def stopped(self, name: str) -> StackRecord:
        """Get the record in which that server was stopped on purpose."""
        if name not in self.notes:
            return self
        note = self.notes[name].model_copy(update={"is_stopped": True})
        return self.model_copy(update={"notes": {**self.notes, name: note}})


def read_record(home: Path) -> StackRecord:
    """
    Get the record of *home*; an empty one if nothing was ever started.

    Raises:
        DamagedRecordError: It is no record any more.
        ConfigurationError: It cannot be read.
    """
    path = home / _RECORD
    try:
        return StackRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return StackRecord()
    except ValidationError as exc:
        what = exc.errors(include_url=False, include_input=False)[0]["msg"]
        raise DamagedRecordError(f"the record of the local stack, {path}, is damaged: {what}") from exc
    except OSError as exc:
        raise ConfigurationError(f"the record of the local stack, {path}, cannot be read: {exc}") from exc


def write_record(home: Path, record: StackRecord) -> None:
    """Replace the record of *home*; it is the old one or the new one, whenever the machine stops."""
    with replacing(home / _RECORD) as file:
        file.write(record.model_dump_json(indent=2).encode())


def set_aside(home: Path) -> Path:
    """Take a damaged record out of the way and get where it is now, for whoever wants to look at it."""
    return (home / _RECORD).rename(home / f"{_RECORD}.damaged")


def forget(home: Path) -> None:
    """Remove the record of *home*."""
    (home / _RECORD).unlink(missing_ok=True)


@contextmanager
def only_one(home: Path, *, progress: Callable[[str], None], timeout_s: float) -> Iterator[None]:
    """
    Hold the home against every other command that starts or stops its servers.

    The kernel lets go of it when this process ends, however it ends.

    Args:
        home: It exists.
        progress: Told once if there is somebody to wait for.
        timeout_s: When to give up.
    Raises:
        RefusedError: Somebody else still holds it.
    """
    # Not readable for others: who can open it could hold it.
    with os.fdopen(os.open(home / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as lock:
        deadline = time.monotonic() + timeout_s
        waiting = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    raise RefusedError(
                        f"another command has held the servers of {home} for {timeout_s:g} s"
                    ) from exc
            if not waiting:
                progress("waiting for another command that starts or stops these servers")
                waiting = True
            time.sleep(_LOOK_AGAIN_S)
        yield
