"""Take back what faults of the lab have done to its server, whatever of it is still there."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any, cast

import valkey
import valkey.exceptions

from medic8.errors import UnreachableError
from medic8.local.lab.acting.order import PREFIX
from medic8.local.lab.files import mend_files
from medic8.local.lab.settings import put_settings_back
from medic8.local.lab.snapshots import unblock_saves
from medic8.targets.valkey.client import first_connection, info, setting

#: What the keys begin with in which the lab's server remembers what was done to it.
OWN = "medic8:lab:"

#: Where the lab's server remembers that the lab has filled its cache of scripts.
SCRIPTS = f"{OWN}scripts"

#: What connections call themselves whose clients the lab has had vanish.
HALF_OPEN = "lab-half-open"

_AT_ONCE = 1000
_PATIENCE_S = 30.0
_LOOK_AGAIN_S = 0.05


def rouse(url: str, *, timeout_s: float = 5.0) -> tuple[str, ...]:
    """
    End what keeps the lab's server from answering a PING, and wait until it answers one.

    Args:
        url: Of the lab's server.
        timeout_s: Longest wait for one reply.
    Returns:
        What was done, one line each.
    Raises:
        UnreachableError: it still does not; a script that has written, for instance, cannot be killed.
    """
    lines: list[str] = []
    deadline = time.monotonic() + _PATIENCE_S
    # A connection without a first PING, and to no database: both are refused while a script runs.
    with first_connection(url.rpartition("/")[0], timeout_s=timeout_s) as bare:
        while (reply := _ask(bare, "PING")) != "PONG":
            if time.monotonic() > deadline:
                raise UnreachableError(f"the lab's server still answers after {_PATIENCE_S:g} s: {reply}")
            if reply.startswith("BUSY") and _ask(bare, "SCRIPT", "KILL") == "OK":
                lines.append("the script that kept the server busy has ended")
            if reply.startswith("MISCONF"):
                folder, name = (_ask(bare, "CONFIG", "GET", each) for each in ("dir", "dbfilename"))
                if unblock_saves(Path(folder), name):
                    lines.append("snapshots can be written again")
                _ask(bare, "BGSAVE")
            time.sleep(_LOOK_AGAIN_S)
    return tuple(lines)


def clear(client: valkey.Valkey) -> tuple[str, ...]:
    """
    Put back settings and files, and delete the lab's own keys and scripts.

    The actors must have ended: they would make it all again.

    Args:
        client: To the lab's server.
    Returns:
        What was done, one line each.
    """
    # In this order: a replica, and a server that cannot save, takes no writes; one that is full takes few.
    lines = [*_take_over(client), *_save_again(client), *put_settings_back(client), *_close_half_open(client)]
    lines += mend_files(client)
    if client.exists(SCRIPTS):
        client.script_flush("ASYNC")
        lines.append("the lab's scripts are gone")
    if deleted := _delete_keys(client):
        lines.append(f"{deleted:,} keys of the lab are deleted")
    client.slowlog_reset()  # what faults have left in it would be found for ten minutes
    return tuple(lines)


def _take_over(client: valkey.Valkey) -> tuple[str, ...]:
    """Make the server a primary again, if the lab has made it a replica."""
    facts = info(client, "replication")
    if facts["role"] != "slave":
        return ()
    client.execute_command("REPLICAOF", "NO", "ONE")
    return (f"the server no longer follows {facts['master_host']}:{facts['master_port']}",)


def _close_half_open(client: valkey.Valkey) -> tuple[str, ...]:
    """Close the connections whose clients the lab has had vanish."""
    listed = cast("list[dict[str, str]]", client.client_list())
    gone = [each["id"] for each in listed if each["name"] == HALF_OPEN]
    for number in gone:
        client.client_kill_filter(_id=number)
    return (f"{len(gone):,} connections of clients that are gone are closed",) if gone else ()


def _save_again(client: valkey.Valkey) -> tuple[str, ...]:
    folder, name = setting(client, "dir"), setting(client, "dbfilename")
    if folder is None or name is None:
        return ()
    blocked = unblock_saves(Path(folder), name)
    if not blocked and info(client, "persistence")["rdb_last_bgsave_status"] == "ok":
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
    deleted = 0
    for pattern in (f"{PREFIX}*", f"{OWN}*"):
        found: list[bytes] = list(client.scan_iter(match=pattern, count=_AT_ONCE))
        for start in range(0, len(found), _AT_ONCE):
            deleted += cast("int", client.unlink(*found[start : start + _AT_ONCE]))
    return deleted


def _ask(bare: Any, *words: str) -> str:
    """The answer to one command, errors as text; of a list the last."""
    bare.send_command(*words)
    try:
        reply = bare.read_response(disconnect_on_error=False)
    except valkey.exceptions.ResponseError as exc:
        return str(exc)
    last = reply[-1] if isinstance(reply, list) and reply else reply
    return last.decode() if isinstance(last, bytes) else str(last)
