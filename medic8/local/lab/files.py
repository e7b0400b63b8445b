"""Have the lab's server write its files, and write those anew that the lab has damaged."""

from __future__ import annotations

import contextlib
import time

import valkey
import valkey.exceptions

from medic8.errors import UnreachableError
from medic8.targets.valkey.client import info, setting
from medic8.targets.valkey.data_files import SETTINGS, DataFiles, Part, located

#: Where the lab's server remembers that the lab has damaged a file of it.
DAMAGED = "medic8:lab:files"

_COMMAND = {Part.SNAPSHOT: "BGSAVE", Part.AOF: "BGREWRITEAOF"}
_IS_BUSY = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
_PATIENCE_S = 60.0
_LOOK_AGAIN_S = 0.05


def files_of(client: valkey.Valkey) -> DataFiles:
    """
    Where the server's files are.

    Raises:
        RefusedError: they are not on this machine.
    """
    found = {name: value for name in SETTINGS if (value := setting(client, name)) is not None}
    return located(info(client, "server"), found)


def write_anew(client: valkey.Valkey, part: Part) -> None:
    """
    Have the server write one of its files, and wait for it.

    Raises:
        UnreachableError: it had not done so after a minute.
    """
    deadline = time.monotonic() + _PATIENCE_S
    _wait_until_idle(client, deadline)  # what is being written now may have been begun before
    before = files_of(client).identity(part)
    while files_of(client).identity(part) == before:
        if time.monotonic() > deadline:
            raise UnreachableError(f"the lab's server had written no {part} after {_PATIENCE_S:g} s")
        with contextlib.suppress(valkey.exceptions.ResponseError):  # one has just begun by itself
            client.execute_command(_COMMAND[part])
        _wait_until_idle(client, deadline)


def mend_files(client: valkey.Valkey) -> tuple[str, ...]:
    """Have the server write its files anew, where the lab has damaged one; says which."""
    if not client.exists(DAMAGED):
        return ()
    has_aof = bool(info(client, "persistence")["aof_enabled"])
    parts = (Part.SNAPSHOT, Part.AOF) if has_aof else (Part.SNAPSHOT,)
    for part in parts:
        write_anew(client, part)
    client.delete(DAMAGED)
    return tuple(f"the {part} is written anew" for part in parts)


def _wait_until_idle(client: valkey.Valkey, deadline: float) -> None:
    while any(int(info(client, "persistence").get(name, 0)) for name in _IS_BUSY):
        if time.monotonic() > deadline:
            raise UnreachableError(f"the lab's server was still writing its files after {_PATIENCE_S:g} s")
        time.sleep(_LOOK_AGAIN_S)
