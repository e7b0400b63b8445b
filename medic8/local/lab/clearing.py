"""Take back what faults of the lab have done to its server, whatever of it is still there."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import valkey
import valkey.exceptions

from medic8.errors import UnreachableError
from medic8.local.lab.acting.order import PREFIX
from medic8.local.lab.settings import put_settings_back
from medic8.targets.valkey.client import first_connection, info, setting

#: Where the lab's server remembers that the lab has filled its cache of scripts.
SCRIPTS = f"{PREFIX}scripts"

#: What a snapshot is called, unless a configuration says otherwise.
SNAPSHOT = "dump.rdb"

#: What the snapshot of before is called while a folder is in its place.
ASIDE = ".medic8-lab"

_AT_ONCE = 1000
_PATIENCE_S = 30.0
_LOOK_AGAIN_S = 0.05


def rouse(url: str, *, timeout_s: float = 5.0) -> tuple[str, ...]:
    """
    End a script that keeps the lab's server from answering, and wait until it answers again.

    Args:
        url: Of the lab's server.
        timeout_s: Longest wait for one reply.
    Returns:
        What was done, one line each.
    Raises:
        UnreachableError: it is still busy; the script has written, or does not listen.
    """
    lines: tuple[str, ...] = ()
    deadline = time.monotonic() + _PATIENCE_S
    # A connection without a first PING, and to no database: both are refused while a script runs.
    with first_connection(url.rpartition("/")[0], timeout_s=timeout_s) as bare:
        while (reply := _ask(bare, "PING")).startswith("BUSY"):
            if time.monotonic() > deadline:
                raise UnreachableError(f"the lab's server is still busy after {_PATIENCE_S:g} s: {reply}")
            if _ask(bare, "SCRIPT", "KILL").endswith("OK"):
                lines = ("the script that kept the server busy has ended",)
            time.sleep(_LOOK_AGAIN_S)
    return lines


def clear(client: valkey.Valkey) -> tuple[str, ...]:
    """
    Put back settings and files, and delete the lab's own keys and scripts.

    The actors must have ended: they would make it all again.

    Args:
        client: To the lab's server.
    Returns:
        What was done, one line each.
    """
    lines = list(_take_over(client))
    lines += put_settings_back(client)
    lines += _save_again(client)
    # Only now: a server that is full, that cannot save, or that is a replica takes no writes.
    if client.exists(SCRIPTS):
        client.script_flush("ASYNC")
        lines.append("the lab's scripts are gone")
    if deleted := _delete_keys(client):
        lines.append(f"{deleted:,} keys {PREFIX}… are deleted")
    return tuple(lines)


def unblock_saves(folder: Path, name: str) -> bool:
    """Take away the folder that stands where snapshots are to be written; says whether there was one."""
    snapshot, aside = folder / name, folder / f"{name}{ASIDE}"
    blocked = snapshot.is_dir()
    if blocked:
        snapshot.rmdir()
    if aside.exists() and not snapshot.exists():
        aside.rename(snapshot)
    return blocked


def _take_over(client: valkey.Valkey) -> tuple[str, ...]:
    """Make the server a primary again, if the lab has made it a replica."""
    facts = info(client, "replication")
    if facts["role"] != "slave":
        return ()
    client.execute_command("REPLICAOF", "NO", "ONE")
    return (f"the server no longer follows {facts['master_host']}:{facts['master_port']}",)


def _save_again(client: valkey.Valkey) -> tuple[str, ...]:
    folder, name = setting(client, "dir"), setting(client, "dbfilename")
    if folder is None or name is None or not unblock_saves(Path(folder), name):
        return ()
    deadline = time.monotonic() + _PATIENCE_S
    while (facts := info(client, "persistence"))["rdb_last_bgsave_status"] != "ok":
        if not facts["rdb_bgsave_in_progress"]:
            with contextlib.suppress(valkey.exceptions.ResponseError):  # one has just begun by itself
                client.bgsave()
        if time.monotonic() > deadline:
            raise UnreachableError(f"the lab's server could not save within {_PATIENCE_S:g} s")
        time.sleep(_LOOK_AGAIN_S)
    return ("snapshots can be written again",)


def _delete_keys(client: valkey.Valkey) -> int:
    deleted, found = 0, []
    for key in client.scan_iter(match=f"{PREFIX}*", count=_AT_ONCE):
        found.append(key)
        if len(found) == _AT_ONCE:
            deleted += client.unlink(*found)
            found = []
    deleted += client.unlink(*found) if found else 0
    return deleted


def _ask(bare: object, *words: str) -> str:
    """The answer to one command, errors as text."""
    bare.send_command(*words)  # type: ignore[attr-defined]
    try:
        reply = bare.read_response(disconnect_on_error=False)  # type: ignore[attr-defined]
    except valkey.exceptions.ResponseError as exc:
        return str(exc)
    return reply.decode() if isinstance(reply, bytes) else str(reply)
